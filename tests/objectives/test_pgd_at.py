"""PGD-AT and its rolled control, against their equations."""

import copy

import pytest
import torch

from hardy.attacks import PGD, Linf
from hardy.errors import UsageError
from hardy.models import frozen
from hardy.objectives import PGDAT, RolledPGDAT
from objectives.by_hand import (
    Told,
    assert_near,
    forwards_counted,
    gradients,
    images,
    labels,
    mean_cross_entropy,
    mean_smoothed,
    network,
    noise,
    statistics,
)

both = pytest.mark.parametrize("method", [PGDAT, RolledPGDAT])


def test_the_loss_is_the_mean_cross_entropy_of_the_adversarial_images_alone():
    model, x, y = network(), images(), labels()
    terms = PGDAT(Told(0.2))(copy.deepcopy(model), x, y, noise())
    assert list(terms) == ["adversarial"]
    torch.testing.assert_close(terms["adversarial"], mean_cross_entropy(model((x + 0.2).clamp(0, 1)), y))


def test_the_adversarial_images_are_those_of_pgd_against_the_evaluated_network():
    model, x, y = network(), images(), labels()
    attack = PGD(Linf(0.1), steps=3)
    other = copy.deepcopy(model)
    with frozen(other):
        x_adv = attack.perturb(other, x, y, noise())
    assert (x_adv - x).abs().max() > 0.05
    loss = PGDAT(attack)(model, x, y, noise())["adversarial"]
    torch.testing.assert_close(loss, mean_cross_entropy(other(x_adv), y))


def test_the_gradient_is_that_at_fixed_adversarial_images():
    model, x, y = network(), images(), labels()
    attack = PGD(Linf(0.1), steps=2)
    with frozen(model):
        x_adv = attack.perturb(model, x, y, noise())
    other = copy.deepcopy(model)
    by_hand = gradients(mean_cross_entropy(other(x_adv), y), other)
    assert_near(gradients(PGDAT(attack)(model, x, y, noise())["adversarial"], model), by_hand)


def test_the_rolled_control_moves_each_row_and_column_around_by_one_offset_for_the_batch():
    x, y = images(), labels()
    objective, seen = RolledPGDAT(Told(0.0)), []
    model = network()
    model.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    for step in range(6):
        objective(model, x, y, noise(step=step))
    every_roll = [torch.roll(x, (down, right), (2, 3)) for down in range(8) for right in range(8)]
    offsets = [next(i for i, rolled in enumerate(every_roll) if torch.equal(rolled, given)) for given in seen]
    assert len(set(offsets)) > 3


def test_the_rolled_loss_is_the_cross_entropy_of_the_rolled_adversarial_images():
    model, x, y, seen = network(), images(), labels(), []
    other = copy.deepcopy(model)
    model.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    loss = RolledPGDAT(Told(0.2))(model, x, y, noise(step=1))["adversarial"]
    (given,) = seen
    assert torch.equal(given.flatten(2).sort(2).values, (x + 0.2).clamp(0, 1).flatten(2).sort(2).values)
    torch.testing.assert_close(loss, mean_cross_entropy(other(given), y))


@both
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_the_attack_gets_the_whole_clean_images_their_labels_and_a_network_without_gradients(method, mode):
    attack, x, y = Told(), images(), labels()
    method(attack, mode)(network(), x, y, noise())
    assert torch.equal(attack.x, x)
    assert torch.equal(attack.target, y)
    assert attack.training == (mode == "train")
    assert not attack.grads


@both
def test_crafting_in_eval_mode_leaves_one_forward_pass_in_the_running_statistics(method):
    assert forwards_counted(method(PGD(steps=3))) == {1}


@both
def test_crafting_in_train_mode_adds_one_forward_pass_for_each_step(method):
    assert forwards_counted(method(PGD(steps=3), "train")) == {4}


def test_the_running_statistics_are_to_the_bit_those_of_the_one_training_pass():
    model, x, y = network(), images(), labels()
    attack, other = PGD(Linf(0.1), steps=3), copy.deepcopy(model)
    with frozen(other):
        x_adv = attack.perturb(other, x, y, noise())
    other(x_adv)
    PGDAT(attack)(model, x, y, noise())
    assert all(map(torch.equal, statistics(model), statistics(other)))


@both
@pytest.mark.parametrize("share", [0.1, 0.5])
def test_with_smoothing_the_loss_is_of_the_spread_label_and_the_attack_has_the_label_itself(method, share):
    model, x, y, seen = network().double(), images().double(), labels(), []
    other, attack = copy.deepcopy(model), PGD(Linf(0.1), steps=3)
    made = method(attack).craft(model, x, y, noise(step=1))
    model.register_forward_pre_hook(lambda _, given: seen.append(given[0]) if model.training else None)
    terms = method(attack, smoothing=share)(model, x, y, noise(step=1))
    assert [torch.equal(given, made) for given in seen] == [True]
    expected = mean_smoothed(other(made), y, share)
    torch.testing.assert_close(terms["adversarial"], expected)
    assert_near(gradients(terms["adversarial"], model), gradients(expected, other))


@both
@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_a_share_of_smoothing_that_is_none_is_refused(method, share):
    with pytest.raises(UsageError, match=f"smoothing is {share}; it must be"):
        method(smoothing=share)


def test_in_batch_mode_the_attack_sees_the_batchs_statistics_and_leaves_no_trace():
    model, x, y, attack = network(), images(), labels(), PGD(Linf(0.1), steps=3)
    assert forwards_counted(PGDAT(attack, "batch")) == {1}
    evaluated, of_batch, trained = (
        PGDAT(attack, mode).craft(copy.deepcopy(model), x, y, noise()) for mode in ("eval", "batch", "train")
    )
    assert torch.equal(of_batch, trained)
    assert not torch.equal(of_batch, evaluated)
