"""Measurements: each file one kind, (model, split, ...) to rows."""

from hardy.evaluation.accuracy import evaluate
from hardy.evaluation.activation import activation_maps
from hardy.evaluation.average import average_accuracy
from hardy.evaluation.choice import classified_by_all
from hardy.evaluation.corruption import corruption_accuracy
from hardy.evaluation.diagnosis import Diagnosis, diagnose
from hardy.evaluation.examples import adversarial_examples
from hardy.evaluation.gaps import generalisation_gaps
from hardy.evaluation.outcomes import Paired, broken_at, compare
from hardy.evaluation.perturbations import perturbation_distances
from hardy.evaluation.saliency import SmoothGrad, saliency_maps
from hardy.evaluation.sensitivity import loss_sensitivity
from hardy.evaluation.sign_kinds import Sign
from hardy.evaluation.surface import loss_along, loss_surface
from hardy.evaluation.sweep import over_eps, over_restarts, over_steps
from hardy.evaluation.transfer_matrix import transfer_matrix

__all__ = [
    "Diagnosis",
    "Paired",
    "Sign",
    "SmoothGrad",
    "activation_maps",
    "adversarial_examples",
    "average_accuracy",
    "broken_at",
    "classified_by_all",
    "compare",
    "corruption_accuracy",
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
    "saliency_maps",
    "transfer_matrix",
]
