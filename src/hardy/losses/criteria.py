"""Criteria: what an attack maximises, as settings."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from hardy.describe import require, settings
from hardy.errors import UsageError
from hardy.losses import logits as of_logits
from hardy.types import Logits, PerSample


class Criterion(ABC):
    """A loss of (what the network gives, what it is compared with), one value per image; attacks maximise it."""

    @abstractmethod
    def __call__(self, out: Tensor, target: Tensor) -> PerSample: ...


def check_labels(y: Tensor) -> None:
    """Raises UsageError unless y is int64 (N,)."""
    if y.dtype != torch.int64 or y.ndim != 1:
        raise UsageError(f"Labels are {y.dtype} {tuple(y.shape)}; they must be int64 (N,).")


def true_class(target: Tensor) -> Tensor:
    """The labels y (N,) within a target: y itself, or the first column of the (N, 2) pairs of y and a wanted class."""
    return target[:, 0] if _are_pairs(target) else target


def to_fall(logits: Logits, target: Tensor) -> PerSample:
    """What is to fall below 0: the margin of the label, or by how much the wanted class of a pair is beaten."""
    return of_logits.margin(logits, target) if target.ndim == 1 else -of_logits.margin(logits, target[:, 1])


def _are_pairs(target: Tensor) -> bool:
    return target.dtype == torch.int64 and target.ndim == 2 and target.shape[1] == 2


def _pairs(target: Tensor) -> tuple[Tensor, Tensor]:
    if not _are_pairs(target):
        raise UsageError(
            f"Targets are {target.dtype} {tuple(target.shape)}; a targeted loss compares with int64 (N, 2), the label and "
            "the wanted class: hardy.attacks.Targeted chooses these."
        )
    return target[:, 0], target[:, 1]


@settings
class CrossEntropy(Criterion):
    """Cross-entropy of logits (N, K) and labels (N,)."""

    def __call__(self, out: Tensor, target: Tensor) -> PerSample:
        check_labels(target)
        return of_logits.cross_entropy(out, target)


@settings
class KL(Criterion):
    """KL(target || softmax(logits)) of logits (N, K) and probabilities (N, K): the inner problem of TRADES."""

    def __call__(self, out: Tensor, target: Tensor) -> PerSample:
        floating = out.is_floating_point() and target.is_floating_point()
        if not floating or target.shape != out.shape:  # labels would be broadcast
            given = " and ".join(f"{t.dtype} {tuple(t.shape)}" for t in (out, target))
            raise UsageError(f"KL compares logits with probabilities, floating-point (N, K); they are {given}.")
        return of_logits.kl(out, target)


@settings
class Margin(Criterion):
    """-max(z_y - max_{c != y} z_c + kappa, 0): what the papers that run "CW" by PGD maximise.

    Source:  Carlini and Wagner, IEEE S&P 2017, f_6 with confidence kappa; run by PGD since Madry et al., ICLR 2018.
    Differs: the RLFAT authors' code multiplies by a 0/1 mask, which lets the true class win with a logit of 0 where all
             other logits are negative; here the true class is left out of the maximum.
    """

    kappa: float = 50.0  # the loss stops at a misclassification by this much; 50 is hardly ever reached

    def __post_init__(self) -> None:
        require(self.kappa >= 0, "kappa", self.kappa, "at least 0")

    def __call__(self, out: Tensor, target: Tensor) -> PerSample:
        check_labels(target)
        return -(of_logits.margin(out, target) + self.kappa).clamp_min(0)


@settings
class DLR(Criterion):
    """Difference of logits ratio: invariant to a shift and a scale of the logits (AutoAttack)."""

    def __call__(self, out: Tensor, target: Tensor) -> PerSample:
        check_labels(target)
        return of_logits.dlr(out, target)


@settings
class TargetedCrossEntropy(Criterion):
    """log p_t of logits (N, K) and pairs (label, wanted class t) (N, 2)."""

    def __call__(self, out: Tensor, target: Tensor) -> PerSample:
        return -of_logits.cross_entropy(out, _pairs(target)[1])


@settings
class TargetedMargin(Criterion):
    """z_t - z_y of logits (N, K) and pairs (label y, wanted class t) (N, 2)."""

    def __call__(self, out: Tensor, target: Tensor) -> PerSample:
        return of_logits.difference(out, *_pairs(target))


@settings
class TargetedDLR(Criterion):
    """The targeted difference of logits ratio of logits (N, K) and pairs (label, wanted class) (N, 2) (AutoAttack)."""

    def __call__(self, out: Tensor, target: Tensor) -> PerSample:
        return of_logits.targeted_dlr(out, *_pairs(target))
