"""Losses of features and activation maps: class activation maps, and how far two of them, or two features, are apart."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from hardy.errors import UsageError
from hardy.types import Features, Labels, Maps, PerSample

Clip = Literal["terms", "sum", "none"]
Distance = Literal["l2", "squared", "l1", "cosine"]


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


def of_class(maps: Tensor, y: Labels) -> Tensor:
    """(N, 1, h, w) of (N, K, h, w): the map of one class for each image."""
    return maps[torch.arange(len(maps), device=maps.device), y].unsqueeze(1)


def map_distance(
    a: Tensor,
    b: Tensor,
    norm: Distance = "l2",
    over: Literal["sum", "mean"] = "sum",
    floor: float = 1e-12,
) -> PerSample:
    """How far apart the maps of an image are.

    sqrt(s + floor) for "l2", s for "squared" and "l1", where s sums or averages (a - b)^2, or |a - b|, over all entries; for
    "cosine" max(0, 1 - cos(a, b)).

    a, b: (N, ...). floor: without it the root has no gradient where the maps are equal; with it that is 0.
    """
    a, b = a.flatten(1), b.flatten(1)
    if norm == "cosine":
        return cosine_distance(a, b)
    parts = (a - b).abs() if norm == "l1" else (a - b).square()
    s = parts.sum(1) if over == "sum" else parts.mean(1)
    return (s + floor).sqrt() if norm == "l2" else s


def cosine_distance(a: Features, b: Features) -> PerSample:
    """max(0, 1 - cos(a, b)) for each row of (N, D); 1 where a row is 0."""
    return (1 - (F.normalize(a) * F.normalize(b)).sum(1)).clamp_min(0)
