"""CIFAR-10-C and CIFAR-100-C, the corrupted test images as released: one array a type, read a part at a time."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hardy.data.corrupted import Corrupted
from hardy.data.corruptions import KINDS, SEVERITIES
from hardy.data.download import Release, locate, refuse_web_page
from hardy.data.split import Split
from hardy.errors import UsageError

_IMAGES = 10_000  # of the test set, in a block for each severity
_SHAPE = (len(SEVERITIES) * _IMAGES, 32, 32, 3)


def _release(title: str, record: int, md5: str) -> Release:
    """Checksums as the records list them."""
    url = f"https://zenodo.org/records/{record}/files/{title}.tar"
    return Release(title, url, md5, folder=title, files=("labels.npy", *(f"{kind}.npy" for kind in KINDS)))


RELEASES: Mapping[int, Release] = {  # by number of classes
    10: _release("CIFAR-10-C", 2535967, "56bf5dcef84df0e2308c6dcbcbbd8499"),
    100: _release("CIFAR-100-C", 3555552, "11f0ed0f1191edbf9fa23466ae6021d3"),
}


@dataclass(frozen=True)
class Released(Corrupted):
    """The corrupted images of a release that belong to some of CIFAR's test images.

    Of an array no more is read than is asked for.

    Source: Hendrycks and Dietterich, "Benchmarking neural network robustness to common corruptions and perturbations", ICLR
            2019; Zenodo records 2535967 (CIFAR-10-C) and 3555552 (CIFAR-100-C).
    """

    folder: Path
    origin: str

    @classmethod
    def of(cls, split: Split, root: Path | None = None, *, offline: bool = False) -> "Released":
        """Those of test images of CIFAR-10 or CIFAR-100; root, offline: see `Dataset.load`.

        Raises: UsageError for other images, or a release that is nowhere, truncated or not what its name says; FailedError for
        a download that does not arrive.
        """
        release = RELEASES.get(len(split.classes))
        if release is None or split.shape != (3, 32, 32):
            raise UsageError(
                f"Corrupted images were released for CIFAR-10 and CIFAR-100, not for {split.origin}; for others they are made."
            )
        found = locate(release, root, offline=offline)
        released = cls(found.folder, f"{release.title} {found.origin}")
        released._check_labels(split, release.title)
        for kind in KINDS:
            released._array(kind)
        return released

    @property
    def says(self) -> str:
        return self.origin

    def settings(self, kind: str, severity: int) -> dict[str, Any]:
        del kind, severity
        return {"images": self.origin}

    def _check_labels(self, split: Split, title: str) -> None:
        """Raises UsageError unless these are the labels of the release's images."""
        path = self.folder / "labels.npy"
        labels = _array(path, "labels")
        if labels.dtype.kind not in "iu" or labels.shape != _SHAPE[:1]:
            raise UsageError(
                f"The labels in {path} are {labels.dtype} {labels.shape}; they must be integers {_SHAPE[:1]}."
            )
        indices = split.indices.cpu().numpy()
        fits = len(indices) == 0 or 0 <= indices.min() <= indices.max() < _IMAGES
        if not fits or (labels.reshape(-1, _IMAGES)[:, indices] != split.labels.cpu().numpy()).any():
            raise UsageError(
                f"The labels in {path} are not those of {split.origin}; {title} belongs to the test images of "
                f"{title.removesuffix('-C')}, all or some of them."
            )

    def _array(self, kind: str) -> npt.NDArray[np.generic]:
        """All images of a type, unread.

        Raises: UsageError naming the file if it is truncated, or no array of the release's type and shape.
        """
        path = self.folder / f"{kind}.npy"
        array = _array(path, "images")
        if array.dtype != np.uint8 or array.shape != _SHAPE:
            raise UsageError(f"The images in {path} are {array.dtype} {array.shape}; they must be uint8 {_SHAPE}.")
        return array

    def images(self, kind: str, severity: int, part: Split) -> Tensor:
        """uint8 (N, 3, 32, 32), on the split's device. Raises: UsageError for a file that has been damaged since."""
        some = self._array(kind)[(severity - 1) * _IMAGES + part.indices.cpu().numpy()]
        return torch.from_numpy(some.transpose(0, 3, 1, 2).copy()).to(part.images.device)


def _array(path: Path, what: str) -> npt.NDArray[np.generic]:
    """The array in a file, of which only what is looked at is read."""
    refuse_web_page(path, f"an array of {what}")
    try:
        array: npt.NDArray[np.generic] = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # a damaged file may raise anything
        raise UsageError(f"{path} is truncated, damaged or not an array of {what}: {error}.") from error
    return array
