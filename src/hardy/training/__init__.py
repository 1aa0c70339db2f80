"""The loop, and the settings of a run."""

from hardy.training.average import EMA
from hardy.training.loop import train
from hardy.training.optim import SGD, Adam, Constant, Cosine, OneCycle, Optimizer, Piecewise, Schedule
from hardy.training.progress import Watch
from hardy.training.run import Run, Validation

__all__ = [
    "EMA",
    "SGD",
    "Adam",
    "Constant",
    "Cosine",
    "OneCycle",
    "Optimizer",
    "Piecewise",
    "Run",
    "Schedule",
    "Validation",
    "Watch",
    "train",
]
