"""Corrupted: where the corrupted images of a split come from; they are made here, or read from a release."""

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from hardy.data.corruptions import constants, corrupt, corruption
from hardy.data.frost import NAMES, Overlays
from hardy.data.split import Split
from hardy.describe import describe, require
from hardy.files import digest
from hardy.randomness import Noise


class Corrupted(ABC):
    """The images of a split under each corruption."""

    @property
    @abstractmethod
    def says(self) -> str:
        """What they are, in words."""

    @abstractmethod
    def images(self, kind: str, severity: int, part: Split) -> Tensor:
        """uint8 (N, C, H, W), on the split's device. part: some of its images."""

    @abstractmethod
    def settings(self, kind: str, severity: int) -> dict[str, Any]:
        """What determines the images, beside the split, kind and severity."""


@dataclass(frozen=True)
class Made(Corrupted):
    """Images corrupted here; an image's random numbers are keyed by its place in its source file.

    shape: (C, H, W) of the images. overlays: a folder with the release's pictures of frost; empty, ice is drawn.

    Raises: UsageError for images of fewer than 8 pixels a side, or a folder that lacks a picture.
    """

    shape: tuple[int, int, int]
    seed: int = 0
    overlays: str = ""

    def __post_init__(self) -> None:
        require(0 <= self.seed < 2**32, "seed", self.seed, "in [0, 2**32)")
        constants(self.shape)
        if self.overlays:
            Overlays.read(self.overlays, 1.0)

    @property
    def says(self) -> str:
        """Whose constants, and whose ice."""
        ice = f"frost from the pictures in {self.overlays}" if self.overlays else "frost drawn"
        return f"made here, constants {constants(self.shape)}, {ice}"

    def images(self, kind: str, severity: int, part: Split) -> Tensor:
        noise = Noise(self.seed, part.indices, purpose="corruption")
        return corrupt(part.images, kind, severity, noise, overlays=self.overlays)

    def settings(self, kind: str, severity: int) -> dict[str, Any]:
        made: dict[str, Any] = {"constants": describe(corruption(kind, severity, self.shape, self.overlays))}
        if kind == "frost" and self.overlays:
            made["overlays sha256"] = _digest(Path(self.overlays).expanduser())
        return made | {"images": self.says, "seed": self.seed}


def _digest(folder: Path) -> str:
    """Twelve hexadecimal digits of the pictures of frost together."""
    return hashlib.sha256("".join(digest(folder / name) for name in NAMES).encode()).hexdigest()[:12]
