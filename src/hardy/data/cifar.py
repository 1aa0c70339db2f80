"""CIFAR-10 and CIFAR-100, from the releases' Python pickles."""

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from hardy.data.dataset import Shortened
from hardy.data.download import Release, locate
from hardy.data.split import Split
from hardy.data.unpickle import unpickle
from hardy.describe import counted, settings
from hardy.errors import UsageError

_SHAPE = (3, 32, 32)
_WIDTH = 3072  # bytes of an image: three colour planes of 32 x 32


@dataclass(frozen=True)
class _Layout:
    """How a release's files are named inside and out. Counts are images a file."""

    release: Release
    train: tuple[str, ...]
    train_count: int
    test: str
    test_count: int
    labels: bytes  # the entry of a batch file that holds the labels
    meta: str
    names: bytes  # the entry of the meta file that holds the classes' names
    classes: int

    @property
    def train_total(self) -> int:
        return self.train_count * len(self.train)


_BATCHES = tuple(f"data_batch_{i}" for i in range(1, 6))
_CIFAR10 = _Layout(
    Release(
        title="CIFAR-10",
        url="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        md5="c58f30108f718f92721af3b95e74349a",
        folder="cifar-10-batches-py",
        files=(*_BATCHES, "test_batch", "batches.meta"),
    ),
    train=_BATCHES,
    train_count=10_000,
    test="test_batch",
    test_count=10_000,
    labels=b"labels",
    meta="batches.meta",
    names=b"label_names",
    classes=10,
)
_CIFAR100 = _Layout(
    Release(
        title="CIFAR-100",
        url="https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
        md5="eb9058c3a382ffc7106e4002c42a8d85",
        folder="cifar-100-python",
        files=("train", "test", "meta"),
    ),
    train=("train",),
    train_count=50_000,
    test="test",
    test_count=10_000,
    labels=b"fine_labels",
    meta="meta",
    names=b"fine_label_names",
    classes=100,
)


@dataclass(frozen=True)
class _Cifar(Shortened):
    """What the two releases share."""

    _layout: ClassVar[_Layout]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(3, 32, 32)."""
        return _SHAPE

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self._layout.classes

    @property
    def total(self) -> int:
        """50,000."""
        return self._layout.train_total

    def release(self, root: Path | None, offline: bool) -> tuple[Split, Split]:
        found = locate(self._layout.release, root, offline=offline)
        stats = [(found.folder / name).stat() for name in self._layout.release.files]
        train, test = _read(self._layout, found.folder, tuple((s.st_mtime_ns, s.st_size) for s in stats))
        title = self._layout.release.title
        return (
            replace(train, origin=f"{title} train, {len(train):,} images {found.origin}"),
            replace(test, origin=f"{title} test, {len(test):,} images {found.origin}"),
        )


@settings
class CIFAR10(_Cifar):
    """CIFAR-10: 50,000 training and 10,000 test images of 10 classes, 32 x 32 pixels.

    first: only so many of the training images, the first ones, in 1..50000; None takes all.

    Source: Krizhevsky, "Learning multiple layers of features from tiny images", 2009.
    """

    _layout = _CIFAR10


@settings
class CIFAR100(_Cifar):
    """CIFAR-100 with its fine labels: 50,000 training and 10,000 test images of 100 classes, 32 x 32 pixels.

    first: only so many of the training images, the first ones, in 1..50000; None takes all.

    Source: Krizhevsky, "Learning multiple layers of features from tiny images", 2009.
    """

    _layout = _CIFAR100


@lru_cache(maxsize=1)
def _read(layout: _Layout, folder: Path, state: tuple[tuple[int, int], ...]) -> tuple[Split, Split]:
    """(train, test) of all images, without origin; `state`, the files' times and sizes, tells when to read anew."""
    del state  # it is part of the cache's key, no more
    names = _read_names(folder / layout.meta, layout)
    train = [_read_full(folder / name, layout, layout.train_count) for name in layout.train]
    test = [_read_full(folder / layout.test, layout, layout.test_count)]
    return _split(train, names), _split(test, names)


Batch = tuple[npt.NDArray[np.uint8], list[int]]


def _split(batches: list[Batch], names: tuple[str, ...]) -> Split:
    images = torch.from_numpy(np.concatenate([data for data, _ in batches])).view(-1, *_SHAPE)
    labels = torch.tensor([label for _, labels in batches for label in labels], dtype=torch.int64)
    return Split(images, labels, names, torch.arange(len(labels)), origin="")


def _read_full(path: Path, layout: _Layout, count: int) -> Batch:
    """A batch file that has as many images as the release's."""
    data, labels = _read_batch(path, layout.labels, layout.classes)
    if len(data) != count:
        raise UsageError(f"{path} holds {counted(len(data), 'image')}; the release's file holds {count:,}.")
    return data, labels


def _read_batch(path: Path, entry: bytes, classes: int) -> Batch:
    """(uint8 (N, 3072), N labels) of one batch file of any N.

    Raises: UsageError naming the file if it is not a batch file, or its images or labels are of a wrong kind or range.
    """
    content = unpickle(path, "CIFAR")
    data, labels = (_entry(path, content, key) for key in (b"data", entry))
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != _WIDTH:
        given = f"{data.dtype} {data.shape}" if isinstance(data, np.ndarray) else type(data).__name__
        raise UsageError(f"The images in {path} are {given}; they must be a uint8 array (N, {_WIDTH}).")
    if isinstance(labels, np.ndarray):
        labels = labels.tolist()
    if not isinstance(labels, list) or any(type(label) is not int for label in labels):
        raise UsageError(f"The {entry.decode()} in {path} must be a list of integers.")
    if len(labels) != len(data):
        raise UsageError(
            f"{path} holds {counted(len(labels), 'label')} for {counted(len(data), 'image')}; it must hold one each."
        )
    if labels and not 0 <= min(labels) <= max(labels) < classes:
        raise UsageError(
            f"The labels in {path} lie in {min(labels)}..{max(labels)}; they must lie in 0..{classes - 1}."
        )
    return data, labels


def _read_names(path: Path, layout: _Layout) -> tuple[str, ...]:
    """The classes' names, in label order."""
    names = _entry(path, unpickle(path, "CIFAR"), layout.names)
    if not isinstance(names, list) or len(names) != layout.classes or any(type(n) not in (bytes, str) for n in names):
        raise UsageError(f"The {layout.names.decode()} in {path} must be a list of {layout.classes} names.")
    return tuple(name.decode("latin-1") if isinstance(name, bytes) else name for name in names)


def _entry(path: Path, content: dict[bytes, Any], key: bytes) -> Any:
    if key not in content:
        raise UsageError(f"{path} has no entry {key.decode()!r}, which the release's file has.")
    return content[key]
