"""Measurements: each file one kind, (model, split, ...) to rows."""

from hardy.evaluation.accuracy import evaluate
from hardy.evaluation.average import average_accuracy
from hardy.evaluation.diagnosis import Diagnosis, diagnose
from hardy.evaluation.gaps import generalisation_gaps
from hardy.evaluation.outcomes import Paired, broken_at, compare
from hardy.evaluation.perturbations import perturbation_distances
from hardy.evaluation.sensitivity import loss_sensitivity
from hardy.evaluation.sign_kinds import Sign
from hardy.evaluation.surface import loss_along, loss_surface
from hardy.evaluation.sweep import over_eps, over_restarts, over_steps
from hardy.evaluation.transfer_matrix import transfer_matrix

__all__ = [
    "Diagnosis",
    "Paired",
    "Sign",
    "average_accuracy",
    "broken_at",
    "compare",
    "diagnose",
    "evaluate",
    "generalisation_gaps",
    "loss_along",
    "loss_sensitivity",
    "loss_surface",
    "over_eps",
    "over_restarts",
    "over_steps",
    "perturbation_distances",
    "transfer_matrix",
]
