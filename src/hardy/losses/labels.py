"""Label distributions: smoothed around one class, by how far an image was moved, and mixed away from a partner's class."""

import torch
from torch import Tensor
from torch.nn import functional as F

from hardy.describe import require
from hardy.types import Labels, PerSample, Probs


def smoothed(y: Labels, classes: int, confidence: float | PerSample) -> Probs:
    """`confidence` on the label's class, and the rest of 1 in equal parts on the other ones.

    confidence: one number, or one for each image. With 1 - 0.5 of 10 classes it is 0.5, and 0.5 / 9 on each other class, which
    is not what torch's `label_smoothing=0.5` makes (0.55, and 0.05).

    Source: "Bag of tricks for adversarial training" and feature scattering, in their code; RAT paper, eq. (6).
    """
    given = torch.as_tensor(confidence, dtype=torch.float32, device=y.device).expand(len(y))
    others = ((1 - given) / (classes - 1))[:, None].expand(-1, classes)
    return others.scatter(1, y[:, None], given[:, None])


def confidence_at(scale: Tensor, largest: float, at_image: float, at_largest: float) -> Tensor:
    """From `at_image` where the scale is 0, the image itself, linearly to `at_largest` where it is `largest`.

    scale: how far an image was moved along the direction of an attack, 1 being the point that the attack found.

    Source: RAT paper, eq. (7), with beta_max, beta_min and S; AVmixup's mixture w * phi(y, lambda_1) + (1 - w) *
    phi(y, lambda_2) is the same law, with scale = gamma * (1 - w) and S = gamma.
    """
    return at_image - scale * ((at_image - at_largest) / largest)


def away_from_partner(y: Labels, partner: Labels, classes: int, share: float) -> Probs:
    """(1 - share) * y + share * (1 - partner) / (classes - 1), of labels and partners' labels as one-hot vectors.

    Source: adversarial interpolation training (Zhang and Xu, 2020), by its code: a partner of another class gets probability 0.
    """
    own, other = (F.one_hot(labels, classes).float() for labels in (y, partner))
    return (1 - share) * own + share * (1 - other) / (classes - 1)


def check_smoothing(smoothing: float) -> None:
    """Raises UsageError unless this can be the share of a label that is spread over the other classes."""
    require(0 <= smoothing < 1, "smoothing", smoothing, "in [0, 1), the share of the label given to the other classes")
