"""Measurements: each file one kind, (model, split, ...) to rows."""

from hardy.evaluation.accuracy import evaluate
from hardy.evaluation.outcomes import Paired, broken_at, compare
from hardy.evaluation.sensitivity import loss_sensitivity

__all__ = ["Paired", "broken_at", "compare", "evaluate", "loss_sensitivity"]
