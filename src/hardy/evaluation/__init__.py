"""Measurements: each file one kind, (model, split, ...) to rows."""

from hardy.evaluation.accuracy import evaluate
from hardy.evaluation.sensitivity import loss_sensitivity

__all__ = ["evaluate", "loss_sensitivity"]
