import pytest
import torch

from hardy.attacks import L2, PGD, FeatureScatter, Linf
from hardy.errors import FailedError, UsageError
from hardy.evaluation.surface import loss_along, loss_surface
from hardy.losses.logits import cross_entropy
from hardy.randomness import Noise
from toys import images, linear, predicted, smooth, split, split_of

EPS = 0.05
PATH = PGD(Linf(EPS), steps=8, start_at="image")


@pytest.fixture(scope="module")
def toy():
    """A linear network, and images that stay within [0, 1] when moved by 3 eps."""
    model = linear()
    x = images(12, low=0.2, high=0.8)
    return model, split_of(x, predicted(model, x), 2)


def test_on_a_linear_network_the_loss_along_the_direction_has_a_closed_form(toy):
    model, data = toy
    rows = loss_along(model, data, PATH, (0.0, 1.0, 3.0), run="toy")
    margins = model.margin(data.x(), data.labels)
    lost = EPS * model.direction(data.labels).abs().sum((1, 2, 3))  # by a step of eps against every sign
    for scale, loss, share in zip((0, 1, 3), rows[::2], rows[1::2], strict=True):
        moved = margins - scale * lost
        assert loss.value == pytest.approx(torch.nn.functional.softplus(-moved).mean().item(), rel=1e-3)
        assert share.value == pytest.approx((moved > 0).float().mean().item())
        assert loss.settings["scale"] == scale
    assert [row.what for row in rows[:2]] == [
        "loss at 0 times the perturbation",
        "accuracy at 0 times the perturbation",
    ]
    assert (rows[0].unit, rows[1].unit, rows[0].n, rows[0].run) == ("cross-entropy", "fraction", 12, "toy")
    assert rows[0].low < rows[0].value < rows[0].high


def test_scales_beyond_1_leave_the_ball_and_clipping_is_a_setting():
    model = linear()
    x = images(12, low=0.0, high=1.0)
    data = split_of(x, predicted(model, x), 2)
    (clipped, _), (free, _) = (loss_along(model, data, PATH, (3.0,), clip=clip) for clip in (True, False))
    assert free.value > clipped.value
    assert (free.settings["clip"], clipped.settings["clip"]) == (False, True)


def test_the_images_are_those_classified_correctly():
    model = smooth()
    data = split(10, model)
    data.labels[:3] = (data.labels[:3] + 1) % 3
    rows = loss_along(model, data, PATH, (0.0,))
    assert [row.n for row in rows] == [7, 7]
    assert rows[1].value == 1
    assert rows[0].value == pytest.approx(cross_entropy(model(data.x()), data.labels)[3:].mean().item(), rel=1e-5)
    data.labels[:] = (predicted(model, data.x()) + 1) % 3
    with pytest.raises(UsageError, match="None of the images is classified correctly"):
        loss_along(model, data, PATH, (0.0,))


def test_a_surface_holds_the_loss_along_both_directions_on_a_linear_network(toy):
    model, data = toy
    rows = loss_surface(model, data, PATH, (-1.0, 0.0, 1.0), (0.0, 2.0), seed=4)
    assert [(row.settings["along"], row.settings["across"]) for row in rows] == [
        (s, t) for t in (0.0, 2.0) for s in (-1.0, 0.0, 1.0)
    ]
    signs = Noise(4, data.indices, purpose="evaluation").derive("across").normal(data.shape).sign()
    down = model.direction(data.labels)
    margins = model.margin(data.x(), data.labels)
    for row in rows:
        s, t = row.settings["along"], row.settings["across"]
        moved = margins - s * EPS * down.abs().sum((1, 2, 3)) + t * EPS * (signs * down).sum((1, 2, 3))
        assert row.value == pytest.approx(torch.nn.functional.softplus(-moved).mean().item(), rel=1e-3)
    assert (rows[0].what, rows[0].n) == ("loss at (-1, 0)", 12)


def test_in_an_l2_ball_the_random_direction_is_as_long_as_eps():
    seen = []
    model = linear()
    x = images(4, low=0.4, high=0.6)
    data = split_of(x, predicted(model, x), 2)

    def looked(at):
        seen.append(at.detach().clone())
        return model(at)

    loss_surface(looked, data, PGD(L2(0.1), steps=1), (0.0,), (1.0,))
    assert (seen[-1] - data.x()).flatten(1).norm(dim=1).tolist() == pytest.approx([0.1] * 4, rel=1e-4)


def test_no_number_depends_on_the_batch():
    model = smooth()
    data, attack = split(11, model), PGD(Linf(EPS), steps=3)
    for measure in (
        lambda batch: loss_along(model, data, attack, (0.5, 2.0), batch=batch),
        lambda batch: loss_surface(model, data, attack, (0.0, 1.0), (-1.0, 1.0), batch=batch),
    ):
        assert [r.value for r in measure(11)] == pytest.approx([r.value for r in measure(4)], rel=1e-5)


def test_the_network_comes_back_as_it_was_and_progress_ends_with_all_images(toy):
    model, told = linear().train(), []
    loss_along(model, toy[1], PATH, (1.0,), batch=5, tell=lambda done, total: told.append((done, total)))
    assert model.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert told == [(5, 12), (10, 12), (12, 12)]


def test_a_loss_that_is_no_number_has_no_mean(toy):
    model, data = toy
    with pytest.raises(FailedError, match="NaN or infinite"):  # beyond the image with its largest pixel
        loss_along(lambda x: model(x) + (1 - x.amax((1, 2, 3)))[:, None].log(), data, PATH, (0.0, 20.0), clip=False)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (lambda m, s: loss_along(m, s, PATH, ()), r"scales is \(\); it must be at least one number"),
        (lambda m, s: loss_along(m, s, PATH, (1.0, 1.0)), "numbers that differ"),
        (lambda m, s: loss_along(m, s, PATH, (1.0,), batch=0), "batch is 0"),
        (lambda m, s: loss_along(m, s, FeatureScatter(), (1.0,)), "one whose direction depends on an image alone"),
        (lambda m, s: loss_surface(m, s, PATH, (), (0.0,)), r"along is \(\)"),
        (lambda m, s: loss_surface(m, s, PATH, (0.0,), ("a",)), "across is"),
        (lambda m, s: loss_surface(m, s.take(slice(0)), PATH, (0.0,), (0.0,)), "n is 0"),
    ],
)
def test_what_cannot_be_looked_at_is_refused(toy, asked, said):
    with pytest.raises(UsageError, match=said):
        asked(*toy)
