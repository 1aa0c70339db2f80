"""What tables share at the scales below the papers': runs on digits that take a second, words, and what stands beside."""

from dataclasses import replace
from functools import cache

from hardy.attacks import PGD, Linf
from hardy.attacks.balls import Ball
from hardy.evaluation.diagnosis import Plan
from hardy.models import small_cnn
from hardy.recipes import digits, small
from hardy.recipes.table import Beside
from hardy.training.run import Run, Validation

SMOKE = "digits, an epoch of a network of width 2, few test images: shows that every part works, and nothing else"
FEW, OURS = Linf(digits.EPS), Linf(8 / 255)  # the balls of smoke and small
SMOKE_IMAGES, SMALL_IMAGES = 20, 1_000
SMOKE_NATTACK, SMALL_NATTACK = 4, 50

# as `hardy diagnose --quick`, on twice the images
_SHORT = Plan(images=100, apgd_t_steps=50, fab_steps=25, target_classes=3, square_queries=1000, nattack_images=0)
_TINY = Plan(images=2, apgd_t_steps=2, fab_steps=2, target_classes=1, square_queries=5, nattack_images=0)
SMOKE_BESIDE, SMALL_BESIDE = Beside(FEW, 2, _TINY), Beside(OURS, 200, _SHORT)
_HELD_OUT = Validation(images=20, attack=PGD(FEW, steps=2))

_on_digits, _at_the_small_budget = cache(digits.recipes), cache(small.recipes)  # a hundred runs take a while to make


def paper_beside(ball: Ball, images: int) -> Beside:
    """AutoAttack on all test images, and a diagnosis as `hardy diagnose` makes it, on 200."""
    return Beside(ball, images, Plan(images=200))


def tiny(method: str) -> Run:
    """A method's run at the scale smoke."""
    return replace(_on_digits()[f"{method}-digits"], model=small_cnn(width=2), epochs=1, validation=_HELD_OUT)


def ours(method: str, data: str) -> Run:
    """A method's run on that data at the scale small."""
    return _at_the_small_budget()[f"{method}-{data}-small"]
