"""Attack: what a call checks, and the state's parts."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from hardy.attacks import PGD, Linf
from hardy.attacks.attack import State, check_images
from hardy.errors import UsageError
from hardy.randomness import Noise
from toys import images, labels, smooth


@dataclass
class WithParts(State):
    """A state with something of each kind."""

    velocity: Tensor | None
    noise: Noise


def state(n: int, first: int = 0) -> WithParts:
    rows = torch.arange(first, first + n)
    return WithParts(rows.float().view(-1, 1, 1, 1), rows % 2 == 0, rows, None, Noise(3, rows).draw(rows))


@pytest.mark.parametrize("index", [torch.tensor([3, 0]), torch.tensor([True, False, False, True])])
def test_selecting_takes_the_same_rows_of_every_part(index):
    picked = state(4).select(index)
    rows = torch.arange(4)[index]
    assert picked.x_adv.flatten().long().equal(rows)
    assert picked.done.equal(rows % 2 == 0)
    assert picked.velocity is None
    assert picked.noise.rows.equal(rows)
    assert picked.noise.draws.equal(rows)
    assert isinstance(picked, WithParts)


def test_joining_what_was_parted_gives_the_whole():
    whole = state(5)
    joined = WithParts.cat([whole.select(torch.arange(2)), whole.select(torch.arange(2, 5))])
    assert joined.x_adv.equal(whole.x_adv)
    assert joined.done.equal(whole.done)
    assert joined.velocity is None
    assert joined.noise.bits((3,)).equal(whole.noise.bits((3,)))
    assert joined.select(torch.tensor([], dtype=torch.int64)).x_adv.shape == (0, 1, 1, 1)


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (torch.zeros(2, 3, 4, 4, dtype=torch.uint8), r"torch\.uint8 \(2, 3, 4, 4\); they must be floating-point"),
        (torch.zeros(3, 4, 4), r"\(3, 4, 4\); they must be floating-point \(N, C, H, W\)"),
        (torch.full((2, 3, 4, 4), 255.0), r"\[255, 255\].*Divide bytes by 255"),
        (torch.full((2, 3, 4, 4), -0.1), r"lie in \[-0\.1, -0\.1\]"),
        (torch.full((2, 3, 4, 4), torch.nan), r"\[nan, nan\]"),
    ],
)
def test_what_is_no_batch_of_images_is_refused(x, said):
    with pytest.raises(UsageError, match=said):
        check_images(x)


def test_the_rounding_of_an_undone_normalisation_is_let_pass():
    check_images(torch.tensor([-9e-7, 1 + 9e-7]).view(1, 1, 1, 2))
    with pytest.raises(UsageError, match="Pixels lie in"):
        check_images(torch.tensor([-2e-6, 0.5]).view(1, 1, 1, 2))


def test_targets_and_noise_must_have_a_row_for_each_image():
    model, x = smooth(), images(4)
    for target in (labels(3), torch.tensor(1), labels(0)):
        with pytest.raises(UsageError, match=r"There are 4 images and targets of shape \("):
            PGD()(model, x, target)
    with pytest.raises(UsageError, match="There are 4 images and 1 rows of noise"):
        PGD()(model, x, labels(4), Noise.of_batch(1))


def test_noise_left_out_is_a_fixed_seed():
    model, x, y = smooth(), images(4), labels(4)
    assert torch.equal(PGD(Linf(0.1))(model, x, y), PGD(Linf(0.1))(model, x, y, Noise.of_batch(4)))
    assert not torch.equal(PGD(Linf(0.1))(model, x, y), PGD(Linf(0.1))(model, x, y, Noise.of_batch(4, 1)))


def test_a_gradient_that_is_asked_for_at_x_is_not_passed_on():
    x = images(3).requires_grad_()
    for steps in (0, 2):
        x_adv = PGD(Linf(0.1), steps=steps, start_at="image")(smooth(), x, labels(3))
        assert not x_adv.requires_grad
        assert x_adv.data_ptr() != x.data_ptr()
    assert x.grad is None
    assert x.requires_grad


@pytest.mark.parametrize(
    ("y", "sentence"),
    [
        (torch.tensor([0, 1, 3]), r"Labels lie in 0\.\.3; f gives 3 classes, 0\.\.2"),
        (torch.tensor([0, -1, 2]), r"Labels lie in -1\.\.2"),
        (torch.tensor([0, 1, 2], dtype=torch.int32), r"Labels are torch.int32 \(3,\); they must be int64"),
        (torch.tensor([[0], [1], [2]]), r"Labels are torch.int64 \(3, 1\)"),
        (torch.tensor([True, False, True]), r"Labels are torch.bool"),
    ],
)
def test_labels_that_f_has_no_class_for_are_refused(y, sentence):
    with pytest.raises(UsageError, match=sentence):
        PGD(Linf(0.1), steps=1)(smooth(), images(3), y)


@pytest.mark.parametrize("out", [lambda x: x.mean((1, 2, 3)), lambda x: x, lambda x: (x,), lambda x: x[:1].flatten(1)])
def test_an_f_that_gives_no_logits_is_refused_where_there_are_labels(out):
    with pytest.raises(UsageError, match=r"For 3 images f gives .*; with labels it must give logits \(N, K\)"):
        PGD(Linf(0.1), steps=1)(out, images(3), labels(3))


def test_checking_the_labels_costs_no_pass_through_f():
    passes = []
    model = smooth()
    PGD(Linf(0.1), steps=4)(lambda x: passes.append(len(x)) or model(x), images(3), labels(3))
    assert passes == [3] * 4
