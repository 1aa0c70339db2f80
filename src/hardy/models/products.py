"""A convolution of many channels on small maps as one product of matrices, forwards and to its input, for a CPU in bfloat16.

Where the weights are more than a core's cache holds, a convolution reads all of them again for each image; a product of all
images' pixels reads them once. All this rounds otherwise: it is for crafting in low precision, never for a verdict.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_CACHE = 2 * 2**20  # bytes that a core of current processors keeps to itself
_PIXELS = 64  # of a map, at most: the matrix has each pixel k^2 times


class Product(nn.Module):
    """What a convolution with stride 1 that leaves the maps' size does, with weights that have no gradient.

    weight: (O, C, k, k) with k odd. bias: (O,), or None.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.k, self.bias = weight.shape[2], bias
        self.there = _matrix(weight)
        self.back = _matrix(weight.flip(2, 3).transpose(0, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, O, H, W)."""
        out = _product(x, self.there, self.back, self.k)
        return out if self.bias is None else out + self.bias.view(1, -1, 1, 1)


def pays(convolution: nn.Conv2d) -> bool:
    """Whether a convolution can be a product, and its weights are such that it is quicker on small maps."""
    k, weight = convolution.kernel_size[0], convolution.weight
    return (
        weight.device.type == "cpu"
        and weight.dtype is torch.bfloat16
        and weight.nbytes > _CACHE
        and k % 2 == 1
        and convolution.kernel_size == (k, k)
        and convolution.padding == (k // 2, k // 2)
        and convolution.padding_mode == "zeros"
        and (convolution.stride, convolution.dilation, convolution.groups) == ((1, 1), (1, 1), 1)
    )


def is_small(x: Tensor) -> bool:
    """Whether maps (N, C, H, W) are so small that a product pays."""
    return x.shape[2] * x.shape[3] <= _PIXELS


def _product(x: Tensor, there: Tensor, back: Tensor, k: int) -> Tensor:
    """The maps. there, back: the matrices of the convolution and of its gradient."""
    return _maps(_Through.apply(x, there, back, k), x.shape)  # type: ignore[no-untyped-call]


class _Through(torch.autograd.Function):
    """The product of matrices; its gradient is the product with the other one, and so on."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, there: Tensor, back: Tensor, k: int) -> Tensor:
        ctx.save_for_backward(there, back)
        ctx.size, ctx.k = x.shape, k
        return _neighbours(x, k) @ there

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        there, back = ctx.saved_tensors
        return _product(_maps(grads[0], ctx.size), back, there, ctx.k), None, None, None


def _maps(pixels: Tensor, size: torch.Size) -> Tensor:
    """(N H W, O) to (N, O, H, W). size: (N, C, H, W)."""
    n, _, height, width = size
    return pixels.reshape(n, height, width, -1).permute(0, 3, 1, 2)


def _matrix(weight: Tensor) -> Tensor:
    """(O, C, k, k) as (k k C, O): rows in the order of `_neighbours`."""
    return weight.permute(2, 3, 1, 0).reshape(-1, weight.shape[0])


def _neighbours(x: Tensor, k: int) -> Tensor:
    """(N, C, H, W) to (N H W, k k C): beside one another the channels of all pixels that a pixel's output is made of."""
    n, channels, height, width = x.shape
    around = k // 2
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, around, around, around, around)).contiguous()
    image, row, pixel, _ = padded.stride()
    # the pixels of a window's row follow one another in memory
    windows = padded.as_strided((n, height, width, k, k * channels), (image, row, pixel, row, 1))
    return windows.reshape(n * height * width, -1)
