"""The names attacks go by on the command line."""

import re
from collections.abc import Callable, Sequence

from hardy.attacks.apgd import APGD
from hardy.attacks.attack import Attack
from hardy.attacks.autoattack import AutoAttack
from hardy.attacks.balls import L2, Ball, fraction
from hardy.attacks.carlini_wagner import CarliniWagner
from hardy.attacks.combine import Restarts, Targeted
from hardy.attacks.fab import FAB
from hardy.attacks.informative import AdversarialInterpolation, FeatureScatter, InfoFeature
from hardy.attacks.nattack import NATTACK
from hardy.attacks.pgd import PGD, cw, fgsm
from hardy.attacks.square import Square
from hardy.errors import UsageError, unknown
from hardy.losses.criteria import DLR, TargetedDLR

# name -> (what it is, how it is made from a ball and, where the name has a K, a number of steps)
ATTACKS: dict[str, tuple[str, Callable[[Ball, int], Attack | None]]] = {
    "clean": ("no attack", lambda ball, steps: None),
    "noise": ("a uniformly random point of the ball", lambda ball, steps: PGD(ball, steps=0)),
    "fgsm": ("one step of length eps from the image", lambda ball, steps: fgsm(ball)),
    "fgsm-rs": (
        "one step of length eps from a random point of the ball",
        lambda ball, steps: fgsm(ball, random_start=True),
    ),
    "pgd-K": ("K steps of eps/4 on cross-entropy from a random point", lambda ball, steps: PGD(ball, steps=steps)),
    "cw-K": ("K steps of eps/4 on the margin (kappa 50) from a random point", cw),
    "infofeature-K": (
        "K steps of eps/4 on cross-entropy and the change of the class activation map",
        lambda ball, steps: InfoFeature(ball, steps=steps),
    ),
    "apgd-ce": ("APGD on cross-entropy, 100 steps", lambda ball, steps: APGD(ball)),
    "apgd-dlr": ("APGD on the DLR loss, 100 steps", lambda ball, steps: APGD(ball, loss=DLR())),
    "apgd-t": (
        "APGD on the targeted DLR loss, towards nine classes",
        lambda ball, steps: Targeted(APGD(ball, loss=TargetedDLR())),
    ),
    "fab": ("the least distance to the boundary, by linear steps", lambda ball, steps: FAB(ball)),
    "fab-t": ("the same towards nine classes", lambda ball, steps: Targeted(FAB(ball))),
    "square": ("black box: random squares, 5,000 queries", lambda ball, steps: Square(ball)),
    "autoattack": ("apgd-ce, apgd-t, fab-t and square on what is left", lambda ball, steps: AutoAttack(ball)),
    "autoattack-plus": ("the same, and apgd-dlr and fab, with restarts", lambda ball, steps: AutoAttack(ball, "plus")),
    "autoattack-rand": (
        "apgd-ce and apgd-dlr with mean gradients of 20 passes: for random networks",
        lambda ball, steps: AutoAttack(ball, "rand"),
    ),
    "cw-l2": (
        "the least L2 distance, by Adam on tanh and a search over c",
        lambda ball, steps: CarliniWagner(_l2(ball)),
    ),
    "feature-scatter": (
        "the attack inside feature scattering, on groups of 100 images",
        lambda ball, steps: FeatureScatter(ball),
    ),
    "adv-interp": (
        "the attack inside adversarial interpolation, on groups of 100 images",
        lambda ball, steps: AdversarialInterpolation(ball),
    ),
    "transfer": ("pgd-20, crafted on the networks of --craft-on", lambda ball, steps: PGD(ball, steps=20)),
    "nattack": ("black box: evolution strategies, at most 60,020 queries an image", lambda ball, steps: NATTACK(ball)),
}
_STEPS = [name.removesuffix("-K") for name in ATTACKS if name.endswith("-K")]


def named(name: str, ball: Ball) -> Attack | None:
    """The attack of that name in a ball; None for "clean". "x5" after it repeats it from new random numbers: pgd-20x5.

    Raises: UsageError for an unknown name, a K that is no number or below 1, or an attack that knows no such ball.
    """
    plain, restarts = name, 1
    if repeated := re.fullmatch(r"(.+-[0-9]+)x([1-9][0-9]*)", name):
        plain, restarts = repeated[1], int(repeated[2])
    match = re.fullmatch(rf"({'|'.join(_STEPS)})-(0|[1-9][0-9]*)", plain)
    known, steps = (f"{match[1]}-K", int(match[2])) if match else (plain, 0)
    if name.endswith("-K") and name in ATTACKS:
        raise UsageError(f"Attack {name!r} lacks its number of steps; K stands for one, as in {name[:-1]}20.")
    if known not in ATTACKS:
        raise unknown("attack", name, ATTACKS)
    if match and steps < 1:
        raise UsageError(f"Attack {name!r} asks for {steps} steps; it must be at least 1, as in {match[1]}-20.")
    attack = ATTACKS[known][1](ball, steps)
    return attack if attack is None or restarts == 1 else Restarts(attack, restarts)


def in_balls(name: str, balls: Sequence[Ball]) -> list[tuple[str, Attack | None]]:
    """The attack of that name in each ball, by the names of their results: where there are several, the radius is in them."""
    if len(balls) == 1 or named(name, balls[0]) is None:
        return [(name, named(name, balls[0]))]
    return [(f"{name} at {fraction(ball.eps)}", named(name, ball)) for ball in balls]


def _l2(ball: Ball) -> L2:
    if not isinstance(ball, L2):
        raise UsageError(f"cw-l2 looks for small L2 distances; {ball} was given: say --norm l2.")
    return ball
