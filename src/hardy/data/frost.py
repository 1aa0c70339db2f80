"""Ice for frosted images: the release's pictures of it, or some that are drawn."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn.functional import interpolate

from hardy.data.filters import blurred, plasma
from hardy.errors import UsageError
from hardy.randomness import Noise

NAMES = ("frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg")

_SIDE, _STEP = 640, 22.0  # pixels: of a drawn picture, and between two branches in it


@dataclass(frozen=True)
class Overlays:
    """Pictures of ice, each uint8 (3, H, W). origin: the folder they are from, or that they are drawn."""

    origin: str
    pictures: tuple[Tensor, ...]

    @classmethod
    @lru_cache(maxsize=8)
    def read(cls, folder: str, size: float) -> "Overlays":
        """The release's, resized to a share of their size bilinearly, each pixel of what four see.

        Raises: UsageError naming the file that is missing or no picture.
        """
        return cls(folder, tuple(_resized(_read(Path(folder).expanduser() / name), size) for name in NAMES))

    @classmethod
    @lru_cache(maxsize=8)
    def drawn(cls, size: float) -> "Overlays":
        """As many that are drawn, always the same; see `ice`."""
        return cls("drawn ice", tuple(_resized(ice(number), size) for number in range(len(NAMES))))

    def parts(self, h: int, w: int, noise: Noise) -> Tensor:
        """uint8 (N, 3, h, w): for each image a part of a picture, any part of any.

        Raises: UsageError for a picture that is too small.
        """
        for picture in self.pictures:
            if picture.shape[1] <= h or picture.shape[2] <= w:
                raise UsageError(
                    f"A picture of frost ({self.origin}) is {picture.shape[2]} x {picture.shape[1]} once it is resized; parts of "
                    f"{w} x {h} are wanted of it."
                )
        which, bits = noise.integers(len(self.pictures), ()), noise.derive("place").bits((2,))
        parts = []
        for number, places in zip(which.tolist(), bits.tolist(), strict=True):
            picture = self.pictures[number]
            top, left = (
                at * (long - side) >> 32 for at, long, side in zip(places, picture.shape[1:], (h, w), strict=True)
            )
            parts.append(picture[:, top : top + h, left : left + w])
        return torch.stack(parts)


def _read(path: Path) -> Tensor:
    """uint8 (3, H, W)."""
    try:
        with Image.open(path, formats=("PNG", "JPEG")) as image:
            return _tensor(image.convert("RGB"))
    except FileNotFoundError as error:
        raise UsageError(f"{path} is not there; the folder of overlays must hold {', '.join(NAMES)}.") from error
    except Exception as error:  # a damaged image may raise anything
        raise UsageError(f"{path} cannot be read as a picture: {error}.") from error


def _tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def _resized(picture: Tensor, size: float) -> Tensor:
    shape = [max(1, round(side * size)) for side in picture.shape[1:]]
    return interpolate(picture[None].float(), shape, mode="bilinear")[0].round().to(torch.uint8)


@lru_cache(maxsize=len(NAMES))
def ice(number: int) -> Tensor:
    """uint8 (3, 640, 640): the number-th picture of ferns of ice, white on a pale blue haze.

    A fern is a stem with branches at 60 degrees to both sides, the shorter the nearer to its tip; branches are ferns likewise.
    Nothing of the release's pictures went into it but that there are five: it looks like frost on a window.
    """
    noise = Noise.of_batch(1, number, purpose="ice")
    haze = plasma(1024, 1.9, noise.uniform((1024 * 1024 - 1,), -1, 1))[0, :_SIDE, :_SIDE]
    canvas = Image.new("L", (_SIDE, _SIDE))
    draw = ImageDraw.Draw(canvas)
    chance = iter(noise.derive("ferns").uniform((200_000,))[0].tolist())
    for _ in range(30):
        x, y, angle, length, light = (next(chance) for _ in range(5))
        stem = _Stem(x * _SIDE, y * _SIDE, 2 * math.pi * angle, (0.2 + 0.5 * length) * _SIDE)
        for line, depth in _fern(stem, chance):
            draw.line(line, fill=int((90 + 165 * light) / (1 + 0.7 * depth)), width=7 - 2 * depth)
    needles = blurred(torch.from_numpy(np.array(canvas)).double() / 255, 1.5)
    grain = blurred(noise.derive("grain").normal((_SIDE, _SIDE))[0].double(), 0.8)
    thick = (0.1 + 0.35 * haze + 0.8 * needles + 0.05 * grain).clamp(0, 1)
    return torch.stack([255 * thick**darker for darker in (1.3, 1.05, 0.9)]).to(torch.uint8)


class _Stem(NamedTuple):
    """Where a stem begins, its direction, its length; depth: how often it has branched off."""

    x: float
    y: float
    angle: float
    length: float
    depth: int = 0


def _fern(stem: _Stem, chance: Iterator[float]) -> Iterator[tuple[tuple[float, ...], int]]:
    """The lines (x, y, x', y') of a fern, each with its depth."""
    x, y, angle, left, depth = stem
    bend = 0.05 * (next(chance) - 0.5)
    while left > _STEP / 2:
        long = min(left, _STEP * (0.5 + next(chance)))
        across, down = x + long * math.cos(angle), y + long * math.sin(angle)
        yield (x, y, across, down), depth
        x, y, angle, left = across, down, angle + bend, left - long
        for side in (-1, 1) if depth < 2 else ():
            turn = side * math.pi / 3 + 0.2 * (next(chance) - 0.5)
            yield from _fern(_Stem(x, y, angle + turn, left * (0.25 + 0.3 * next(chance)), depth + 1), chance)
