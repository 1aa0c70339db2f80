"""Losses of logits, one value per image; no model inside."""

import torch
from torch import Tensor
from torch.nn import functional as F

from hardy.errors import UsageError
from hardy.losses.labels import smoothed
from hardy.types import Labels, Logits, PerSample, Probs

_TINY = 1e-30  # below it a probability's logarithm is cut off, so that gradients through the target stay finite


def cross_entropy(logits: Logits, y: Labels, smoothing: float = 0.0) -> PerSample:
    """-log p_y; with `smoothing`, of labels with 1 - smoothing on y and the rest in equal parts on the other classes."""
    if smoothing:
        return soft_cross_entropy(logits, smoothed(y, logits.shape[1], 1 - smoothing))
    return F.cross_entropy(logits, y, reduction="none")


def soft_cross_entropy(logits: Logits, target: Probs) -> PerSample:
    """-sum_c t_c log p_c. The gradient reaches the target too."""
    return -(target * logits.log_softmax(1)).sum(1)


def kl(logits: Logits, target: Probs) -> PerSample:
    """KL(t || softmax(logits)) = sum_c t_c (log t_c - log p_c). The gradient reaches the target too."""
    return (target * (target.clamp_min(_TINY).log() - logits.log_softmax(1))).sum(1)


def log_not(logits: Logits, c: Labels) -> PerSample:
    """log(1 - p_c): finite for any finite logits."""
    return logits.scatter(1, c[:, None], -torch.inf).logsumexp(1) - logits.logsumexp(1)


def runner_up(logits: Logits, y: Labels) -> PerSample:
    """The largest logit of a class other than y."""
    return logits.scatter(1, y[:, None], -torch.inf).amax(1)


def margin(logits: Logits, y: Labels) -> PerSample:
    """z_y - max_{c != y} z_c: negative where the image is misclassified."""
    return _of(logits, y) - runner_up(logits, y)


def dlr(logits: Logits, y: Labels) -> PerSample:
    """Difference of logits ratio: -(z_y - max_{c != y} z_c) / (z_(1) - z_(3) + 1e-12), invariant to shift and scale.

    Source: Croce and Hein, "Reliable evaluation of adversarial robustness", ICML 2020, eq. (6).
    Raises: UsageError with fewer than three classes.
    """
    if logits.shape[1] < 3:
        raise UsageError(f"The DLR loss needs at least 3 classes; the network gives {logits.shape[1]}.")
    top = logits.topk(3, dim=1).values
    return -margin(logits, y) / (top[:, 0] - top[:, 2] + 1e-12)


def difference(logits: Logits, y: Labels, t: Labels) -> PerSample:
    """z_t - z_y: positive where class t beats y."""
    return _of(logits, t) - _of(logits, y)


def targeted_dlr(logits: Logits, y: Labels, t: Labels) -> PerSample:
    """-(z_y - z_t) / (z_(1) - (z_(3) + z_(4)) / 2 + 1e-12): the DLR loss towards a class t.

    Source: Croce and Hein, ICML 2020, eq. (8).
    Raises: UsageError with fewer than four classes.
    """
    if logits.shape[1] < 4:
        raise UsageError(f"The targeted DLR loss needs at least 4 classes; the network gives {logits.shape[1]}.")
    top = logits.topk(4, dim=1).values
    return difference(logits, y, t) / (top[:, 0] - (top[:, 2] + top[:, 3]) / 2 + 1e-12)


def squared_distance(a: Tensor, b: Tensor) -> PerSample:
    """sum_d (a_d - b_d)^2 for each row of (N, D). The gradient reaches both."""
    return (a - b).square().sum(1)


def _of(logits: Logits, y: Labels) -> PerSample:
    return logits.gather(1, y[:, None]).squeeze(1)
