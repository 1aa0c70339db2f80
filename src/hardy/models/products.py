"""Convolutions of many channels on small maps as products of matrices, for a CPU in bfloat16.

Where the weights are more than a core's cache holds, a convolution reads all of them again for each image, and so do its
gradients; a product of all images' pixels reads them once. It rounds otherwise: it is for low precision, never for a verdict.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

_CACHE = 2 * 2**20  # bytes that a core of current processors keeps to itself
_PIXELS = 64  # of a map, at most: the matrix has each pixel k^2 times
_FEW = 1024  # rows of a matrix that are too few for oneDNN to share the product out to all cores

_Pair = int | Sequence[int]
_CAST = {torch.float16, torch.bfloat16, torch.float32}  # autocast leaves other kinds alone


def as_products(device: torch.device, precision: torch.dtype) -> AbstractContextManager[object]:
    """To be entered with autocast in that precision: inside, convolutions are products where these are quicker."""
    return _Products() if device.type == "cpu" and precision is torch.bfloat16 else nullcontext()


class _Products(TorchFunctionMode):
    """Stands in for `torch.nn.functional.conv2d`, whoever calls it."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        if func is F.conv2d and _may() and pays(*args, **given):
            return product(*args, **given)
        return func(*args, **given)


def _may() -> bool:
    """Whether autocast to bfloat16 is on, and torch does nothing but run.

    A network may turn autocast off for some of its layers. Transforms take no autograd function of this kind; hooks of
    saved tensors are those of checkpointing, which runs a layer again outside of this.
    """
    casts = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") is torch.bfloat16
    transforms = torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0
    return casts and not (transforms or torch._C._autograd._top_saved_tensors_default_hooks(True))


def pays(
    input: Tensor,  # torch's names
    weight: Tensor,
    bias: Tensor | None = None,
    stride: _Pair = 1,
    padding: str | _Pair = 0,
    dilation: _Pair = 1,
    groups: int = 1,
) -> bool:
    """Whether `torch.nn.functional.conv2d` of these, in bfloat16, is a `product`, and that is quicker."""
    del bias
    k = weight.shape[-1]
    return (
        2 * weight.numel() > _CACHE
        and input.dim() == weight.dim() == 4
        and input.shape[2] * input.shape[3] <= _PIXELS
        and input.device.type == "cpu"
        and {input.dtype, weight.dtype} <= _CAST
        and input.shape[1] == weight.shape[1]  # of others torch tells what is wrong
        and k % 2 == 1
        and weight.shape[2] == k
        and _pair(padding) == (k // 2, k // 2)
        and _pair(dilation) == (1, 1)
        and len(set(_pair(stride))) == 1
        and groups == 1
    )


def product(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: _Pair = 1,
    *_: object,
    precision: torch.dtype = torch.bfloat16,
    **__: object,
) -> Tensor:
    """`torch.nn.functional.conv2d` of maps (N, C, H, W) where it `pays`, in that precision."""
    there = _matrix(weight.to(precision))
    made = _multiplied(input.to(precision), there, None, None if bias is None else bias.to(precision), _pair(stride)[0])
    # as torch lays it out: a network may take a view of it
    return made.contiguous() if input.is_contiguous() and weight.is_contiguous() else made


class Product(nn.Module):
    """A `product` with stride 1 and weights that have no gradient, for many inputs: its gradient is a product, too.

    weight: (O, C, k, k) with k odd. bias: (O,), or None.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.bias = bias
        self.there, self.back = _matrix(weight), _matrix(weight.flip(2, 3).transpose(0, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, O, H, W)."""
        return _multiplied(x, self.there, self.back, self.bias, 1)


def _multiplied(x: Tensor, there: Tensor, back: Tensor | None, bias: Tensor | None, stride: int) -> Tensor:
    """(N, C, H, W) to (N, O, H / stride, W / stride), rounded up. there, back: the matrix, and that of the gradient."""
    rows: Tensor = _Multiplied.apply(x, there, back, stride)  # type: ignore[no-untyped-call]
    maps = (rows if bias is None else rows + bias).view(*_left(x.shape, stride), there.shape[2])
    return maps.permute(0, 3, 1, 2)


def _left(size: torch.Size, stride: int) -> tuple[int, int, int]:
    """(N, C, H, W) as the (N, H, W) that a convolution with that stride leaves."""
    n, _, height, width = size
    return n, -(-height // stride), -(-width // stride)


def _matrix(weight: Tensor) -> Tensor:
    """(O, C, k, k) as (k, k C, O)."""
    return weight.permute(2, 3, 1, 0).contiguous().flatten(1, 2)


def _neighbours(x: Tensor, k: int, stride: int) -> Tensor:
    """(N, C, H, W) to a view (N, H / stride, W / stride, k, k, C): what each pixel of a convolution's output is made of."""
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, k // 2, k // 2, k // 2, k // 2)).contiguous()
    image, row, pixel, _ = padded.stride()
    size = *_left(x.shape, stride), k, k, x.shape[1]
    return padded.as_strided(size, (image, row * stride, pixel * stride, row, pixel, 1))


class _Multiplied(torch.autograd.Function):
    """Maps (N, C, H, W) to the rows (N H W, O) of the convolution's output. All gradients are again such that have gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, there: Tensor, back: Tensor | None, stride: int) -> Tensor:
        ctx.save_for_backward(x if there.requires_grad else None, there, back)
        ctx.size, ctx.stride = x.shape, stride
        k, around = len(there), _neighbours(x, len(there), stride)
        rows = around.shape[:3].numel()
        if rows > _FEW:
            return around.reshape(rows, -1) @ there.flatten(0, 1)
        # a product for each row of the kernel
        return torch.bmm(around.permute(3, 0, 1, 2, 4, 5).reshape(k, rows, there.shape[1]), there).sum(0)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        (grad,), (x, there, back) = grads, ctx.saved_tensors
        channels, stride, k, to_x, to_there = ctx.size[1], ctx.stride, len(there), None, None
        left = _left(ctx.size, stride)
        if ctx.needs_input_grad[0] and back is not None:
            to_x = _multiplied(grad.view(*left, there.shape[2]).permute(0, 3, 1, 2), back, there, None, 1)
        elif ctx.needs_input_grad[0]:
            around = (grad @ there.flatten(0, 1).T).view(*left, k, k, channels)
            to_x = _Together.apply(around, ctx.size, stride)  # type: ignore[no-untyped-call]
        if ctx.needs_input_grad[1]:
            around = _Neighbours.apply(x, k, stride)  # type: ignore[no-untyped-call]
            to_there = (around.reshape(len(grad), k * k * channels).T @ grad).view_as(there)
        return to_x, to_there, None, None


class _Neighbours(torch.autograd.Function):
    """`_neighbours`, whose gradient is `_Together`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, k: int, stride: int) -> Tensor:
        ctx.size, ctx.stride = x.shape, stride
        return _neighbours(x, k, stride)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return _Together.apply(grads[0], ctx.size, ctx.stride), None, None  # type: ignore[no-untyped-call]


class _Together(torch.autograd.Function):
    """(N, H / stride, W / stride, k, k, C) to (N, C, H, W): each pixel's sum over all places where it is a neighbour."""

    @staticmethod
    def forward(ctx: Any, around: Tensor, size: torch.Size, stride: int) -> Tensor:
        n, channels, height, width = size
        _, down, right, k = around.shape[:4]
        ctx.k, ctx.stride, edge = k, stride, k // 2
        wide = torch.promote_types(around.dtype, torch.float32)
        sums = around.new_zeros((n, height + 2 * edge, width + 2 * edge, channels), dtype=wide)
        rows, columns = (
            [slice(first, first + stride * (length - 1) + 1, stride) for first in range(k)] for length in (down, right)
        )
        for i in range(k):
            for j in range(k):
                sums[:, rows[i], columns[j]] += around[:, :, :, i, j]
        return sums[:, edge : edge + height, edge : edge + width].to(around.dtype).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return _Neighbours.apply(grads[0], ctx.k, ctx.stride), None, None  # type: ignore[no-untyped-call]


def _pair(value: str | _Pair) -> tuple[Any, ...]:
    return (value, value) if isinstance(value, int) else tuple(value)
