"""Criteria: what an attack maximises, as settings."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from hardy.describe import require, settings
from hardy.errors import UsageError
from hardy.losses import logits as of_logits
from hardy.types import PerSample


class Criterion(ABC):
    """A loss of (what the network gives, what it is compared with), one value per image; attacks maximise it."""

    @abstractmethod
    def __call__(self, out: Tensor, target: Tensor) -> PerSample: ...


def check_labels(y: Tensor) -> None:
    """Raises UsageError unless y is int64 (N,)."""
    if y.dtype != torch.int64 or y.ndim != 1:
        raise UsageError(f"Labels are {y.dtype} {tuple(y.shape)}; they must be int64 (N,).")


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
