"""Split: images and labels as two tensors on the device, and batches(), the only iterator."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hardy.errors import UsageError
from hardy.randomness import Noise
from hardy.types import Images, Labels


@dataclass(frozen=True)
class Split:
    """Labelled images, kept as bytes.

    images: uint8 (N, C, H, W). labels: int64 (N,), each in [0, len(classes)). classes: the names, in label order.
    indices: int64 (N,), each image's place in its source file; it keys the image's random numbers in evaluation.
    origin: one line that says where the images come from, and what is not the release's about them.

    Raises: UsageError where shapes, kinds or label range do not fit.
    """

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    indices: Tensor
    origin: str

    def __post_init__(self) -> None:
        n = len(self.images)
        if self.images.dtype != torch.uint8 or self.images.ndim != 4:
            given = f"{self.images.dtype} {tuple(self.images.shape)}"
            raise UsageError(f"Images are {given}; they must be uint8 (N, C, H, W).")
        if self.labels.shape != (n,) or self.labels.dtype != torch.int64:
            raise UsageError(f"Labels are {self.labels.dtype} {tuple(self.labels.shape)}; they must be int64 ({n},).")
        if self.indices.shape != (n,) or self.indices.dtype != torch.int64:
            given = f"{self.indices.dtype} {tuple(self.indices.shape)}"
            raise UsageError(f"Indices are {given}; they must be int64 ({n},).")
        low, high = (int(self.labels.min()), int(self.labels.max())) if n else (0, -1)
        if low < 0 or high >= len(self.classes):
            allowed = f"with {len(self.classes)} classes they must lie in 0..{len(self.classes) - 1}"
            raise UsageError(f"Labels lie in {low}..{high}; {allowed}.")

    def __len__(self) -> int:
        return len(self.images)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""
        _, c, h, w = self.images.shape
        return c, h, w

    @property
    def marking(self) -> str:
        """Twelve hexadecimal digits that tell which classes there are, and of which class each image is."""
        whole = hashlib.sha256(repr(self.classes).encode())
        whole.update(self.labels.cpu().numpy().tobytes())
        return whole.hexdigest()[:12]

    def to(self, device: torch.device | str) -> "Split":
        """The same images on another device."""
        return replace(
            self, images=self.images.to(device), labels=self.labels.to(device), indices=self.indices.to(device)
        )

    def take(self, index: Tensor | slice) -> "Split":
        """Some of the images, in the order of `index` (int64 or bool)."""
        return replace(self, images=self.images[index], labels=self.labels[index], indices=self.indices[index])

    def interleaved(self) -> "Split":
        """All images in an order of which every beginning has the classes in proportion; those of a class keep theirs."""
        return self.take(_interleaving(self.labels, len(self.classes)))

    def x(self, index: Tensor | slice = slice(None)) -> Images:
        """Images as the networks take them."""
        return self.images[index].to(torch.float32) / 255

    def hold_out(self, count: int, seed: int) -> tuple["Split", "Split"]:
        """(rest, held out): `count` images held out, every class in its proportion, chosen by `seed`.

        Raises: UsageError unless 0 <= count < len(self).
        """
        if not 0 <= count < len(self):
            raise UsageError(f"{count} images were to be held out of {len(self)}; it must be at least 0 and fewer.")
        order = Noise.of_batch(1, seed, purpose="hold-out").permutation(len(self))[0].to(self.labels.device)
        order = order[_interleaving(self.labels[order], len(self.classes))]
        return self.take(order[count:].sort().values), self.take(order[:count].sort().values)


def _interleaving(labels: Labels, classes: int) -> Tensor:
    """int64 (N,), an order of the labels in which those of each class stand at equal spacing: any beginning is stratified."""
    place = torch.empty(len(labels), dtype=torch.float64, device=labels.device)
    for label in range(classes):
        of_class = (labels == label).nonzero().squeeze(1)
        spacing = torch.arange(len(of_class), dtype=torch.float64, device=labels.device)
        place[of_class] = (spacing + 0.5) / len(of_class)
    return place.argsort(stable=True)


def batches(
    split: Split, size: int, noise: Noise | None = None, start: int = 0
) -> Iterator[tuple[Images, Labels, Tensor]]:
    """Batches (x, y, indices) of `size`, from the start-th on: in random order and full ones only where noise is given,
    else all in order.

    In training the last, smaller batch of an epoch is left out (other images, the next time): its batch-norm statistics
    would be poorer.
    """
    order = torch.arange(len(split)) if noise is None else noise.shared.permutation(len(split))[0]
    order = order.to(split.labels.device)
    last = len(split) if noise is None else len(split) // size * size
    for first in range(start * size, last, size):
        index = order[first : first + size]
        yield split.x(index), split.labels[index], split.indices[index]
