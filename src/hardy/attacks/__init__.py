"""Attacks: functions of (f, x, target, noise), as settings."""

from hardy.attacks.attack import Attack, State
from hardy.attacks.balls import L2, Ball, Linf
from hardy.attacks.nattack import NATTACK
from hardy.attacks.pgd import PGD, cw, fgsm
from hardy.losses.criteria import DLR, KL, Criterion, CrossEntropy, Margin

__all__ = [
    "DLR", "KL", "L2", "NATTACK", "PGD", "Attack", "Ball", "Criterion", "CrossEntropy", "Linf", "Margin", "State", "cw", "fgsm",
]  # fmt: skip
