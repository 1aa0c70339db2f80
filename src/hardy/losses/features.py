"""Losses of features and activation maps: class activation maps, and how far two of them, or two features, are apart."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from hardy.errors import UsageError
from hardy.types import Features, Maps, PerSample

Clip = Literal["terms", "sum", "none"]


def class_activation_maps(maps: Maps, weight: Tensor, clip: Clip = "terms") -> Tensor:
    """(N, K, h, w): for each class c, sum_d w_cd A_d at each place.

    maps: A, (N, D, h, w). weight: (K, D), of the last linear layer. clip: negative values become 0 in the "terms" of the
    sum, max(w_cd A_d, 0), in the "sum", or nowhere ("none").

    Source: Zhou et al., CVPR 2016; InfoFeature paper, eqs. (5) and (6), where the terms are clipped.
    Raises: UsageError where the weights are for another number of maps.
    """
    if maps.ndim != 4 or maps.shape[1] != weight.shape[1]:
        raise UsageError(
            f"The activation maps are {tuple(maps.shape)} and the last layer's weights {tuple(weight.shape)}; class activation "
            "maps need (N, D, h, w) and (K, D), a weight for each map: name such a layer as maps_layer."
        )
    if clip == "terms":
        # a product of two numbers of one sign, summed for the two signs: no (N, K, D, h, w)
        return _weighed(F.relu(maps), F.relu(weight)) + _weighed(F.relu(-maps), F.relu(-weight))
    summed = _weighed(maps, weight)
    return F.relu(summed) if clip == "sum" else summed


def _weighed(maps: Maps, weight: Tensor) -> Tensor:
    return torch.einsum("ndhw,kd->nkhw", maps, weight)


def map_distance(
    a: Tensor,
    b: Tensor,
    norm: Literal["l2", "squared"] = "l2",
    over: Literal["sum", "mean"] = "sum",
    floor: float = 1e-12,
) -> PerSample:
    """How far apart the maps of an image are: sqrt(s + floor), or s, where s sums or averages (a - b)^2 over all entries.

    a, b: (N, ...). floor: without it the root has no gradient where the maps are equal; with it that is 0.
    """
    square = (a - b).square().flatten(1)
    s = square.sum(1) if over == "sum" else square.mean(1)
    return s if norm == "squared" else (s + floor).sqrt()


def cosine_distance(a: Features, b: Features) -> PerSample:
    """max(0, 1 - cos(a, b)) for each row of (N, D); 1 where a row is 0."""
    return (1 - (F.normalize(a) * F.normalize(b)).sum(1)).clamp_min(0)
