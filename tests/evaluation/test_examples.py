import pytest
import torch

from hardy.attacks import PGD, FeatureScatter, Foreign, Linf, Restarts
from hardy.errors import FailedError, UsageError
from hardy.evaluation import evaluate
from hardy.evaluation.examples import Said, adversarial_examples
from hardy.evaluation.stream import under_attack
from hardy.randomness import Noise
from toys import classifier, linear, smooth, split, worst_linf

ATTACK = PGD(Linf(0.05), steps=4)
N = 16


@pytest.fixture(scope="module")
def toy():
    """(network, images that it classifies correctly)."""
    model = linear()
    return model, split(N, model, classes=2)


def test_images_and_verdicts_are_those_of_evaluate(toy):
    model, data = toy
    made = adversarial_examples(model, data, ATTACK, name="pgd-4", seed=3, run="toy", settings={"weights": "w"})
    noise = Noise(3, data.indices, purpose="evaluation")
    torch.testing.assert_close(made.x_adv, ATTACK(model, data.x(), data.labels, noise))
    assert torch.equal(made.broken, ~under_attack(model, data, ATTACK, seed=3).correct)
    (accuracy,) = evaluate(model, data, {"pgd-4": ATTACK}, seed=3)
    share = made.rows[0]
    assert 0 < share.value < 1
    assert share.value == pytest.approx(1 - accuracy.value)
    assert (share.what, share.n, share.run) == ("examples broken by pgd-4", N, "toy")
    assert share.settings == {
        "weights": "w", "data": "made up", "attack": ATTACK.described, "summary": ATTACK.summary, "judge": "last", "seed": 3,
    }  # fmt: skip
    assert (share.forwards, share.backwards) == (6 * N, 4 * N)


def test_what_the_network_says_is_the_class_and_probability_of_its_softmax(toy):
    model, data = toy
    made = adversarial_examples(model, data, ATTACK)
    for said, x in ((made.before, data.x()), (made.after, made.x_adv)):
        likely = model(x).softmax(1).detach()
        assert torch.equal(said.classes, likely.argmax(1))
        torch.testing.assert_close(said.confidence, likely.amax(1))
    assert [row.value for row in made.rows[1:3]] == pytest.approx(
        [made.before.confidence.mean().item(), made.after.confidence.mean().item()]
    )
    assert made.rows[2].what == f"confidence after {ATTACK.summary}"
    assert Said.of(torch.tensor([[0.0, 3.0, 0.0]]).log1p()).words(0, ("cat", "dog", "fox")) == "dog 67 %"


def test_on_a_linear_network_image_and_distance_have_a_closed_form():
    model = linear()
    data = split(10, model, classes=2)
    made = adversarial_examples(model, data, PGD(Linf(0.1), steps=8))
    worst = worst_linf(model, data.x(), data.labels, 0.1)
    torch.testing.assert_close(made.x_adv, worst, rtol=0, atol=1e-6)
    moved = (worst - data.x()).flatten(1).double()
    assert made.linf.tolist() == pytest.approx(moved.abs().amax(1).tolist(), abs=1e-6)
    assert made.l2.tolist() == pytest.approx(moved.norm(dim=1).tolist(), rel=1e-5)
    assert made.rows[3].value == pytest.approx(moved.norm(dim=1).mean().item(), rel=1e-5)


def test_an_image_that_was_misclassified_before_is_not_broken():
    model = linear()
    data = split(N, classes=2)  # random labels
    made = adversarial_examples(model, data, ATTACK)
    right = model(data.x()).argmax(1) == data.labels
    assert 0 < int(right.sum()) < N
    assert not bool((made.broken & ~right).any())


def test_an_image_outside_the_ball_breaks_nothing(toy):
    class Far(PGD):
        described = None

        def advance(self, f, x, target, state):
            state = super().advance(f, x, target, state)
            state.x_adv = 1 - x
            return state

    model, data = toy
    made = adversarial_examples(model, data, Far(Linf(0.05), steps=1))
    assert bool((made.after.classes != data.labels).any())
    assert not bool(made.broken.any())


@pytest.mark.parametrize("attack", [ATTACK, Restarts(ATTACK, 2)], ids=["pgd", "restarts"])
def test_nothing_depends_on_the_batch(attack):
    model = smooth()
    data, told = split(11, model), []
    whole = adversarial_examples(model, data, attack, batch=11)
    made = adversarial_examples(model, data, attack, batch=4, tell=lambda done, total: told.append((done, total)))
    torch.testing.assert_close(made.x_adv, whole.x_adv, rtol=0, atol=1e-5)
    assert torch.equal(made.broken, whole.broken)
    assert told == [(4, 11), (8, 11), (11, 11)]


def test_the_network_is_in_evaluation_mode_and_comes_back_as_it_was(toy):
    model, data = classifier(2).train(), toy[1]
    made = adversarial_examples(model, data, ATTACK)
    assert model.training
    torch.testing.assert_close(made.x_adv, adversarial_examples(classifier(2), data, ATTACK).x_adv)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (lambda m, s: adversarial_examples(m, s, FeatureScatter()), "one whose direction depends on an image alone"),
        (lambda m, s: adversarial_examples(m, s, ATTACK, batch=0), "batch is 0; it must be at least 1"),
        (lambda m, s: adversarial_examples(m, s.take(slice(0)), ATTACK), "n is 0; it must be at least 1 image"),
    ],
)
def test_what_has_no_examples_is_refused(toy, asked, said):
    with pytest.raises(UsageError, match=said):
        asked(*toy)


def test_logits_that_are_no_numbers_have_no_confidence(toy):
    model, data = toy
    darkest = data.x().mean((1, 2, 3)).min()

    def fragile(x):
        return model(x) + (x.mean((1, 2, 3)) - darkest + 0.01)[:, None].log()

    with pytest.raises(FailedError, match="NaN or infinite on attacked images"):
        adversarial_examples(fragile, data, Foreign(lambda network, x, y: (x - 0.05).clamp(0, 1), Linf(0.05)))
