"""synchronised(): batch norms in training mode take the statistics of all processes' images, on CPUs and GPUs alike.

    mean = sum over processes of n_p / n mean_p,   variance = sum of n_p / n (variance_p + (mean_p - mean)^2),   n = sum of n_p
    dL/dx = w / s (dy - mean of dy - x^ mean of (dy x^)),   x^ = (x - mean) / s,   both means over the images of all processes

What a batch norm makes of an image is then what it would make of it in one process that holds them all, and so are the gradients
of the images and the running statistics. Torch's own SyncBatchNorm does the same on GPUs alone.

Source:  Ioffe and Szegedy, "Batch normalization", ICML 2015, section 3, for the gradient; Chan et al., "Algorithms for computing
         the sample variance", 1983, for the joint variance.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.functional import batch_norm
from torch.nn.modules.batchnorm import _BatchNorm

from hardy.describe import with_article
from hardy.errors import UsageError
from hardy.parallel import Group

_FORWARDS = (_BatchNorm.forward, nn.SyncBatchNorm.forward)  # of layers that add nothing of their own


def check_norms(model: nn.Module) -> None:
    """Raises UsageError where a batch norm has a forward of its own, for which nothing can stand in."""
    for name, layer in model.named_modules():
        if isinstance(layer, _BatchNorm) and type(layer).forward not in _FORWARDS:
            raise UsageError(
                f"The batch norm {name} is {with_article(type(layer).__name__)}, whose forward is its own: its statistics cannot "
                "be those of all processes' images. Take norm_over 'process', or torch's own batch norm."
            )


@contextmanager
def synchronised(model: nn.Module, group: Group) -> Iterator[None]:
    """Inside, the model's batch norms are synchronised over the group; in evaluation mode they are as they were.

    Raises: UsageError as `check_norms`.
    """
    if group.size > 1:
        check_norms(model)
    layers = _batch_norms(model) if group.size > 1 else []
    for layer in layers:
        vars(layer)["forward"] = MethodType(_forward, layer)
    try:
        yield
    finally:
        for layer in layers:
            del vars(layer)["forward"]


@torch.no_grad()
def mean_statistics(model: nn.Module, group: Group) -> None:
    """Set the running statistics of the model's batch norms to their means over the processes."""
    kept = [layer for layer in _batch_norms(model) if layer.running_mean is not None] if group.size > 1 else []
    if not kept:
        return
    statistics = [cast(Tensor, value) for layer in kept for value in (layer.running_mean, layer.running_var)]
    means = torch.cat(statistics)
    dist.all_reduce(means)
    for old, new in zip(statistics, (means / group.size).split(list(map(len, statistics))), strict=True):
        old.copy_(new)


def _batch_norms(model: nn.Module) -> list[_BatchNorm]:
    return [layer for layer in model.modules() if isinstance(layer, _BatchNorm)]


def _forward(layer: _BatchNorm, x: Tensor) -> Tensor:
    """What stands in for a batch norm's `forward`."""
    if not layer.training:
        return batch_norm(
            x,
            layer.running_mean,
            layer.running_var,
            layer.weight,
            layer.bias,
            layer.running_mean is None,
            0.0,
            layer.eps,
        )
    y, mean, variance, n = _Normalise.apply(x, layer.weight, layer.bias, layer.eps)  # type: ignore[no-untyped-call]
    if layer.running_mean is not None and layer.running_var is not None and layer.num_batches_tracked is not None:
        with torch.no_grad():
            layer.num_batches_tracked.add_(1)
            new = 1 / float(layer.num_batches_tracked) if layer.momentum is None else layer.momentum
            layer.running_mean.lerp_(mean, new)
            layer.running_var.lerp_(variance * n / (n - 1), new)
    return cast(Tensor, y)


def _moments(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(mean, variance, number of values) of each channel over the images of all processes; float32, or wider."""
    wide = x if x.dtype == torch.float64 else x.float()
    variance, mean = torch.var_mean(wide, [0, *range(2, x.ndim)], correction=0)
    own = torch.cat([mean, variance, mean.new_full((1,), x.numel() / x.shape[1])])
    found = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(found, own)
    means, variances, counts = torch.stack(found).split([len(mean), len(mean), 1], dim=1)
    n = counts.sum()
    mean = (counts / n * means).sum(0)
    return mean, (counts / n * (variances + (means - mean).square())).sum(0), n


class _Normalise(torch.autograd.Function):
    """(y, mean, variance, n) of x: torch's kernels of evaluation mode, given the statistics of all processes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> tuple[Tensor, ...]:
        mean, variance, n = _moments(x)
        ctx.save_for_backward(x, torch.ones_like(mean) if weight is None else weight, mean, variance, n)
        ctx.eps, ctx.affine = eps, weight is not None
        ctx.mark_non_differentiable(mean, variance, n)
        return batch_norm(x, mean, variance, weight, bias, False, 0.0, eps), mean, variance, n

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, dy: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, variance, n = ctx.saved_tensors
        # with the statistics held fixed: dx = dy w / s, and the sums of dy x^ and of dy
        dx, dweight, dbias = torch.ops.aten.native_batch_norm_backward(
            dy, x, weight, mean, variance, None, None, False, ctx.eps, [True, True, True]
        )
        sums = torch.stack([dweight, dbias])
        dist.all_reduce(sums)
        along, flat = sums / n
        scale = (variance + ctx.eps).rsqrt()
        slope = weight * along * scale.square()
        level = weight * flat * scale - slope * mean
        each = (1, -1, *[1] * (x.ndim - 2))
        dx = (dx - (slope.view(each) * x + level.view(each))).to(x.dtype)
        return dx, *((dweight, dbias) if ctx.affine else (None, None)), None
