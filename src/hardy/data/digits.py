"""Digits: scikit-learn's 1,797 handwritten digits, placed on a larger canvas; nothing to download."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from hardy.data.dataset import Dataset
from hardy.data.split import Split
from hardy.describe import require, settings
from hardy.randomness import Noise

_SIDE = 8  # pixels of a scan
_TEST = 500
_SEED = 0  # of the split and of the placement; fixed, so that everybody has the same images


@settings
class Digits(Dataset):
    """The 8 x 8 scans of ten digits, each on a black canvas: 1,297 training and 500 test images, one channel.

    canvas: side in pixels, in 8..64; 8 leaves the scans as they are. placement: where a scan lies on its canvas; the
    random place is always the same for the same image.

    Source: Alpaydin and Kaynak, Optical recognition of handwritten digits, UCI repository, 1998; the copy in
    scikit-learn (`load_digits`).
    Differs: values 0..16 become round(value * 255 / 16); the split is ours, stratified.
    """

    canvas: int = 16
    placement: Literal["random", "centre"] = "random"

    def __post_init__(self) -> None:
        require(_SIDE <= self.canvas <= 64, "canvas", self.canvas, f"an integer in {_SIDE}..64")
        require(self.placement in ("random", "centre"), "placement", self.placement, "'random' or 'centre'")

    @property
    def shape(self) -> tuple[int, int, int]:
        """(1, canvas, canvas)."""
        return 1, self.canvas, self.canvas

    @property
    def classes(self) -> int:
        """Ten."""
        return 10

    @property
    def training_images(self) -> int:
        """1,297."""
        return 1_797 - _TEST

    def load(self, root: Path | None = None, *, offline: bool = False) -> tuple[Split, Split]:
        """(train, test). The scans come with scikit-learn: neither `root` nor `offline` changes anything."""
        del root, offline
        from sklearn.datasets import load_digits

        values, labels = load_digits(return_X_y=True)
        scans = (torch.from_numpy(values) * 255 / 16).round().to(torch.uint8).view(-1, _SIDE, _SIDE)
        every = Split(
            images=self._place(scans),
            labels=torch.from_numpy(labels).to(torch.int64),
            classes=tuple(str(digit) for digit in range(10)),
            indices=torch.arange(len(scans)),
            origin="",
        )
        train, test = every.hold_out(_TEST, _SEED)
        lie = {"random": "at a random place", "centre": "in the centre"}[self.placement]
        source = (
            f"{len(every):,} scans of 8 x 8 from scikit-learn, {lie} of {self.canvas} x {self.canvas}; our own split"
        )
        return (
            replace(train, origin=f"digits train, {len(train):,} of {source}"),
            replace(test, origin=f"digits test, {len(test):,} of {source}"),
        )

    def _place(self, scans: Tensor) -> Tensor:
        """Uint8 (N, 1, canvas, canvas), black around the scans (N, 8, 8)."""
        n, room = len(scans), self.canvas - _SIDE
        if self.placement == "random":
            corner = Noise.of_batch(n, _SEED, purpose="digits-placement").integers(room + 1, (2,))
        else:
            corner = torch.full((n, 2), room // 2)
        rows, columns = (corner[:, axis, None] + torch.arange(_SIDE) for axis in (0, 1))
        images = torch.zeros(n, 1, self.canvas, self.canvas, dtype=torch.uint8)
        images[torch.arange(n).view(-1, 1, 1), 0, rows[:, :, None], columns[:, None, :]] = scans
        return images
