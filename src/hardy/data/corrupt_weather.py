"""Weather: snow, frost and fog.

Source:  Hendrycks and Dietterich, ICLR 2019, and its code (see `corrupt_noise`).
Differs: the code blurs snow by ImageMagick, here its mathematics are written out (`streaked`).
"""

import math
from dataclasses import replace

import torch
from torch import Tensor

from hardy.data.corruption import Corruption, cut, cut_bytes, grey, unit
from hardy.data.filters import along, plasma, streaked, zooming
from hardy.data.frost import Overlays
from hardy.describe import require, settings
from hardy.randomness import Noise

_LEAST_ZOOM = 1.1  # of flakes that were larger than pixels


@settings
class Snow(Corruption):
    """Flakes of noise, enlarged, cut off below a threshold and streaked, added with themselves upside down to a paler image.

        pale = mix x + (1 - mix) max(x, 1.5 grey(x) + 0.5),   x' = pale + flakes + flakes turned by 180 degrees

    mean, deviation: of the normal noise. zoom: how large a flake is. radius, sigma: of the streaks, at an angle from
    U(-135, -45) degrees.
    """

    mean: float
    deviation: float
    zoom: float
    threshold: float
    radius: float
    sigma: float
    mix: float
    above_zero = ("sigma",)

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.zoom >= 1, "zoom", self.zoom, "at least 1")

    def scaled(self, by: float) -> "Snow":
        # noise between pixels is smoother than at them: were a zoom to become 1, 2.5 times as much snow would fall
        zoom = max(_LEAST_ZOOM, by * self.zoom) if self.zoom > 1 else 1
        return replace(self, zoom=zoom, radius=by * self.radius, sigma=by * self.sigma)

    def apply(self, images: Tensor, noise: Noise) -> Tensor:
        x = unit(images)
        drawn = self.mean + self.deviation * noise.normal((1, *images.shape[2:])).double()
        flakes = along(drawn, *(zooming(side, self.zoom) for side in images.shape[2:]))
        flakes = cut(torch.where(flakes < self.threshold, 0, flakes))
        angle = noise.derive("angle").uniform((), -0.75 * math.pi, -0.25 * math.pi)
        flakes = streaked(flakes.float(), self.radius, self.sigma, angle).round().double() / 255
        pale = self.mix * x + (1 - self.mix) * torch.maximum(x, 1.5 * grey(x) + 0.5)
        return cut(pale + flakes + flakes.rot90(2, (2, 3)))


@settings
class Frost(Corruption):
    """Image times one weight plus a part of a picture of ice times another.

    size: of the pictures, as a share of the size at which the release has them. overlays: the folder with the release's
    pictures frost1.png to frost5.jpg; left empty, five are drawn: see `ice`.

    Differs: nothing from the code, which never uses the sixth picture.
    """

    image_weight: float
    ice_weight: float
    size: float
    overlays: str = ""
    lengths = ("size",)
    above_zero = ("size",)

    def apply(self, images: Tensor, noise: Noise) -> Tensor:
        _, c, h, w = images.shape
        pictures = Overlays.read(self.overlays, self.size) if self.overlays else Overlays.drawn(self.size)
        over = pictures.parts(h, w, noise).to(images.device)
        if c != 3:
            over = grey(over.double()).expand(-1, c, -1, -1)
        return cut_bytes(self.image_weight * images.double() + self.ice_weight * over)


@settings
class Fog(Corruption):
    """Clouds added to the image, and all of it darkened to where the image's brightest value m was.

        x' = (x + strength * clouds) m / (m + strength)

    decay: how much less rough the clouds are at half the length; see `plasma`.

    Differs: nothing from the code at 32 and 224 pixels; elsewhere the clouds' map is the next power of two wide.
    """

    strength: float
    decay: float

    def apply(self, images: Tensor, noise: Noise) -> Tensor:
        x = unit(images)
        h, w = x.shape[2:]
        size = 1 << (max(h, w) - 1).bit_length()
        clouds = plasma(size, self.decay, noise.uniform((size * size - 1,), -1, 1))[:, None, :h, :w]
        brightest = x.amax((1, 2, 3), keepdim=True)
        return cut((x + self.strength * clouds) * brightest / (brightest + self.strength))
