"""Adversarial training that generalises, and robustness numbers one can trust."""

from hardy import attacks, data, evaluation, models, objectives, parallel, recipes
from hardy.errors import FailedError, HardyError, UsageError
from hardy.evaluation.accuracy import evaluate
from hardy.evaluation.diagnosis import diagnose
from hardy.models.checkpoints import load
from hardy.randomness import Noise
from hardy.recipes import recipe
from hardy.results import Measurement
from hardy.training.loop import train
from hardy.training.run import Run

__all__ = [
    "FailedError",
    "HardyError",
    "Measurement",
    "Noise",
    "Run",
    "UsageError",
    "attacks",
    "data",
    "diagnose",
    "evaluate",
    "evaluation",
    "load",
    "models",
    "objectives",
    "parallel",
    "recipe",
    "recipes",
    "train",
]
