"""Augment: flip, padded crop and cutout of a batch, on the device, each image with its own draw."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from hardy.describe import require, settings
from hardy.randomness import Noise
from hardy.types import Images


@settings
class Augment:
    """What is done to training images before anything else; the defaults do nothing."""

    flip: bool = False  # mirror left and right with probability 1/2
    crop: int = 0  # pixels of padding on each side, of which a random window of the original size is kept
    padding: Literal["zero", "reflect"] = "zero"
    cutout: int = 0  # side in pixels of a square set to 0, centred at a random pixel; 0 is none

    def __post_init__(self) -> None:
        require(self.crop >= 0, "crop", self.crop, "at least 0 pixels")
        require(self.cutout >= 0, "cutout", self.cutout, "at least 0 pixels")

    def __call__(self, x: Images, noise: Noise) -> Images:
        """The augmented batch; same shape, a new tensor where anything is done.

        Raises: UsageError where reflection would need more pixels than an image has.
        """
        if self.crop:
            fits = self.padding == "zero" or self.crop < min(x.shape[2:])
            require(fits, "crop", self.crop, f"below the image's side ({min(x.shape[2:])}) with reflect padding")
            x = _crop(x, self.crop, self.padding, noise.derive("crop"))
        if self.flip:
            mirrored = noise.derive("flip").bits((1, 1, 1)) < 2**31
            x = torch.where(mirrored, x.flip(3), x)
        if self.cutout:
            x = _cutout(x, self.cutout, noise.derive("cutout"))
        return x


def _crop(x: Images, pixels: int, padding: str, noise: Noise) -> Images:
    height, width = x.shape[2:]
    padded = F.pad(x, (pixels,) * 4, mode="constant" if padding == "zero" else "reflect")
    shift = noise.integers(2 * pixels + 1, (2,))
    image = torch.arange(len(x), device=x.device).view(-1, 1, 1)
    rows = (shift[:, :1] + torch.arange(height, device=x.device))[:, :, None]
    columns = (shift[:, 1:] + torch.arange(width, device=x.device))[:, None, :]
    return padded.permute(0, 2, 3, 1)[image, rows, columns].permute(0, 3, 1, 2)


def _cutout(x: Images, side: int, noise: Noise) -> Images:
    height, width = x.shape[2:]

    def band(length: int, axis: str) -> Tensor:
        first = noise.derive(axis).integers(length, (1,)) - side // 2
        at = torch.arange(length, device=x.device)
        return (at >= first) & (at < first + side)

    hole = band(height, "rows")[:, :, None] & band(width, "columns")[:, None, :]
    return x.masked_fill(hole[:, None], 0.0)
