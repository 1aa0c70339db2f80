"""STL-10's labelled part, from the release's binary files."""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch

from hardy.data.dataset import Shortened
from hardy.data.download import Release, locate, refuse_web_page
from hardy.data.split import Split
from hardy.describe import counted, settings
from hardy.errors import UsageError

_SHAPE = (3, 96, 96)
_BYTES = 27_648  # of an image: three colour planes of 96 x 96
_CLASSES = 10
_RELEASE = Release(
    title="STL-10",
    url="http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz",
    md5="91f7769df0f17e558f3565bffb0c7dfb",
    folder="stl10_binary",
    files=("train_X.bin", "train_y.bin", "test_X.bin", "test_y.bin", "class_names.txt"),
    passed_over=("unlabeled_X.bin",),  # 2.8 GB
)


@settings
class STL10(Shortened):
    """STL-10's labelled images: 5,000 for training and 8,000 for testing of 10 classes, 96 x 96 pixels.

    first: only so many of the training images, the first ones, in 1..5000; None takes all.

    Source: Coates, Ng and Lee, "An analysis of single-layer networks in unsupervised feature learning", AISTATS 2011.
    Differs: the training images are one set, not ten overlapping folds of 1,000; the unlabelled images are not read.
    """

    _counts: ClassVar[tuple[int, int]] = (5_000, 8_000)  # training and test images

    @property
    def shape(self) -> tuple[int, int, int]:
        """(3, 96, 96)."""
        return _SHAPE

    @property
    def classes(self) -> int:
        """Ten."""
        return _CLASSES

    @property
    def total(self) -> int:
        """5,000."""
        return self._counts[0]

    def release(self, root: Path | None, offline: bool) -> tuple[Split, Split]:
        found = locate(_RELEASE, root, offline=offline)
        stats = [(found.folder / name).stat() for name in _RELEASE.files]
        train, test = _read(found.folder, self._counts, tuple((s.st_mtime_ns, s.st_size) for s in stats))
        return (
            replace(train, origin=f"{_RELEASE.title} train, {len(train):,} images {found.origin}"),
            replace(test, origin=f"{_RELEASE.title} test, {len(test):,} images {found.origin}"),
        )


@lru_cache(maxsize=1)
def _read(folder: Path, counts: tuple[int, int], state: tuple[tuple[int, int], ...]) -> tuple[Split, Split]:
    """(train, test) of all images, without origin; `state`, the files' times and sizes, tells when to read anew."""
    del state  # it is part of the cache's key, no more
    names = _read_names(folder / "class_names.txt")
    train, test = (_read_split(folder, part, n, names) for part, n in zip(("train", "test"), counts, strict=True))
    return train, test


def _read_split(folder: Path, part: str, count: int, names: tuple[str, ...]) -> Split:
    """The images and labels of one part, "train" or "test".

    Raises: UsageError naming the file that has not the release's size, or whose labels are out of range.
    """
    labels = _read_bytes(folder / f"{part}_y.bin", count, "labels of 1 byte")
    low, high = int(labels.min()), int(labels.max())
    if not 1 <= low <= high <= _CLASSES:
        path = folder / f"{part}_y.bin"
        raise UsageError(f"The labels in {path} lie in {low}..{high}; they must lie in 1..{_CLASSES}.")
    images = _read_bytes(folder / f"{part}_X.bin", count, f"images of {_BYTES:,} bytes", _BYTES)
    # the files hold each colour plane column by column
    upright = torch.from_numpy(images).view(-1, *_SHAPE).transpose(2, 3).contiguous()
    return Split(upright, torch.from_numpy(labels).to(torch.int64) - 1, names, torch.arange(count), origin="")


def _read_bytes(path: Path, count: int, what: str, size: int = 1) -> npt.NDArray[np.uint8]:
    """All bytes of a file that holds `count` things of `size` bytes, named by `what`, and nothing else."""
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from error
    if len(data) != count * size:
        # asked only here: pixels of a whole file may begin as a web page does
        refuse_web_page(path, "an STL-10 file")
        wanted = f"the release's file holds {count * size:,}: {count:,} {what}"
        raise UsageError(
            f"{path} is truncated, damaged or not STL-10's: it holds {counted(len(data), 'byte')}; {wanted}."
        )
    return data


def _read_names(path: Path) -> tuple[str, ...]:
    """The classes' names, in label order."""
    refuse_web_page(path, "a list of names")
    names = tuple(line.strip() for line in path.read_text("latin-1").splitlines() if line.strip())
    if len(names) != _CLASSES:
        raise UsageError(f"{path} holds {counted(len(names), 'name')}; it must hold {_CLASSES}, one a line.")
    return names
