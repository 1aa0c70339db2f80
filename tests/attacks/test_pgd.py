"""PGD, FGSM and the papers' CW: closed forms, by hand, and foolbox."""

import warnings

import pytest
import torch

from hardy.attacks import DLR, KL, L2, PGD, CrossEntropy, Linf, Margin, cw, fgsm
from hardy.attacks.pgd import PGDState
from hardy.errors import UsageError
from hardy.models import frozen
from hardy.randomness import Noise
from toys import Linear, classifier, images, labels, linear, predicted, smooth, worst_l2, worst_linf

EPS = 8 / 255


# linear models: the worst case is known


@pytest.mark.parametrize("start_at", ["uniform", "gaussian", "image"])
@pytest.mark.parametrize("loss", [CrossEntropy(), Margin()], ids=["cross-entropy", "margin"])
@pytest.mark.parametrize("momentum", [0.0, 0.75])
def test_pgd_reaches_the_closed_form_worst_case_of_a_linear_model_in_linf(start_at, loss, momentum):
    model, x, y = linear(), images(20), labels(20, 2)
    x_adv = PGD(Linf(0.1), steps=12, loss=loss, start_at=start_at, momentum=momentum)(model, x, y)
    worst = worst_linf(model, x, y, 0.1)
    assert torch.allclose(x_adv, worst, atol=2e-7)
    assert torch.allclose(model.margin(x_adv, y), model.margin(worst, y), atol=1e-5)


@pytest.mark.parametrize("start_at", ["uniform", "gaussian", "image"])
@pytest.mark.parametrize("loss", [CrossEntropy(), Margin()], ids=["cross-entropy", "margin"])
def test_pgd_reaches_the_closed_form_worst_case_of_a_linear_model_in_l2(start_at, loss):
    model, x, y = linear(), images(20, low=0.35, high=0.65), labels(20, 2)
    x_adv = PGD(L2(0.3), steps=60, loss=loss, start_at=start_at)(model, x, y)
    assert torch.allclose(x_adv, worst_l2(model, x, y, 0.3), atol=5e-6)


def test_fgsm_is_the_worst_case_of_a_linear_model_in_one_step():
    model, x, y = linear(), images(20), labels(20, 2)
    assert torch.allclose(fgsm(Linf(0.1))(model, x, y), worst_linf(model, x, y, 0.1), atol=2e-7)
    inner = images(20, low=0.35, high=0.65)
    assert torch.allclose(fgsm(L2(0.3))(model, inner, y), worst_l2(model, inner, y, 0.3), atol=5e-6)


def test_fgsm_from_a_random_start_moves_by_eps_from_there_and_is_projected():
    model, x, y = linear(), images(20, low=0.3, high=0.7), labels(20, 2)
    noise = Noise.of_batch(20)
    start = Linf(0.1).sample(x, noise)
    up = -model.direction(y).sign()
    expected = torch.minimum(torch.maximum(start + 0.1 * up, x - 0.1), x + 0.1)
    got = fgsm(Linf(0.1), random_start=True)(model, x, y, noise)
    assert torch.allclose(got, expected, atol=2e-7)
    assert not torch.allclose(got, worst_linf(model, x, y, 0.1), atol=0.01)


def test_cw_is_pgd_on_the_margin_with_kappa_50():
    assert cw(Linf(EPS), 30) == PGD(Linf(EPS), steps=30, loss=Margin(50.0))


def test_cw_raises_the_runner_up_where_all_other_logits_are_negative():
    # three classes; the true one reads pixel 0, the runner-up pixel 1, the last pixel 2
    weight = torch.eye(3).view(3, 1, 1, 3)
    model = Linear(weight, torch.tensor([0.0, -5.0, -9.0]))
    x = torch.full((1, 1, 1, 3), 0.5)
    x_adv = cw(Linf(0.1), 20)(model, x, torch.tensor([0]), Noise.of_batch(1))
    assert x_adv.flatten().tolist()[:2] == pytest.approx([0.4, 0.6], abs=1e-6)


def test_the_kl_attack_moves_the_prediction_away_from_the_clean_one():
    model, x = linear(), images(20)
    clean = model(x).softmax(1).detach()
    x_adv = PGD(Linf(0.1), steps=20, loss=KL(), start_at="gaussian")(model, x, clean)
    # the divergence is convex in the logit: its worst case is at one of two corners
    corners = [worst_linf(model, x, torch.full((20,), c), 0.1) for c in (0, 1)]
    reached = torch.stack([(x_adv - corner).abs().flatten(1).amax(1) for corner in corners]).amin(0)
    assert float(reached.max()) < 2e-7


# one iteration by hand


def test_steps_of_plain_pgd_by_hand():
    model, x, y = smooth(dtype=torch.float64), images(5, dtype=torch.float64), labels(5)
    expected = x.clone()
    for _ in range(3):
        at = expected.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(torch.nn.functional.cross_entropy(model(at), y), at)
        expected = (expected + 0.03 * gradient.sign()).clamp(x - 0.07, x + 0.07).clamp(0, 1)
    got = PGD(Linf(0.07), steps=3, step_size=0.03, start_at="image")(model, x, y)
    assert torch.allclose(got, expected, atol=1e-7)


def test_momentum_by_hand():
    model, x, y = smooth(dtype=torch.float64), images(5, dtype=torch.float64), labels(5)
    expected, velocity = x.clone(), torch.zeros_like(x)
    signs = []
    for _ in range(6):
        at = expected.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(torch.nn.functional.cross_entropy(model(at), y, reduction="sum"), at)
        velocity = 0.9 * velocity + gradient / gradient.abs().sum((1, 2, 3), keepdim=True)
        signs.append((velocity.sign() != gradient.sign()).any())
        expected = (expected + 0.1 * velocity.sign()).clamp(x - 0.3, x + 0.3).clamp(0, 1)
    got = PGD(Linf(0.3), steps=6, step_size=0.1, start_at="image", momentum=0.9)(model, x, y)
    assert torch.allclose(got, expected, atol=2e-7)
    assert any(signs)  # the momentum mattered


def test_a_larger_loss_scale_changes_nothing_under_momentum():
    model, x, y = smooth(dtype=torch.float64), images(5, dtype=torch.float64), labels(5)
    attack = PGD(Linf(0.3), steps=5, start_at="image", momentum=0.9, loss=DLR())
    assert torch.allclose(attack(model, x, y), attack(lambda z: 1000 * model(z), x, y), atol=1e-9)


def test_the_step_size_left_out_is_a_quarter_of_the_radius():
    model, x, y = smooth(), images(5, low=0.3, high=0.7), labels(5)
    assert PGD(Linf(0.2)).alpha == 0.05
    assert PGD(L2(0.2)).alpha == 0.05
    assert PGD(Linf(0.2), step_size=0.0).alpha == 0.0
    moved = PGD(Linf(0.2), steps=1, start_at="image")(model, x, y) - x
    assert torch.allclose(moved.abs(), torch.full_like(x, 0.05), atol=1e-6)
    moved = PGD(L2(0.2), steps=1, start_at="image")(model, x, y) - x
    assert moved.flatten(1).norm(dim=1).tolist() == pytest.approx([0.05] * 5, abs=1e-6)


# starts


def starts(start_at: str, eps: float = 0.1) -> torch.Tensor:
    x = images(200, (1, 8, 8), low=0.3, high=0.7)
    return PGD(Linf(eps), steps=0, start_at=start_at)(smooth(), x, labels(200)) - x


def test_a_uniform_start_fills_the_ball():
    offset = starts("uniform")
    assert float(offset.abs().max()) <= 0.1
    assert float(offset.std()) == pytest.approx(0.1 / 3**0.5, rel=0.02)


def test_a_gaussian_start_has_a_deviation_of_a_thousandth():
    offset = starts("gaussian")
    assert float(offset.std()) == pytest.approx(0.001, rel=0.02)
    assert abs(float(offset.mean())) < 4 * 0.001 / offset.numel() ** 0.5
    assert float(offset.abs().max()) > 0.003


def test_a_gaussian_start_stays_in_a_smaller_ball():
    offset = starts("gaussian", 0.0005)
    assert float(offset.abs().max()) <= 0.0005


def test_a_start_at_the_image_is_the_image():
    assert not starts("image").any()


# against foolbox


@pytest.mark.parametrize(("ball", "kind"), [(Linf(0.1), "LinfPGD"), (L2(0.5), "L2PGD")], ids=["Linf", "L2"])
def test_pgd_agrees_with_foolbox(ball, kind):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import foolbox

        model, x = smooth(shape=(3, 8, 8), seed=2), images(6, (3, 8, 8))
        y = predicted(model, x)
        theirs = getattr(foolbox.attacks, kind)(steps=8, abs_stepsize=ball.eps / 4, random_start=False)
        wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
        _, expected, _ = theirs(wrapped, x, y, epsilons=ball.eps)
    got = PGD(ball, steps=8, start_at="image")(model, x, y)
    assert torch.allclose(got, expected, atol=1e-5)
    assert float((got - x).abs().max()) > ball.eps / 10


# what it must not touch


@pytest.mark.parametrize("context", [torch.no_grad, torch.enable_grad])
@pytest.mark.parametrize("training", [True, False])
def test_neither_mode_nor_parameters_nor_their_gradients_are_touched(context, training):
    model = classifier().train(training)
    modes = [m.training for m in model.modules()]
    before = {name: p.clone() for name, p in model.named_parameters()}
    x, y = images(5), labels(5)
    with context():
        x_adv = PGD(Linf(0.1), steps=3)(model, x, y)
        assert torch.is_grad_enabled() == (context is torch.enable_grad)
    assert bool((x_adv != x).any())
    assert [m.training for m in model.modules()] == modes
    assert all(
        torch.equal(p, before[name]) and p.grad is None and p.requires_grad for name, p in model.named_parameters()
    )
    assert torch.equal(x, images(5))


def test_the_attack_is_the_same_without_gradients_outside_and_with_frozen_parameters():
    model, x, y = classifier(), images(5), labels(5)
    expected = PGD(Linf(0.1), steps=3)(model, x, y)
    with torch.no_grad():
        assert torch.equal(PGD(Linf(0.1), steps=3)(model, x, y), expected)
    with frozen(model):
        assert torch.equal(PGD(Linf(0.1), steps=3)(model, x, y), expected)


@pytest.mark.parametrize("ball", [Linf(0.1), L2(0.5)], ids=str)
def test_memory_layout_does_not_matter(ball):
    model, y = smooth(shape=(3, 8, 8), dtype=torch.float64), labels(6)
    x = images(6, (3, 8, 8), dtype=torch.float64)
    expected = PGD(ball, steps=4, momentum=0.5)(model, x, y)
    got = PGD(ball, steps=4, momentum=0.5)(model, x.to(memory_format=torch.channels_last), y)
    assert torch.allclose(got, expected, atol=1e-9)
    turned = x.transpose(2, 3).contiguous().transpose(2, 3)
    assert torch.allclose(PGD(ball, steps=4, momentum=0.5)(model, turned, y), expected, atol=1e-9)


@pytest.mark.parametrize("ball", [Linf(0.1), L2(0.5)], ids=str)
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_gradient_that_is_not_a_number_leaves_images(ball, momentum):
    # the slope of sqrt(max(0, x - 1)) at x < 1 is 0 times infinity
    weight = linear(3).weight
    model = Linear(weight)
    x, y = images(4), labels(4)
    broken = lambda z: model(z) + (z[:, :, :1, :1] - 1).clamp_min(0).sqrt().flatten(1)  # noqa: E731
    x_adv = PGD(ball, steps=3, start_at="image", momentum=momentum)(broken, x, y)
    assert bool(x_adv.isfinite().all())
    assert float(ball.distance(x_adv, x).max()) <= ball.eps
    assert bool((x_adv[:, :, 1:] != x[:, :, 1:]).any())


# the two functions it is made of


def test_images_that_are_done_stay_as_they_are():
    model, x, y = smooth(), images(3), labels(3)
    attack = PGD(Linf(0.1), steps=4, momentum=0.5)
    state = attack.start(model, x, y, Noise.of_batch(3))
    state = PGDState(state.x_adv, torch.tensor([False, True, False]), torch.tensor([0, 4, 3]), state.velocity)
    after = attack.advance(model, x, y, state)
    assert torch.equal(after.x_adv[1], state.x_adv[1])
    assert bool((after.x_adv[[0, 2]] != state.x_adv[[0, 2]]).flatten(1).any(1).all())
    assert after.done.tolist() == [False, True, True]
    assert torch.equal(attack.advance(model, x, y, after).x_adv[1:], after.x_adv[1:])


def test_a_call_is_its_start_and_as_many_advances_as_it_has_iterations():
    model, x, y = smooth(), images(3), labels(3)
    attack = PGD(Linf(0.1), steps=4)
    state = attack.start(model, x, y, Noise.of_batch(3))
    for made in range(attack.iterations):
        assert state.done.tolist() == [False] * 3
        assert state.step.tolist() == [made] * 3
        state = attack.advance(model, x, y, state)
    assert state.done.all()
    assert torch.equal(state.x_adv, attack(model, x, y))


# settings


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"steps": -1}, "steps is -1; it must be at least 0"),
        ({"step_size": -0.1}, r"step_size is -0\.1; it must be at least 0"),
        ({"momentum": -0.1}, r"momentum is -0\.1; it must be at least 0"),
    ],
)
def test_settings_out_of_range_are_refused(change, said):
    with pytest.raises(UsageError, match=said):
        PGD(**change)


def test_the_summary_holds_all_numbers():
    shown = PGD(Linf(EPS), steps=20).summary
    assert shown == "PGD on CrossEntropy(), Linf 8/255, 20 steps of 2/255 from a uniform point of the ball"
    shown = PGD(L2(0.5), steps=1, step_size=0.3, start_at="image", momentum=0.75, loss=Margin()).summary
    assert shown == "PGD on Margin(kappa=50.0), L2 0.5, 1 step of 0.3 from x, momentum 0.75"
    assert "from x + 0.001 N(0, 1)" in PGD(start_at="gaussian").summary
