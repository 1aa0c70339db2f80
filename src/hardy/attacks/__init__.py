"""Attacks: functions of (f, x, target, noise), as settings."""

from hardy.attacks.adapters import Foreign, bind
from hardy.attacks.apgd import APGD
from hardy.attacks.attack import Attack, Iterative, State
from hardy.attacks.autoattack import AutoAttack
from hardy.attacks.balls import L2, Ball, Linf
from hardy.attacks.carlini_wagner import CarliniWagner
from hardy.attacks.combine import Restarts, Targeted, Worst
from hardy.attacks.distribution import AdversarialDistribution
from hardy.attacks.fab import FAB
from hardy.attacks.informative import AdversarialInterpolation, FeatureScatter, InfoFeature
from hardy.attacks.nattack import NATTACK
from hardy.attacks.pgd import PGD, cw, fgsm
from hardy.attacks.square import Square
from hardy.losses.criteria import (
    DLR,
    KL,
    Criterion,
    CrossEntropy,
    Margin,
    TargetedCrossEntropy,
    TargetedDLR,
    TargetedMargin,
)

__all__ = [
    "APGD", "DLR", "FAB", "KL", "L2", "NATTACK", "PGD", "AdversarialDistribution", "AdversarialInterpolation", "Attack",
    "AutoAttack", "Ball", "CarliniWagner", "Criterion", "CrossEntropy", "FeatureScatter", "Foreign", "InfoFeature", "Iterative",
    "Linf", "Margin", "Restarts", "Square", "State", "Targeted", "TargetedCrossEntropy", "TargetedDLR", "TargetedMargin",
    "Worst", "bind", "cw", "fgsm",
]  # fmt: skip
