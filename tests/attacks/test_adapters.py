"""Adapters: our attacks bound to a network, and those of foolbox, pyautoattack and (made up here) torchattacks."""

import json
import warnings

import pytest
import torch
from torch import nn

from hardy.attacks import L2, PGD, Attack, Foreign, Linf, Restarts, Worst, bind, fgsm
from hardy.errors import UsageError
from hardy.randomness import Noise
from toys import images, labels, linear, predicted, smooth, worst_linf

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import foolbox
    import pyautoattack


def plainly(model):
    """A function that is no module."""

    def f(x):
        return model(x)

    return f


# bind


def test_a_bound_attack_takes_images_and_labels():
    model, x, y = smooth(), images(4), labels(4)
    atk = bind(PGD(Linf(0.1)), model)
    assert torch.equal(atk(x, y), PGD(Linf(0.1))(model, x, y))
    noise = Noise.of_batch(4, 3)
    assert torch.equal(bind(PGD(Linf(0.1)), model, noise)(x, y), PGD(Linf(0.1))(model, x, y, noise))
    assert torch.equal(bind(PGD(Linf(0.1)), plainly(model))(x, y), atk(x, y))


def test_a_bound_attack_sees_the_network_as_it_is_when_called():
    model, x, y = smooth(), images(4), labels(4)
    atk = bind(fgsm(Linf(0.1)), model)
    before = atk(x, y)
    with torch.no_grad():
        model.last.weight.neg_()
    assert not torch.equal(atk(x, y), before)


def test_what_cannot_be_bound_is_refused():
    with pytest.raises(UsageError, match="attack is Smooth"):
        bind(smooth(), PGD())  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"The network is torch\.float32 \(2, 1, 4, 4\); it must be a module"):
        bind(PGD(), images(2))
    with pytest.raises(UsageError, match="The target is list"):
        bind(PGD(), smooth())(images(2), [0, 1])


# torchattacks, made up: an object that keeps its model, and one that keeps others


class Theirs:
    """As torchattacks has it: keeps model and device, asserts the range, sets and restores the model's mode."""

    def __init__(self, model: nn.Module, eps: float) -> None:
        self.model, self.device, self.eps = model, torch.device("cpu"), eps

    def __call__(self, x, y):
        assert 0 <= float(x.min()) <= float(x.max()) <= 1
        training = self.model.training
        self.model.eval()
        x_adv = self.forward(x, y)
        self.model.train(training)
        return x_adv

    def forward(self, x, y):
        at = x.clone().requires_grad_()
        loss = nn.functional.cross_entropy(self.model(at), y)
        return (x + self.eps * torch.autograd.grad(loss, at)[0].sign()).clamp(0, 1).detach()


class Several(Theirs):
    """As its MultiAttack: attacks within."""

    def __init__(self, attacks: list[Theirs]) -> None:
        super().__init__(attacks[0].model, attacks[0].eps)
        self.attacks = attacks
        self._by_name = {"whole": self}  # a circle

    def forward(self, x, y):
        return self.attacks[-1](x, y)


class Random(Theirs):
    """Draws from torch's own generator."""

    def forward(self, x, y):
        return (x + self.eps * torch.randn_like(x)).clamp(0, 1)


def test_an_object_that_keeps_its_model_attacks_ours_and_gets_its_own_back():
    own, model, x = linear(seed=5), linear(), images(6)
    y = predicted(model, x)
    theirs = Theirs(own, 0.1)
    x_adv = Foreign(theirs, Linf(0.1))(model, x, y)
    assert torch.allclose(x_adv, worst_linf(model, x, y, 0.1), atol=2e-7)
    assert not torch.allclose(x_adv, worst_linf(own, x, y, 0.1), atol=1e-3)
    assert theirs.model is own


def test_the_objects_within_it_are_given_ours_too():
    own, model, x = linear(seed=5), linear(), images(6)
    y = predicted(model, x)
    several = Several([Theirs(own, 0.1), Theirs(own, 0.1)])
    x_adv = Foreign(several, Linf(0.1))(plainly(model), x, y)
    assert torch.allclose(x_adv, worst_linf(model, x, y, 0.1), atol=2e-7)
    assert all(kept.model is own for kept in (several, *several.attacks))


def test_one_that_fails_gets_its_own_model_back():
    theirs = Theirs(linear(seed=5), 0.1)
    own, place = theirs.model, theirs.device

    def fails(z):
        assert theirs.model is not own
        raise KeyError("no")

    with pytest.raises(KeyError):
        Foreign(theirs, Linf(0.1))(fails, images(2), labels(2, 2))
    assert theirs.model is own
    assert theirs.device is place


def test_the_mode_of_the_network_is_not_theirs_to_set():
    model = nn.Sequential(linear(), nn.Dropout(0.5)).train()
    Foreign(Theirs(linear(), 0.1), Linf(0.1))(model, images(3), labels(3, 2))
    assert model.training
    seen = []
    inner = linear().train()
    Foreign(Theirs(linear(), 0.1), Linf(0.1))(
        lambda z: seen.append(inner.training) or inner(z), images(3), labels(3, 2)
    )
    assert seen == [True]


def test_their_random_numbers_come_from_the_noise_and_leave_torchs_generator_alone():
    attack, x, y = Foreign(Random(linear(), 0.1), Linf(0.1)), images(3), labels(3, 2)
    before = torch.get_rng_state()
    first = attack(linear(), x, y, Noise.of_batch(3))
    torch.manual_seed(123)
    assert torch.equal(attack(linear(), x, y, Noise.of_batch(3)), first)
    assert not torch.equal(attack(linear(), x, y, Noise.of_batch(3, 1)), first)
    torch.set_rng_state(before)


def test_what_it_finds_outside_the_ball_is_projected():
    x, y = images(3), labels(3, 2)
    x_adv = Foreign(lambda f, z, t: z + 0.5, Linf(0.1))(linear(), x, y)
    assert torch.equal(x_adv, Linf(0.1).project(x + 0.5, x))
    assert Foreign(lambda f, z, t: z, Linf(0.0))(linear(), x, y).equal(x)


def test_pixels_that_rounding_left_outside_are_clipped_before_they_see_them():
    x = torch.tensor([-9e-7, 1 + 9e-7] * 8).view(1, 1, 4, 4)
    x_adv = Foreign(Theirs(linear(), 0.1), Linf(0.1))(linear(), x, labels(1, 2))
    assert 0 <= float(x_adv.min()) <= float(x_adv.max()) <= 1


def test_gradients_switched_off_outside_are_on_inside():
    model, x, y = linear(), images(3), labels(3, 2)
    with torch.no_grad():
        x_adv = Foreign(Theirs(model, 0.1), Linf(0.1))(model, x, y)
    assert torch.allclose(x_adv, worst_linf(model, x, y, 0.1), atol=2e-7)


def test_something_that_is_no_batch_of_images_is_refused():
    for found in (None, images(2)):
        with pytest.raises(
            UsageError, match=r"gives .* for images torch\.float32 \(3, 1, 4, 4\); it must give as many"
        ):
            Foreign(lambda f, x, y, found=found: found, Linf(0.1))(linear(), images(3), labels(3, 2))


# foolbox


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["LinfPGD", "L2PGD"])
def test_an_attack_of_foolbox_stands_for_ours(name, dtype):
    ball = Linf(0.1) if name == "LinfPGD" else L2(0.5)
    model, x = smooth(dtype=dtype), images(6, dtype=dtype)
    y = predicted(model, x)
    theirs = getattr(foolbox.attacks, name)(steps=8, abs_stepsize=ball.eps / 4, random_start=False)
    got = Foreign(theirs, ball)(model, x, y)
    assert torch.allclose(got, PGD(ball, steps=8, start_at="image")(model, x, y), atol=1e-5)
    assert got.dtype == dtype
    assert bool((got != x).flatten(1).any(1).all())


def test_a_minimal_attack_of_foolbox_stays_in_the_ball():
    model, x = linear(), images(20)
    y = predicted(model, x)
    x_adv = Foreign(foolbox.attacks.LinfDeepFoolAttack(steps=20), Linf(0.05))(model, x, y)
    broken = predicted(model, x_adv) != y
    assert 0 < int(broken.sum()) < 20
    assert float((x_adv.double() - x.double()).abs().max()) <= 0.05


def test_foolbox_with_a_random_start_is_repeatable():
    model, x, y = smooth(), images(3), labels(3)
    attack = Foreign(foolbox.attacks.LinfPGD(steps=1), Linf(0.1))
    assert torch.equal(attack(model, x, y), attack(model, x, y))
    assert not torch.equal(attack(model, x, y), attack(model, x, y, Noise.of_batch(3, 1)))


# pyautoattack


def autoattack(model, **changes):
    some = {"eps": 0.1, "seed": 0, "version": "custom", "attacks": ["apgd-ce", "fab", "square"]}
    theirs = pyautoattack.AutoAttack(model, **some | changes)
    theirs.apgd.n_restarts = theirs.fab.n_restarts = 1
    theirs.apgd.n_iter = theirs.fab.n_iter = theirs.square.n_queries = 20
    return theirs


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("attacks", [["apgd-ce"], ["fab"], ["square"], ["apgd-t"]])
def test_each_attack_of_pyautoattack_attacks_our_network_and_gets_its_own_back(attacks):
    own, model, x = smooth(5, seed=9), smooth(5), images(12)
    y = predicted(model, x)
    theirs = autoattack(own, attacks=attacks)
    theirs.apgd_targeted.n_target_classes, theirs.apgd_targeted.n_iter = 2, 10
    keepers = [(theirs, "model"), (theirs.apgd, "model"), (theirs.apgd_targeted, "model"), (theirs.fab, "predict"),
               (theirs.square, "predict")]  # fmt: skip
    assert all(getattr(owner, name) is own for owner, name in keepers)
    got = Foreign(theirs, Linf(0.1))(model, x, y)
    assert all(getattr(owner, name) is own for owner, name in keepers)
    direct = autoattack(model, attacks=attacks)
    direct.apgd_targeted.n_target_classes, direct.apgd_targeted.n_iter = 2, 10
    expected, _ = direct.run_standard_evaluation(x, y)
    assert torch.allclose(got, expected, atol=1e-6)
    assert bool((got != x).any())


@pytest.mark.filterwarnings("ignore")
def test_pyautoattack_which_computes_in_float32_attacks_a_network_in_float64():
    model, x = smooth(dtype=torch.float64), images(5, dtype=torch.float64)
    y = predicted(model, x)
    x_adv = Foreign(autoattack(model, attacks=["apgd-ce"]), Linf(0.1))(model, x, y)
    assert x_adv.dtype == torch.float64
    assert float((x_adv - x).abs().max()) <= 0.1


# as one of our attacks


def foreign():
    model = linear()
    return [Foreign(Theirs(model, 0.1), Linf(0.1)), Foreign(foolbox.attacks.LinfPGD(steps=3), Linf(0.1)),
            Foreign(autoattack(model), Linf(0.1)), Foreign(lambda f, x, y: x, Linf(0.1))]  # fmt: skip


def test_it_is_an_attack_in_one_piece():
    for attack in foreign():
        assert isinstance(attack, Attack)
        assert attack.stages == ()
        assert attack.group is None
        with pytest.raises(UsageError, match="by iterations"):
            Restarts(attack, 2)
        with pytest.raises(UsageError, match="by iterations"):
            Worst((PGD(Linf(0.1)), attack))


def test_no_image_is_a_batch_too():
    for attack in foreign():
        assert attack(linear(), images(0), labels(0, 2)).shape == (0, 1, 4, 4)


def test_it_says_what_it_is_without_addresses_of_this_process():
    shown = [attack.summary for attack in foreign()]
    assert shown[0] == "test_adapters's Theirs(eps=0.1), Linf 0.1"
    assert shown[1].startswith("foolbox's LinfProjectedGradientDescentAttack(")
    assert "steps=3" in shown[1]
    assert shown[2].startswith("pyautoattack's AutoAttack(norm=Linf, epsilon=0.1, seed=0,")
    assert "apgd-ce" in shown[2]
    assert "0x" not in "".join(shown)
    for attack in foreign():
        row = json.loads(json.dumps(attack.described))
        assert row["type"] == "Foreign"
        assert row["ball"] == {"type": "Linf", "eps": 0.1}


def test_settings_of_the_attacks_within_are_told_too_and_running_changes_none():
    first, second = autoattack(smooth(5)), autoattack(smooth(5))
    second.square.n_queries = 30
    told = [Foreign(theirs, Linf(0.1)).described for theirs in (first, second)]
    assert [row["attack"]["square"]["n_queries"] for row in told] == [20, 30]
    first.attacks_to_run = ["fab-t"]  # sets the restarts of fab and its target while it runs
    first.fab.n_restarts, first.fab.n_target_classes = 3, 2
    attack, x = Foreign(first, Linf(0.1)), images(3)
    before = attack.described
    attack(smooth(5), x, predicted(smooth(5), x))
    assert attack.described == before

    several = Foreign(Several([Theirs(linear(), 0.1), Theirs(linear(), 0.1)]), Linf(0.1))
    assert several.described["attack"] == {"name": "Several", "eps": 0.1, "attacks": [{"eps": 0.1}, {"eps": 0.1}]}


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            lambda: Foreign(Theirs(linear(), 0.1), Linf(0.05)),
            r"Theirs was made with a radius of 0\.1; the ball is Linf 0\.05",
        ),
        (lambda: Foreign(autoattack(linear()), Linf(0.05)), r"AutoAttack was made with a radius of 0\.1"),
        (lambda: Foreign(autoattack(linear(), norm="L1"), Linf(0.1)), "AutoAttack was made for L1; the ball is Linf"),
        (lambda: Foreign(foolbox.attacks.L2PGD(), Linf(0.1)), "was made for L2; the ball is Linf"),
        (lambda: Foreign(foolbox.attacks.LinfPGD(), L2(0.1)), "was made for Linf; the ball is L2"),
        (lambda: Foreign(PGD(), Linf(0.1)), "attack is PGD"),
        (lambda: Foreign(Theirs, Linf(0.1)), "must be an attack object of torchattacks, foolbox or pyautoattack"),
        (lambda: Foreign(3, Linf(0.1)), "attack is 3"),
        (lambda: Foreign(Theirs(linear(), 0.1), 0.1), r"ball is 0\.1; it must be a Ball"),
    ],
)
def test_what_does_not_fit_the_ball_or_is_no_attack_is_refused(make, said):
    with pytest.raises(UsageError, match=said):
        make()
