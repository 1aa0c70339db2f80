"""Digital and geometric corruptions: brightness, contrast, saturation, elastic transform, pixelation and JPEG.

Source: Hendrycks and Dietterich, ICLR 2019, and its code (see `corrupt_noise`).
"""

import io
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from hardy.data.corruption import Corruption, cut, cut_bytes, unit
from hardy.data.filters import blurred, sampled
from hardy.describe import require, settings
from hardy.randomness import Noise


@settings
class Brightness(Corruption):
    """Value in HSV plus a shift, cut off at 1. Black, which has no hue, becomes grey."""

    shift: float

    def apply(self, images: Tensor, noise: Noise) -> Tensor:
        del noise
        x = unit(images)
        value = x.amax(1, keepdim=True)
        shifted = (value + self.shift).clamp(0, 1)
        # hue and saturation stay: differences from the value are in proportion to it
        return cut(shifted - (value - x) * torch.where(value > 0, shifted / value, 1))


@settings
class Saturate(Corruption):
    """Saturation S in HSV becomes gain * S + shift, cut off at 0 and 1.

    Grey, which has no hue, takes that of red; one channel has no saturation and stays as it is.
    """

    gain: float
    shift: float

    def apply(self, images: Tensor, noise: Noise) -> Tensor:
        del noise
        if images.shape[1] != 3:
            return images.clone()
        x = unit(images)
        value, least = x.amax(1, keepdim=True), x.amin(1, keepdim=True)
        saturation = torch.where(value > 0, (value - least) / value, 0)
        wanted = (self.gain * saturation + self.shift).clamp(0, 1)
        red = value * wanted * x.new_tensor([0, 1, 1]).view(3, 1, 1)
        below = torch.where(saturation > 0, (value - x) * wanted / saturation, red)
        return cut(value - below)


@settings
class Contrast(Corruption):
    """(x - mean) * share + mean, with the mean of each channel."""

    share: float

    def apply(self, images: Tensor, noise: Noise) -> Tensor:
        del noise
        x = images.double()
        mean = x.mean((2, 3), keepdim=True)
        return cut_bytes((x - mean) * self.share + mean)


@settings
class ElasticTransform(Corruption):
    """A random affine map, then a random smooth displacement of every pixel.

    The affine map takes three points around the middle to where they are shifted by U(-affine, affine). Displacements are
    strength times uniform noise in [-1, 1] under a Gaussian of sigma, cut off at three of them.

    Differs: the code rounds the affine map's places to 1/32 of a pixel.
    """

    strength: float
    sigma: float
    affine: float
    lengths = ("strength", "sigma", "affine")

    def apply(self, images: Tensor, noise: Noise) -> Tensor:
        n, _, h, w = images.shape
        rows, columns = torch.meshgrid(
            *(torch.arange(side, device=images.device).double() for side in (h, w)), indexing="ij"
        )
        at = torch.stack([columns, rows, torch.ones_like(rows)], -1)
        places = at.flatten(0, 1) @ self._inverse(h, w, noise).mT
        x = sampled(images.double(), places[..., 1].view(n, h, w), places[..., 0].view(n, h, w), "mirror")
        if self.strength > 0:
            drawn = noise.derive("displacement").uniform((2, h, w), -1, 1).double()
            moved = self.strength * blurred(drawn, self.sigma, "reflect", 3.0)
            x = sampled(x, rows + moved[:, 1], columns + moved[:, 0], "reflect")
        return cut_bytes(x)

    def _inverse(self, h: int, w: int, noise: Noise) -> Tensor:
        """float64 (N, 2, 3): where (column, row, 1) of the result comes from."""
        middle, half = torch.tensor([w // 2, h // 2]), min(h, w) // 3
        corners = middle + half * torch.tensor([[1, 1], [1, -1], [-1, -1]])
        before = corners.to(noise.rows.device, torch.float64)
        after = before + noise.uniform((3, 2), -self.affine, self.affine)
        known = torch.cat([after, torch.ones_like(after[..., :1])], -1)
        solved: Tensor = torch.linalg.solve(known, before.expand_as(after))
        return solved.mT


@settings
class Pixelate(Corruption):
    """Made smaller and larger again by Pillow, each pixel the mean of the box it covers. share: of the sides."""

    share: float
    above_zero = ("share",)

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.share <= 1, "share", self.share, "in (0, 1]")

    def apply(self, images: Tensor, noise: Noise) -> Tensor:
        del noise
        h, w = images.shape[2:]
        small = max(1, int(w * self.share)), max(1, int(h * self.share))
        box = Image.Resampling.BOX
        return _by_pillow(images, lambda image: image.resize(small, box).resize((w, h), box))


@settings
class JPEG(Corruption):
    """Compressed by Pillow's JPEG at this quality, and read again."""

    quality: int

    def __post_init__(self) -> None:
        require(1 <= self.quality <= 95, "quality", self.quality, "in 1..95")

    def apply(self, images: Tensor, noise: Noise) -> Tensor:
        del noise
        return _by_pillow(images, self._compressed)

    def _compressed(self, image: Image.Image) -> Image.Image:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=self.quality)
        return Image.open(file)


def _by_pillow(images: Tensor, work: Callable[[Image.Image], Image.Image]) -> Tensor:
    """Images changed one by one, of three channels in colour, of any other number each channel by itself."""
    n, c, h, w = images.shape
    together = images.permute(0, 2, 3, 1) if c == 3 else images.reshape(n * c, h, w)
    done = np.empty(together.shape, np.uint8)
    for i, image in enumerate(together.cpu().contiguous().numpy()):
        done[i] = np.asarray(work(Image.fromarray(image)))
    made = torch.from_numpy(done).to(images.device)
    return made.permute(0, 3, 1, 2).contiguous() if c == 3 else made.view(n, c, h, w)
