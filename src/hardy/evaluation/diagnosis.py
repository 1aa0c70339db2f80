"""Is it robust, or is its gradient masked? One verdict with its evidence: signs tested on the same images.

    masked      a strong sign was seen, or two hints
    suspicious  one hint
    no sign     none; the sentence says how many could be tested

PGD-20 on cross-entropy, step eps/4, from a random point, judged at any iterate, is what everything is held against: a number
that one might have reported. What other attacks need it for they are given: the images that it left.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn

from hardy.attacks.apgd import APGD
from hardy.attacks.attack import Attack, Forward, kind
from hardy.attacks.balls import L2, Ball, Linf, fraction
from hardy.attacks.combine import Restarts, Targeted
from hardy.attacks.fab import FAB
from hardy.attacks.nattack import NATTACK
from hardy.attacks.pgd import PGD, cw, fgsm, gradient_at
from hardy.attacks.square import Square
from hardy.data.split import Split
from hardy.describe import fitted, require, settings
from hardy.errors import UsageError
from hardy.evaluation import sign_kinds as kinds
from hardy.evaluation import signs
from hardy.evaluation.checks import check_network
from hardy.evaluation.evidence import Evidence
from hardy.evaluation.memory import fitting_batch
from hardy.evaluation.sign_kinds import Sign
from hardy.evaluation.signs import Verdict
from hardy.evaluation.stream import Progress
from hardy.evaluation.transfer import Averaged
from hardy.losses.criteria import DLR, Margin, TargetedDLR, TargetedMargin
from hardy.models.classifier import frozen
from hardy.results import Measurement

_AVERAGED_PASSES = 10  # of a random network, for one gradient


@settings
class Plan:
    """How much is done: by default AutoAttack's standard version, and NATTACK as published on what is left of 32 images.

    images: the first ones; None is all. nattack_images: of these, 0 is none.
    """

    images: int | None = None
    apgd_t_steps: int = 100
    fab_steps: int = 100
    target_classes: int = 9
    square_queries: int = 5000
    nattack_images: int = 32
    nattack_steps: int = 200


# under a minute for a PreActResNet-18 of width 16 on two cores, where the whole takes under ten
QUICK = Plan(images=50, apgd_t_steps=50, fab_steps=25, target_classes=3, square_queries=1000, nattack_images=0)


@dataclass(frozen=True)
class Diagnosis:
    """verdict and why: a sentence. signs: all of them, tested or not. rows: all that was measured.

    network, data, ball: in words. n: images looked at. seconds, forwards, backwards: the whole cost, as in the rows.
    """

    verdict: Verdict
    why: str
    network: str
    data: str
    ball: str
    n: int
    seed: int
    plan: Plan
    signs: tuple[Sign, ...]
    rows: tuple[Measurement, ...]
    seconds: float
    forwards: int
    backwards: int


@dataclass(frozen=True)
class _Attacks:
    """The attacks of a diagnosis. classes: of the network."""

    ball: Ball
    classes: int
    plan: Plan

    @property
    def pgd(self) -> PGD:
        return PGD(self.ball, steps=20)

    @property
    def effort(self) -> dict[str, Attack]:
        """What PGD-20 is given more of, or otherwise."""
        eps, dlr = self.ball.eps, DLR() if self.classes > 2 else Margin()
        return {
            "PGD-100": PGD(self.ball, steps=100),
            "PGD-20, 5 restarts": Restarts(self.pgd, 5),
            "PGD-40 by eps/10": PGD(self.ball, steps=40, step_size=eps / 10),
            "PGD-20 by eps": PGD(self.ball, steps=20, step_size=eps),
            "PGD-20 on DLR": PGD(self.ball, steps=20, loss=dlr),
        }

    @property
    def gradient(self) -> dict[str, Attack]:
        """AutoAttack's gradient attacks, its standard version's or shorter; they come before Square."""
        loss = TargetedDLR() if self.classes > 3 else TargetedMargin()
        plan, classes = self.plan, min(self.plan.target_classes, self.classes - 1)
        return {
            "apgd-ce": APGD(self.ball, steps=100),
            "apgd-t": Targeted(APGD(self.ball, steps=plan.apgd_t_steps, loss=loss), classes),
            "fab-t": Targeted(FAB(self.ball, steps=plan.fab_steps), classes),
        }

    @property
    def square(self) -> Square:
        return Square(self.ball, queries=self.plan.square_queries)

    def radii(self, shape: tuple[int, int, int]) -> list[float]:
        """Growing; in a ball of the last one, half the distance of black and white, lies the same grey image for all."""
        grey = 0.5 * math.sqrt(math.prod(shape)) if isinstance(self.ball, L2) else 0.5
        return [*(r for r in (self.ball.eps * factor for factor in (0.25, 0.5, 1, 2, 4)) if r < grey), grey]

    def sized(self, eps: float) -> Ball:
        return L2(eps) if isinstance(self.ball, L2) else Linf(eps)


def diagnose(
    model: Forward,
    split: Split,
    *,
    ball: Ball = Linf(8 / 255),  # noqa: B008 - settings never change
    surrogate: Forward | None = None,
    quick: bool = False,
    plan: Plan | None = None,
    seed: int = 0,
    batch: int | None = None,
    run: str = "",
    settings: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Diagnosis:
    """Signs of masked gradients on these images, and the verdict. The images: 200 or so, none that the network was trained on.

    ball: in which attacks look. surrogate: a plainly trained network for the same images; left out, transfer is not tested.
    quick: at most 50 images, AutoAttack cut short, no NATTACK; plan: how much else, where neither that nor the default is
    wanted. batch: images attacked at once; left out, as many as memory holds. progress: told which measurement runs. run,
    settings: go into the rows. The network is in evaluation mode meanwhile where it is a module.

    Raises: UsageError as `hardy.evaluate`; FailedError for an attack that goes astray.
    """
    ball, seed, quick = fitted(ball, Ball, "ball"), fitted(seed, int, "seed"), fitted(quick, bool, "quick")
    require(isinstance(ball, Linf | L2) and ball.eps > 0, "ball", ball, "Linf or L2, of a radius above 0")
    batch = fitted(batch, int | None, "batch")
    require(batch is None or batch > 0, "batch", batch, "at least 1")
    check_network(model, split)
    if surrogate is not None:
        check_network(surrogate, split)
    plan = fitted(plan, Plan | None, "plan") or (QUICK if quick else Plan())
    split = split.take(slice(plan.images))
    followed = _followed(model, split)
    batch = fitting_batch(followed, split) if batch is None else batch
    evidence = Evidence(followed, split, ball, seed, batch, progress, run, dict(settings or {}))
    found = _signs(evidence, _Attacks(ball, len(split.classes), plan), surrogate)
    said, why = signs.verdict(found)
    rows = tuple(evidence.rows)
    return Diagnosis(
        said, why, _network(model), f"{split.origin}, {len(split)} images", str(ball), len(split), seed, plan, found, rows,
        sum(row.seconds for row in rows), sum(row.forwards for row in rows), sum(row.backwards for row in rows),
    )  # fmt: skip


def _signs(evidence: Evidence, attacks: _Attacks, surrogate: Forward | None) -> tuple[Sign, ...]:
    """All signs, in the order of `sign_kinds.KINDS`."""
    correct = evidence.correct
    change = signs.changing(*evidence.changing())
    random = change.result == "seen"
    pgd = evidence.under("PGD-20", attacks.pgd)
    found = [
        change,
        signs.gradients(*evidence.gradients(random=random), pgd, correct),
        signs.one_step(evidence.under("FGSM", fgsm(attacks.ball)), pgd, correct),
        signs.noise(evidence.noise(), pgd, correct),
        *_growing(evidence, attacks, pgd),
        _transfer(evidence, attacks, surrogate, pgd),
        *(_of_random(evidence, attacks) if random else _of_steady(evidence, attacks, pgd)),
    ]
    order = [sort.name for sort in kinds.KINDS]
    return tuple(sorted(found, key=lambda sign: order.index(sign.name)))


def _growing(evidence: Evidence, attacks: _Attacks, pgd: Tensor) -> list[Sign]:
    """PGD-20 at growing radii; in the largest ball two lengths of step, of which the better counts."""
    split, held = evidence.split, {attacks.ball.eps: pgd}
    for radius in attacks.radii(split.shape):
        if radius not in held:
            held[radius] = evidence.under(f"PGD-20 at {fraction(radius)}", PGD(attacks.sized(radius), steps=20))
    grey = max(held)
    short = PGD(attacks.sized(grey), steps=50, step_size=grey / 20)
    left = evidence.under(f"PGD-50 at {fraction(grey)}", short, held[grey])
    return [signs.rising(held, evidence.correct), signs.chance(left, evidence.correct, split.labels, grey)]


def _transfer(evidence: Evidence, attacks: _Attacks, surrogate: Forward | None, pgd: Tensor) -> Sign:
    if surrogate is None:
        return kinds.TRANSFER.untested("no plainly trained network was given")
    transferred = evidence.under("transfer", attacks.pgd, craft_on=surrogate, about={"crafted on": "another network"})
    return signs.transfer(transferred, pgd, evidence.correct)


def _of_steady(evidence: Evidence, attacks: _Attacks, pgd: Tensor) -> list[Sign]:
    """The signs of a network whose outputs do not change, by attacks that look at it more often than PGD-20 does."""
    correct, left = evidence.correct, {"images": "what PGD-20 left"}
    cw_20 = evidence.under("CW-20", cw(attacks.ball, 20))
    tried = {name: evidence.under(name, attack, pgd, about=left) for name, attack in attacks.effort.items()}
    after, before = pgd, "PGD-20"
    for name, attack in attacks.gradient.items():
        after = evidence.under(name, attack, after, about={"images": f"what {before} left"})
        before = f"{before}, {name}"
    gradient = reduce(torch.logical_and, tried.values(), after & cw_20)
    square = evidence.under("Square", attacks.square)
    found = [
        signs.margin_loss(cw_20, pgd, correct),
        signs.effort(tried, pgd, correct),
        signs.autoattack_below(after & square, pgd, correct),
        signs.square_against(square, pgd, correct),
        signs.square_after(square, gradient, correct),
        kinds.AVERAGED.untested("outputs do not change, so that there is nothing to average"),
    ]
    tried_on = attacks.plan.nattack_images
    if not tried_on:
        return [*found, kinds.NATTACK_AFTER.untested("left out of a quick diagnosis")]
    first = torch.arange(len(correct), device=correct.device) < tried_on
    about = {"images": f"what all gradient attacks left of the first {tried_on}"}
    nattack = evidence.under(
        "NATTACK", NATTACK(attacks.ball, steps=attacks.plan.nattack_steps), gradient & first, about=about
    )
    return [*found, signs.nattack_after(nattack, gradient & first, correct & first)]


def _of_random(evidence: Evidence, attacks: _Attacks) -> list[Sign]:
    """The signs of a network whose outputs change: who looks more often breaks more by luck, so that only equals compare."""
    one = evidence.under("PGD-20, judged once", attacks.pgd, judge="last")
    many = Averaged([evidence.model] * _AVERAGED_PASSES)
    about = {"crafted on": f"the mean logits of {_AVERAGED_PASSES} passes"}
    mean = evidence.under("PGD-20 on averages, judged once", attacks.pgd, judge="last", craft_on=many, about=about)
    note = "outputs change, and an attack that looks more often than PGD-20 breaks more by luck"
    others = (kinds.MARGIN, kinds.EFFORT, kinds.AUTOATTACK, kinds.SQUARE, kinds.SQUARE_AFTER, kinds.NATTACK_AFTER)
    return [signs.averaged(mean, one, evidence.correct), *(sort.untested(note) for sort in others)]


class _ZeroGradient(nn.Module):
    """A network that torch cannot follow back to the images, with the gradient that this leaves: zero everywhere."""

    def __init__(self, model: Forward) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(x)
        return logits + 0 * x.sum((1, 2, 3)).to(logits).unsqueeze(1)


def _followed(model: Forward, split: Split) -> Forward:
    """The network; where no gradient of it reaches the images, as behind a comparison, one that has a gradient of zero."""
    with frozen(model):
        try:
            gradient_at(split.x(torch.zeros(2, dtype=torch.int64)), lambda x: model(x).sum(1))
        except UsageError:
            return _ZeroGradient(model)
    return model


def _network(model: Forward) -> str:
    """What a network is, in a few words."""
    if not isinstance(model, nn.Module):
        return kind(model)
    return f"{type(model).__name__}, {sum(p.numel() for p in model.parameters()):,} parameters"
