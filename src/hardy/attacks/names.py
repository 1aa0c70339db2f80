"""The names attacks go by on the command line."""

import re
from collections.abc import Callable

from hardy.attacks.attack import Attack
from hardy.attacks.balls import Ball, Linf
from hardy.attacks.nattack import NATTACK
from hardy.attacks.pgd import PGD, cw, fgsm
from hardy.errors import UsageError, unknown

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
    "nattack": ("black box: evolution strategies, at most 60,020 queries an image", lambda ball, steps: NATTACK(ball)),
}


def named(name: str, eps: float) -> Attack | None:
    """The attack of that name in an Linf ball of eps; None for "clean".

    Raises: UsageError for an unknown name, or a K that is no number or below 1.
    """
    match = re.fullmatch(r"(pgd|cw)-(0|[1-9][0-9]*)", name)
    known, steps = (f"{match[1]}-K", int(match[2])) if match else (name, 0)
    if name.endswith("-K") and name in ATTACKS:
        raise UsageError(f"Attack {name!r} lacks its number of steps; K stands for one, as in {name[:-1]}20.")
    if known not in ATTACKS:
        raise unknown("attack", name, ATTACKS)
    if match and steps < 1:
        raise UsageError(f"Attack {name!r} asks for {steps} steps; it must be at least 1, as in {match[1]}-20.")
    return ATTACKS[known][1](Linf(eps), steps)
