"""Adversarial training that generalises, and robustness numbers one can trust."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hardy.errors import FailedError, HardyError, UsageError

if TYPE_CHECKING:
    from hardy import attacks, data, evaluation, models, objectives, parallel, recipes
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

# the module that has a name; one that is not here is a module itself. They are imported when they are asked for: torch takes
# seconds, and `hardy --help` none of it
_WHERE = {
    "Measurement": "results",
    "Noise": "randomness",
    "Run": "training.run",
    "diagnose": "evaluation.diagnosis",
    "evaluate": "evaluation.accuracy",
    "load": "models.checkpoints",
    "recipe": "recipes",
    "train": "training.loop",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'hardy' has no attribute {name!r}")
    where = _WHERE.get(name)
    return import_module(f"hardy.{name}") if where is None else getattr(import_module(f"hardy.{where}"), name)


def __dir__() -> list[str]:
    return __all__
