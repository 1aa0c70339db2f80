"""RAT, written out: its path evaluated point by point, its sampler, its labels; the methods it is with parts left out."""

import copy
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hardy.attacks import NATTACK, PGD, AdversarialDistribution, FeatureScatter, InfoFeature, Iterative, Linf
from hardy.attacks.attack import State
from hardy.errors import UsageError
from hardy.models import crafting
from hardy.models.classifier import Classifier
from hardy.objectives import PGDAT, RAT, AVmixup, DistanceLabels, RegionalSampler
from hardy.randomness import Noise
from hardy.training.passes import passes_of_step
from objectives.by_hand import (
    Linear,
    assert_near,
    forwards_counted,
    gradients,
    images,
    labels,
    mean_cross_entropy,
    network,
    noise,
    statistics,
)

EPS = 0.1
HARD = DistanceLabels(1.0, 1.0)
SAT = RegionalSampler(regional=False, samples=1, smallest=1.0, largest=1.0)


# the first adversarial point of the path


class Walk(Iterative):
    """Walks through given points, x itself the first; like PGD it passes each but the last through f."""

    ball = Linf(1.0)
    summary = "as told"

    def __init__(self, *points: Tensor) -> None:
        self.points = points

    @property
    def iterations(self) -> int:
        return len(self.points) - 1

    def start(self, f, x, target, noise):
        zero = torch.zeros(len(x), dtype=torch.int64)
        return State(self.points[0].clone(), zero >= self.iterations, zero)

    def advance(self, f, x, target, state):
        f(state.x_adv.detach().requires_grad_())
        step = state.step + 1
        return State(self.points[int(step[0])].clone(), step >= self.iterations, step)


class Threshold(Classifier):
    """Says 1 for an image that is bright."""

    def trunk(self, x):
        return x

    def head(self, z):
        return torch.stack([0.5 - z[:, 0], z[:, 0] - 0.5], 1)


FOOLED = {  # at which points of the path x'_0 .. x'_4, and which of them is the first
    "never": ("00000", 4),
    "at the end alone": ("00001", 4),
    "at the start alone": ("10000", 4),
    "at the start and later": ("10010", 3),
    "from the first on": ("01111", 1),
    "at the first alone": ("01000", 1),
    "always": ("11111", 1),
    "twice": ("00101", 2),
    "late": ("00010", 3),
}


def walk() -> tuple[Walk, Tensor]:
    """Points of one brightness each, below or above a half; no two alike."""
    columns = []
    for t in range(5):
        bright = [0.6 if word[t] == "1" else 0.1 for word, _ in FOOLED.values()]
        values = [b + 0.05 * t + 0.001 * i for i, b in enumerate(bright)]
        columns.append(torch.tensor(values).view(-1, 1, 1, 1).expand(-1, 1, 2, 2).contiguous())
    return Walk(*columns), torch.zeros(len(FOOLED), dtype=torch.int64)


@pytest.mark.parametrize("if_none", ["end", "one step"])
def test_the_first_adversarial_point_is_that_of_the_least_step_after_the_start(if_none):
    attack, y = walk()
    first, end = RAT(attack, RegionalSampler(if_none=if_none)).ends(Threshold(), attack.points[0], y, noise(len(y)))
    assert torch.equal(end, attack.points[-1])
    for i, (word, at) in enumerate(FOOLED.values()):
        # whether the last point alone fools f is not asked: it would take a pass more
        wanted = 1 if if_none == "one step" and "1" not in word[1:4] else at
        assert torch.equal(first[i], attack.points[wanted][i]), word


def path_of_pgd(attack: PGD, model: nn.Module, x: Tensor, y: Tensor, given: Noise) -> list[Tensor]:
    points = [attack.ball.sample(x, given)]
    velocity = torch.zeros_like(x)
    for _ in range(attack.steps):
        at = points[-1].clone().requires_grad_()
        (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(model(at), y, reduction="sum"), at)
        velocity = attack.momentum * velocity + gradient / gradient.abs().sum((1, 2, 3), keepdim=True)
        points.append(attack.ball.project(points[-1] + attack.alpha * velocity.sign(), x))
    return points


def first_by_asking(model: nn.Module, points: Sequence[Tensor], y: Tensor, if_none: str) -> tuple[Tensor, list[int]]:
    """Every point of every image passed through by itself, but for the last one where `if_none` is one step."""
    firsts, at = [], []
    for i, label in enumerate(y.tolist()):
        found = len(points) - 1 if if_none == "end" else 1
        for t in range(len(points) - (1 if if_none == "one step" else 0) - 1, 0, -1):
            with torch.no_grad():
                if int(model(points[t][i : i + 1]).argmax()) != label:
                    found = t
        firsts.append(points[found][i])
        at.append(found)
    return torch.stack(firsts), at


@pytest.mark.parametrize("if_none", ["end", "one step"])
@pytest.mark.parametrize("momentum", [0.0, 0.75])
def test_on_pgds_path_it_is_what_asking_about_every_point_by_itself_finds(if_none, momentum):
    model, x, given = network().eval(), images(60), noise(60)
    with torch.no_grad():
        model.linear.weight.mul_(20)
        y = model(x).argmax(1)
        y[:3] = (y[:3] + 1) % 5  # these are misclassified from the start
    attack = PGD(Linf(0.1), steps=8, step_size=0.006, momentum=momentum)
    points = path_of_pgd(attack, model, x, y, given)
    expected, at = first_by_asking(model, points, y, if_none)
    assert len(set(at)) >= 4
    first, end = RAT(attack, RegionalSampler(if_none=if_none)).ends(model, x, y, given)
    torch.testing.assert_close(end, points[-1], atol=1e-7, rtol=0)
    torch.testing.assert_close(first, expected, atol=1e-7, rtol=0)


@pytest.mark.parametrize("mode", ["eval", "batch"])
@pytest.mark.parametrize("attack", [PGD(Linf(0.03), 6), InfoFeature(Linf(0.03), 6, weight=1.0)], ids=["pgd", "maps"])
def test_predictions_on_the_path_are_those_of_a_pass_of_their_own(mode, attack):
    model, x, given = network(), images(24), noise(24)
    with torch.no_grad():
        model.linear.weight.mul_(20)
        y = copy.deepcopy(model)(x).argmax(1)
    y[:8] = (y[:8] + 1) % 5
    with crafting(model, mode):
        points = [s.x_adv for s in attack.states(attack.view(model), x, y, given)]
        wrong = torch.stack([model(p).argmax(1) != y for p in points[:-1]])
        first, end = RAT(attack).ends(model, x, y, given)
    assert torch.equal(end, points[-1])
    found = set()
    for i in range(24):
        at = next((t for t in range(1, 6) if wrong[t, i]), 6)
        assert torch.equal(first[i], points[at][i])
        found.add(at)
    assert len(found) >= 3


@pytest.mark.parametrize("attack", [AdversarialDistribution(steps=1, samples=1), NATTACK(steps=1, population=2)])
def test_an_attack_that_passes_other_images_than_its_iterates_has_no_path_to_be_looked_at(attack):
    with pytest.raises(UsageError, match=f"{type(attack).__name__} takes none at its iterates; PGD and InfoFeature do"):
        RAT(attack)(network(), images(), labels(), noise())


def test_an_attack_of_one_step_has_one_point_whatever_is_said_of_none():
    model, x, y = network().eval(), images(), labels()
    for if_none in ("end", "one step"):
        first, end = RAT(PGD(Linf(EPS), 1), RegionalSampler(if_none=if_none)).ends(model, x, y, noise())
        assert torch.equal(first, end)
        assert torch.equal(end, PGD(Linf(EPS), 1)(model, x, y, noise()))


@pytest.mark.parametrize("if_none", ["end", "one step"])
@pytest.mark.parametrize("samples", [1, 2, 3])
def test_no_pass_is_made_but_those_of_the_attack_and_one_of_all_points_together(if_none, samples):
    model, passes = network(), []
    model.register_forward_pre_hook(lambda m, given: passes.append((m.training, len(given[0]))))
    method = RAT(PGD(Linf(EPS), 5), RegionalSampler(samples=samples, if_none=if_none))
    method(model, images(), labels(), noise())
    assert passes == [(False, 4)] * 5 + [(True, 4 * samples)]
    counted = passes_of_step(method, network(), images(), labels(), noise())
    assert (counted.forwards, counted.backwards) == (5 + samples, 5 + samples)


# the sampler


def region(n: int, sampler: RegionalSampler, low: float = 0.0, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Points (m, n), scales (m, n) and shares of the first point (m, n) of images at 0, first points at 2, ends at 1."""
    zero = torch.full((n, 1, 1, 1), low)
    points, scales = sampler(zero, zero + 2, zero + 1, noise(n, seed=seed))
    points, scales = (v.view(sampler.samples, n) for v in (points, scales))
    return points, scales, (points - low) / scales - 1


def test_scales_are_those_of_the_grid_each_as_often():
    _, scales, _ = region(5250, RegionalSampler(clip=False))
    steps = (10 * scales).round()
    torch.testing.assert_close(scales, 0.1 * steps, atol=1e-6, rtol=0)
    counts = torch.bincount(steps.long().flatten())
    assert len(counts) == 21
    assert int(counts.sum()) == 10_500
    assert float(((counts - 500.0) ** 2 / 500).sum()) < 45  # chi squared of 20: below with probability 0.999
    assert float(scales.mean()) == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize(
    ("smallest", "largest", "spacing", "grid"),
    [
        (0.0, 3.0, 0.1, [0.1 * k for k in range(31)]),
        (0.0, 1.0, 0.25, [0.0, 0.25, 0.5, 0.75, 1.0]),
        (0.5, 1.5, 0.5, [0.5, 1.0, 1.5]),
        (1.0, 1.0, 0.1, [1.0]),
        (2.0, 2.0, 0.1, [2.0]),
        (0.0, 1.0, 0.6, [0.0, 0.6]),  # beyond the largest there is none
        (0.0, 2.0, 0.3, [0.3 * k for k in range(7)]),
        (0.2, 0.3, 5.0, [0.2]),
    ],
)
def test_the_grid_reaches_from_the_smallest_scale_to_the_largest_and_no_further(smallest, largest, spacing, grid):
    sampler = RegionalSampler(smallest=smallest, largest=largest, spacing=spacing, clip=False)
    assert sampler.scales == len(grid)
    _, scales, _ = region(1000, sampler)
    found = scales.unique()
    assert [round(s, 5) for s in found.tolist()] == [round(s, 5) for s in grid]
    assert float(found.max()) <= largest + 1e-6


def test_the_direction_is_uniform_between_first_and_end():
    _, _, share = region(5000, RegionalSampler(clip=False, smallest=0.5))
    assert float(share.min()) > -1e-5
    assert float(share.max()) < 1 + 1e-5
    counts = torch.histc(share, 20, 0, 1)
    assert float(((counts - 500) ** 2 / 500).sum()) < 45


def test_all_draws_are_independent():
    _, scales, share = region(5000, RegionalSampler(clip=False, samples=3, smallest=0.1))
    others = region(5000, RegionalSampler(clip=False, samples=3, smallest=0.1), seed=1)
    rows = torch.cat([scales, share, others[1], others[2], scales.roll(1, 1), share.roll(1, 1)])
    correlated = torch.corrcoef(rows) - torch.eye(len(rows))
    assert float(correlated.abs().max()) < 0.06  # 4 deviations of 1 / sqrt(5000)


def test_one_direction_and_one_scale_hold_for_all_pixels_of_an_image():
    x, y, given = images(6), images(6, seed=1), noise(6)
    end = images(6, seed=2)
    points, scales = RegionalSampler(clip=False)(x, y, end, given)
    for k, point in enumerate(points):
        i, s = k % 6, float(scales[k])
        if s:
            between = (point - x[i]) / s + x[i]
            share = (between - end[i]) / (y[i] - end[i])
            sure = (y[i] - end[i]).abs() > 0.1
            torch.testing.assert_close(share[sure], share[sure].mean().expand_as(share[sure]), atol=1e-3, rtol=0)
        else:
            torch.testing.assert_close(point, x[i], atol=1e-6, rtol=0)


def test_points_leave_the_ball_by_design_up_to_the_largest_scale():
    x = 0.4 + 0.2 * images(200)
    up = torch.where(images(200, seed=1) > 0.5, EPS, -EPS)
    for largest in (2.0, 3.0):
        points, scales = RegionalSampler(largest=largest)(x, x + up, x + up, noise(200))
        away = (points - x.repeat(2, 1, 1, 1)).abs().flatten(1).amax(1)
        torch.testing.assert_close(away, scales * EPS, atol=1e-6, rtol=0)
        assert (away > 1.5 * EPS).any()


@pytest.mark.parametrize("clip", [True, False])
def test_points_leave_the_range_of_pixels_only_where_they_are_not_clipped(clip):
    x = images(50)
    up = torch.where(images(50, seed=1) > 0.5, 0.3, -0.3)
    first, end = (x + up / 2).clamp(0, 1), (x + up).clamp(0, 1)
    points, scales = RegionalSampler(clip=clip)(x, first, end, noise(50))
    free, free_scales = RegionalSampler(clip=False)(x, first, end, noise(50))
    assert torch.equal(points, free.clamp(0, 1) if clip else free)
    assert torch.equal(scales, free_scales)  # the label's is the drawn one
    assert (float(points.min()) < -0.1) == (not clip)
    assert (float(points.max()) > 1.1) == (not clip)


def test_the_images_the_sampler_is_given_are_left_alone():
    given = [images(4, seed=s) for s in range(3)]
    kept = [x.clone() for x in given]
    RegionalSampler()(*given, noise())
    assert all(map(torch.equal, given, kept))


# the whole method


@pytest.mark.parametrize("regional", [True, False])
@pytest.mark.parametrize(
    ("samples", "largest", "betas"), [(2, 2.0, (1.0, 0.1)), (1, 3.0, (1.0, 0.5)), (3, 1.0, (0.9, 0.3))], ids=str
)
def test_images_loss_and_gradients_by_hand(regional, samples, largest, betas):
    model, x, given = network(), images(5), noise(5)
    with torch.no_grad():
        model.linear.weight.mul_(20)
        y = copy.deepcopy(model).eval()(x).argmax(1)
        y[:2] = (y[:2] + torch.tensor([1, 2])) % 5
    other = copy.deepcopy(model)
    attack = PGD(Linf(EPS), steps=4)
    method = RAT(attack, RegionalSampler(regional, samples, largest=largest), DistanceLabels(*betas))
    points, scales = method.craft(model, x, y, given)
    assert points.shape == (5 * samples, 3, 8, 8)

    evaluated = copy.deepcopy(model).eval()
    path = path_of_pgd(attack, evaluated, x, y, given)
    firsts, _ = first_by_asking(evaluated, path, y, "end")
    losses, log_p = [], other(points).log_softmax(1)
    for k, point in enumerate(points):
        i, s = k % 5, float(scales[k])
        free = (point > 1e-6) & (point < 1 - 1e-6)  # not clipped
        away, to_first, to_end = ((v - x[i])[free] for v in (point, firsts[i], path[-1][i]))
        if regional and s and (to_first - to_end).abs().max() > 1e-3:
            differs = (to_first - to_end).abs() > 1e-3
            share = ((away / s - to_end) / (to_first - to_end))[differs]
            assert -1e-3 < float(share.min()) <= float(share.max()) < 1 + 1e-3
            torch.testing.assert_close(share, share.mean().expand_as(share), atol=2e-3, rtol=0)
            torch.testing.assert_close(away[~differs], s * to_end[~differs], atol=2e-4 * max(s, 1), rtol=0)
        else:
            torch.testing.assert_close(away, s * to_end, atol=1e-6, rtol=0)
        beta = betas[0] - s * (betas[0] - betas[1]) / largest
        target = [beta if c == int(y[i]) else (1 - beta) / 4 for c in range(5)]
        losses.append(-sum(p * log_p[k, c] for c, p in enumerate(target)))
    by_hand = torch.stack(losses).mean()

    terms = method(model, x, y, given)
    assert list(terms) == ["regional"]
    torch.testing.assert_close(terms["regional"], by_hand, atol=1e-5, rtol=1e-6)
    assert_near(gradients(terms["regional"], model), gradients(by_hand, other))


def test_at_the_farthest_of_ten_classes_the_loss_is_that_of_the_uniform_label():
    z, model = torch.randn(3, 10, generator=torch.Generator().manual_seed(0)), network()
    model.forward = lambda x: z
    method = RAT(sampler=RegionalSampler(samples=1))
    loss = method.terms(model, images(3), torch.tensor([1, 2, 3]), (images(3), torch.full((3,), 2.0)), noise(3))
    torch.testing.assert_close(loss["regional"], -z.log_softmax(1).mean())


@pytest.mark.parametrize("mode", ["eval", "batch"])
def test_all_points_pass_once_and_only_they_move_the_running_statistics(mode):
    method = RAT(PGD(Linf(EPS), 3), batch_norm=mode)
    assert forwards_counted(method) == {1}
    model, x, y = network(), images(), labels()
    other = copy.deepcopy(model)
    points, _ = method.craft(copy.deepcopy(model), x, y, noise())
    other(points)
    method(model, x, y, noise())
    assert all(map(torch.equal, statistics(model), statistics(other)))


# with parts left out


def sat(case: str) -> tuple[RAT, Any]:
    """RAT in which the first point is the end, all scales are 1 and labels are hard; and an attack for PGD-AT."""
    match case:
        case "end alone":
            return RAT(PGD(Linf(EPS), 5), SAT, HARD), PGD(Linf(EPS), 5)
        case "end alone, not clipped":
            return RAT(PGD(Linf(EPS), 5), RegionalSampler(False, 1, 1.0, 1.0, clip=False), HARD), PGD(Linf(EPS), 5)
        case _:  # of one step's path, the first point is the end
            return RAT(PGD(Linf(EPS), 1), RegionalSampler(True, 1, 1.0, 1.0), HARD), PGD(Linf(EPS), 1)


@pytest.mark.parametrize("mode", ["eval", "train", "batch"])
@pytest.mark.parametrize("case", ["end alone", "end alone, not clipped", "first is end"])
def test_rat_of_the_end_alone_at_scale_one_with_hard_labels_is_sat(case, mode):
    method, attack = sat(case)
    object.__setattr__(method, "batch_norm", mode)
    model, x, y = network(), images(6), labels(6)
    x[0, :, :4], x[1, :, 4:] = 0.0, 1.0
    other = copy.deepcopy(model)
    points, scales = method.craft(copy.deepcopy(model), x, y, noise(6))
    assert torch.equal(points, PGDAT(attack, mode).craft(copy.deepcopy(model), x, y, noise(6)))  # to the bit
    assert scales.tolist() == [1.0] * 6
    loss = method(model, x, y, noise(6))["regional"]
    expected = PGDAT(attack, mode)(other, x, y, noise(6))["adversarial"]
    torch.testing.assert_close(loss, expected, atol=1e-6, rtol=0)
    for one, two in zip(gradients(loss, model), gradients(expected, other), strict=True):
        torch.testing.assert_close(one, two, atol=1e-6, rtol=0)
    assert all(map(torch.equal, statistics(model), statistics(other)))


def test_where_no_point_is_adversarial_rat_with_directions_is_sat_too():
    model, x, y = Linear(scale=0.1), images(6), torch.full((6,), 2)
    with torch.no_grad():
        model.linear.bias[2] = 100.0  # nothing in the ball fools it
    method = RAT(PGD(Linf(EPS), 5), RegionalSampler(True, 1, 1.0, 1.0), HARD)
    points, _ = method.craft(model, x, y, noise(6))
    assert torch.equal(points, PGDAT(PGD(Linf(EPS), 5)).craft(model, x, y, noise(6)))


def test_where_the_first_point_is_another_rat_with_hard_labels_is_not_sat():
    model, x, y = network(), images(6), labels(6)
    method = RAT(PGD(Linf(EPS), 5), RegionalSampler(True, 1, 1.0, 1.0), HARD)
    points, _ = method.craft(model, x, y, noise(6))
    assert (points - PGDAT(PGD(Linf(EPS), 5)).craft(model, x, y, noise(6))).abs().max() > 0.01


class Drawn(Noise):
    """Noise that gives AVmixup these w."""

    def __init__(self, noise: Noise, w: Tensor) -> None:
        super().__init__(noise.seed, noise.rows, step=noise.step, purpose=noise.purpose)
        self.w = w

    def derive(self, purpose: str) -> Any:
        assert purpose == "mixup"
        return SimpleNamespace(uniform=lambda shape: self.w.view(-1, *shape))


@pytest.mark.parametrize("largest", [2.0, 3.0])
def test_rat_of_the_end_alone_is_avmixup_with_w_of_one_less_a_share_of_the_scale_where_nothing_is_clipped(largest):
    model, x, y, given = network(), 0.35 + 0.3 * images(8), labels(8), noise(8)
    other, attack = copy.deepcopy(model), PGD(Linf(EPS), 5)
    method = RAT(attack, RegionalSampler(regional=False, samples=1, largest=largest))
    points, scales = method.craft(model, x, y, given)
    assert len(scales.unique()) > 4
    avmixup, drawn = AVmixup(attack, gamma=largest), Drawn(given, 1 - scales / largest)
    mixed, scale = avmixup.craft(other, x, y, drawn)
    torch.testing.assert_close(points, mixed, atol=5e-7, rtol=0)
    torch.testing.assert_close(scales, scale, atol=5e-7, rtol=0)
    loss, expected = method(model, x, y, given)["regional"], avmixup(other, x, y, drawn)["mixed"]
    torch.testing.assert_close(loss, expected, atol=1e-5, rtol=0)
    assert_near(gradients(loss, model), gradients(expected, other))


def test_hard_labels_leave_the_mean_cross_entropy_of_the_points():
    model, x, y = network(), images(), labels()
    other, method = copy.deepcopy(model), RAT(PGD(Linf(EPS), 3), labels=HARD)
    points, _ = method.craft(copy.deepcopy(model), x, y, noise())
    expected = mean_cross_entropy(other(points), torch.cat([y, y]))
    torch.testing.assert_close(method(model, x, y, noise())["regional"], expected)


# settings


def test_the_defaults_are_the_papers():
    method = RAT()
    assert (method.attack, method.attack.alpha) == (PGD(Linf(8 / 255), 10), pytest.approx(2 / 255))
    assert method.attack.start_at == "uniform"
    assert method.sampler == RegionalSampler(True, 2, 0.0, 2.0, 0.1, "end", clip=True)
    assert method.labels == DistanceLabels(1.0, 0.1)
    assert not method.coupled


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"samples": 0}, "samples is 0; it must be at least 1"),
        ({"smallest": -0.1}, r"smallest is -0\.1; it must be at least 0"),
        ({"largest": 0.0}, r"largest is 0\.0; it must be above 0"),
        ({"smallest": 1.5, "largest": 1.0}, r"largest is 1\.0; it must be at least smallest, 1\.5"),
        ({"spacing": 0.0}, r"spacing is 0\.0; it must be above 0"),
        (
            {"spacing": 1e-30},
            "spacing is 1e-30; it must be at least a millionth of what lies between smallest and largest",
        ),
        ({"if_none": "start"}, "if_none is 'start'; it must be 'end' or 'one step'"),
    ],
)
def test_settings_of_the_sampler_out_of_range_are_refused(change, said):
    with pytest.raises(UsageError, match=said):
        RegionalSampler(**change)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"beta_max": 1.1}, r"beta_max is 1\.1; it must be a probability in \[0, 1\]"),
        ({"beta_max": -0.1}, r"beta_max is -0\.1; it must be a probability in \[0, 1\]"),
        ({"beta_min": 1.1}, r"beta_min is 1\.1; it must be a probability in \[0, 1\]"),
        ({"beta_min": -0.1}, r"beta_min is -0\.1; it must be a probability in \[0, 1\]"),
    ],
)
def test_settings_of_the_labels_out_of_range_are_refused(change, said):
    with pytest.raises(UsageError, match=said):
        DistanceLabels(**change)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"attack": FeatureScatter()}, r"attack is FeatureScatter\(.*\); it must be an Iterative"),
        ({"attack": None}, "attack is None; it must be an Iterative"),
        ({"batch_norm": "frozen"}, "batch_norm is 'frozen'; it must be 'eval' or 'train' or 'batch'"),
        ({"sampler": None}, "sampler is None; it must be a RegionalSampler"),
        ({"labels": 0.1}, "labels is 0.1; it must be a DistanceLabels"),
    ],
)
def test_settings_of_rat_out_of_range_are_refused(change, said):
    with pytest.raises(UsageError, match=said):
        RAT(**change)
