"""Saliency maps by SmoothGrad: which pixels an image's class score reacts to, averaged over noisy copies of the image.

    M(x) = sum over channels of | mean over k of grad f_y(x + g_k) |,   g_k ~ N(0, (noise * (max x - min x))^2)

Source:  Smilkov et al., "SmoothGrad", 2017; RLFAT paper, section 4.5, Figs. 3-4, which has no settings and no code, and follows
         Zhang and Zhu, ICML 2019. Noise level and number of copies are the defaults of their code, and so is the way a map is
         shown: divided by its own 99th percentile, and cut off at 1.
Differs: their code takes the gradient of the cross-entropy; here it is that of the class's logit, "class activation" in the RLFAT
         paper. SmoothGrad's code averages squared gradients unless told otherwise; here, as in its paper, gradients. The class is
         the label; of images that are classified correctly, as in the papers' figures, it is the prediction too. As in all of
         these, noisy copies may leave [0, 1].
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hardy.attacks.attack import Forward
from hardy.attacks.pgd import gradient_at
from hardy.data.split import Split
from hardy.describe import describe, fitted, require
from hardy.describe import settings as settings_class
from hardy.errors import FailedError
from hardy.evaluation.checks import check_network
from hardy.evaluation.memory import Room, usable_batch
from hardy.evaluation.path import Tell
from hardy.evaluation.rows import Costs, Row
from hardy.models.classifier import frozen
from hardy.models.full_precision import full_precision
from hardy.randomness import Noise
from hardy.results import Measurement
from hardy.types import PerSample

_TOP = 0.1  # share of pixels


@settings_class
class SmoothGrad:
    """noise: its standard deviation, as a share of the image's own range of values. samples: noisy copies averaged over."""

    noise: float = 0.15
    samples: int = 100

    def __post_init__(self) -> None:
        require(self.noise >= 0, "noise", self.noise, "at least 0, a share of an image's range of values")
        require(self.samples >= 1, "samples", self.samples, "at least 1")

    @property
    def copies(self) -> int:
        """How many copies are looked at: without noise all are the same."""
        return self.samples if self.noise > 0 else 1


@dataclass(frozen=True)
class SaliencyMaps:
    """maps: float32 (N, H, W), at least 0. rows: what is measured of them."""

    maps: Tensor
    rows: list[Measurement]


def saliency_maps(
    model: Forward,
    split: Split,
    by: SmoothGrad | None = None,
    *,
    seed: int = 0,
    batch: int | None = None,
    run: str = "",
    settings: Mapping[str, Any] | None = None,
    tell: Tell | None = None,
) -> SaliencyMaps:
    """The map of each image, and three rows, means over images with their 95 % intervals.

    The share of a map's sum that its highest 10 % of pixels hold; its Gini index, 0 where all pixels are equal and almost 1
    where a single one has everything; and its sum, the L1 norm of the smoothed gradient: what the logit would change by, at
    most, per unit of Linf distance if the network were linear. A map of zeros counts as one whose pixels are equal.

    settings: what else belongs into each row. tell: progress, in noisy copies.

    Raises: UsageError for a network that gives no gradient, or what `check_network` raises; FailedError for a gradient that
    is not finite.
    """
    by = SmoothGrad() if by is None else by
    started = time.perf_counter()
    maps = smooth_gradients(model, split, by, seed=seed, batch=batch, tell=tell).abs().sum(1)
    passes = len(split) * by.copies
    costs = Costs(time.perf_counter() - started, passes, passes)
    told = {**(settings or {}), "data": split.origin, "maps": describe(by), "seed": seed}
    measured = (
        ("saliency in the top 10 % of pixels", "fraction", top_share(maps)),
        ("Gini index of saliency", "Gini index", gini(maps)),
        ("L1 norm of the smoothed gradient", "gradient norm", maps.double().sum((1, 2))),
    )
    return SaliencyMaps(maps, [Row(what, run, told, costs).mean(values, unit) for what, unit, values in measured])


def smooth_gradients(
    model: Forward,
    split: Split,
    by: SmoothGrad,
    *,
    seed: int = 0,
    batch: int | None = None,
    tell: Tell | None = None,
) -> Tensor:
    """float32 (N, C, H, W): the mean gradient of the label's logit over noisy copies of each image.

    In evaluation mode and full precision. Arguments and errors: see `saliency_maps`.
    """
    require(0 <= fitted(seed, int, "seed") < 2**32, "seed", seed, "in [0, 2**32)")
    check_network(model, split)
    room = Room(usable_batch(model, split, batch))
    device, shape = split.labels.device, split.shape
    noise = Noise(seed, split.indices, purpose="saliency")
    total = torch.zeros(len(split), *shape, dtype=torch.float64, device=device)
    done = 0

    def gradients(copies: Tensor) -> Tensor:
        image = copies // by.copies
        x, y = split.x(image), split.labels[image]
        if by.noise:
            values = x.flatten(1).aminmax(dim=1)
            deviation = by.noise * (values.max - values.min).view(-1, 1, 1, 1)
            x = x + deviation * noise[image].draw(copies % by.copies).normal(shape)
        return gradient_at(x, lambda at: model(at).gather(1, y[:, None]).squeeze(1))

    with frozen(model), full_precision(model):
        # a copy is one place of a batch: neither the number of images nor that of samples needs memory
        for copies, made in room.parts(gradients, torch.arange(len(split) * by.copies, device=device)):
            total.index_add_(0, copies // by.copies, made.double())
            done += len(copies)
            if tell is not None:
                tell(done, len(split) * by.copies)
    if not bool(total.isfinite().all()):
        raise FailedError(
            "The gradient of the network's logits is NaN or infinite around some images; there is no map."
        )
    return (total / by.copies).float()


def scaled(maps: Tensor, percentile: float = 99.0) -> Tensor:
    """(N, H, W) in [0, 1]: each map divided by its own percentile, and cut off at 1; by its maximum where that is 0."""
    check_percentile(percentile)
    flat = maps.flatten(1).double()
    top = torch.stack([one.quantile(percentile / 100) for one in flat])
    top = torch.where(top > 0, top, flat.amax(1)).clamp_min(torch.finfo(torch.float64).tiny)
    return (maps / top.view(-1, 1, 1)).clamp(0, 1).float()


def check_percentile(percentile: float) -> None:
    """Raises UsageError for a percentile that is none, or 0."""
    require(0 < fitted(percentile, float, "percentile") <= 100, "percentile", percentile, "in (0, 100]")


def top_share(maps: Tensor) -> PerSample:
    """float64 (N,): the share of each map's sum that its highest 10 % of pixels hold (a whole number of them, at least 1)."""
    shares = _shares(maps)
    return shares.topk(max(1, round(_TOP * shares.shape[1])), dim=1).values.sum(1)


def gini(maps: Tensor) -> PerSample:
    """float64 (N,): sum over i of (2 i - n - 1) v_i / (n sum v), where v_1 <= ... <= v_n are a map's values."""
    shares = _shares(maps).sort(dim=1).values
    n = shares.shape[1]
    weights = 2 * torch.arange(1, n + 1, dtype=torch.float64, device=maps.device) - n - 1
    return (shares * weights).sum(1) / n


def _shares(maps: Tensor) -> Tensor:
    """float64 (N, H * W): each pixel's share of its map's sum; equal ones for a map of zeros."""
    flat = maps.flatten(1).double()
    total = flat.sum(1, keepdim=True)
    return torch.where(total > 0, flat / total.clamp_min(torch.finfo(torch.float64).tiny), 1 / flat.shape[1])
