"""Corruption: one kind of damage to images at one strength, and what all kinds share."""

import dataclasses
from abc import ABC, abstractmethod
from typing import ClassVar, TypeVar

import torch
from torch import Tensor

from hardy.describe import require
from hardy.randomness import Noise

T = TypeVar("T", bound="Corruption")

_SLACK = 1e-6  # of a byte; sums of weights round otherwise in another batch, and a flat area must stay as it is


class Corruption(ABC):
    """Turns images into damaged ones, each by random numbers of its own. Concrete ones are settings, of numbers at least 0.

    lengths: the settings that are in pixels. above_zero: those that cannot be 0.

    Raises: UsageError for a number that is too small.
    """

    lengths: ClassVar[tuple[str, ...]] = ()
    above_zero: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, int | float):
                strict = name in self.above_zero
                require(value > 0 if strict else value >= 0, name, value, "above 0" if strict else "at least 0")

    @abstractmethod
    def apply(self, images: Tensor, noise: Noise) -> Tensor:
        """uint8 (N, C, H, W) of uint8 (N, C, H, W), at least 8 pixels wide and high; noise: a row for each image."""

    def scaled(self: T, by: float) -> T:
        """The same for images whose side is `by` times as long; whole pixels stay whole, and at least 1."""
        now = {name: getattr(self, name) for name in self.lengths}
        return dataclasses.replace(  # type: ignore[type-var]
            self, **{name: max(1, round(by * old)) if isinstance(old, int) else by * old for name, old in now.items()}
        )


def unit(images: Tensor) -> Tensor:
    """float64, bytes from 0 to 1."""
    return images.to(torch.float64) / 255


def cut(x: Tensor) -> Tensor:
    """Bytes of numbers that are meant to lie in [0, 1], the next smaller ones."""
    return (x.clamp(0, 1) * 255).to(torch.uint8)


def cut_bytes(x: Tensor) -> Tensor:
    """Bytes of numbers that are meant to lie in [0, 255], the next smaller ones, but for what rounding may have taken away."""
    return (x.clamp(0, 255) + _SLACK).to(torch.uint8)


def grey(x: Tensor) -> Tensor:
    """(N, 1, H, W): 0.299 R + 0.587 G + 0.114 B of three channels, the mean of any other number."""
    if x.shape[1] != 3:
        return x.mean(1, keepdim=True)
    return (x * x.new_tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1, keepdim=True)


def colour(red: float, green: float, blue: float, like: Tensor) -> Tensor:
    """(1, C, 1, 1): a colour, of bytes, from 0 to 1; its grey where there are not three channels."""
    value = like.new_tensor([red, green, blue]).view(1, 3, 1, 1) / 255
    return value if like.shape[1] == 3 else grey(value).expand(1, like.shape[1], 1, 1)
