"""CIFAR-10 and CIFAR-100, from the releases' Python pickles."""

import pickle
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from hardy.data.dataset import Dataset
from hardy.data.download import Release, locate, refuse_web_page
from hardy.data.split import Split
from hardy.describe import require, settings
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
class _Cifar(Dataset):
    """What the two releases share. first: only so many of the training images, the first ones; None takes all."""

    _layout: ClassVar[_Layout]

    first: int | None = None

    def __post_init__(self) -> None:
        most = self._layout.train_total
        fits = self.first is None or 1 <= self.first <= most
        require(fits, "first", self.first, f"an integer in 1..{most} or None")

    @property
    def shape(self) -> tuple[int, int, int]:
        """(3, 32, 32)."""
        return _SHAPE

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self._layout.classes

    @property
    def training_images(self) -> int:
        """How many are trained on."""
        return self.first or self._layout.train_total

    @property
    def unused_images(self) -> int:
        """How many training images `first` leaves out."""
        return self._layout.train_total - self.training_images

    def load(self, root: Path | None = None, *, offline: bool = False) -> tuple[Split, Split]:
        """(train, test), the training images limited to the first `first`. See `Dataset.load`."""
        train, test = self._all(root, offline)
        if self.first is None or self.first == len(train):
            return train, test
        return self._part(train, slice(self.first), f"the first {self.first:,}"), test

    def unused(self, root: Path | None = None, *, offline: bool = False) -> Split | None:
        """The training images that `first` leaves out; None where it leaves none. See `Dataset.load`."""
        if not self.unused_images:
            return None
        train, _ = self._all(root, offline)
        return self._part(train, slice(self.first, None), f"the last {len(train) - self.first:,}")

    def _all(self, root: Path | None, offline: bool) -> tuple[Split, Split]:
        found = locate(self._layout.release, root, offline=offline)
        stats = [(found.folder / name).stat() for name in self._layout.release.files]
        train, test = _read(self._layout, found.folder, tuple((s.st_mtime_ns, s.st_size) for s in stats))
        title = self._layout.release.title
        return (
            replace(train, origin=f"{title} train, {len(train):,} images {found.origin}"),
            replace(test, origin=f"{title} test, {len(test):,} images {found.origin}"),
        )

    @staticmethod
    def _part(train: Split, index: slice, which: str) -> Split:
        origin = train.origin.replace(f"{len(train):,} images", f"{which} of {len(train):,} images", 1)
        return replace(train.take(index), origin=origin)


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
        raise UsageError(f"{path} holds {len(data):,} images; the release's file holds {count:,}.")
    return data, labels


def _read_batch(path: Path, entry: bytes, classes: int) -> Batch:
    """(uint8 (N, 3072), N labels) of one batch file of any N.

    Raises: UsageError naming the file if it is not a batch file, or its images or labels are of a wrong kind or range.
    """
    content = _unpickle(path)
    data, labels = (_entry(path, content, key) for key in (b"data", entry))
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != _WIDTH:
        given = f"{data.dtype} {data.shape}" if isinstance(data, np.ndarray) else type(data).__name__
        raise UsageError(f"The images in {path} are {given}; they must be a uint8 array (N, {_WIDTH}).")
    if isinstance(labels, np.ndarray):
        labels = labels.tolist()
    if not isinstance(labels, list) or any(type(label) is not int for label in labels):
        raise UsageError(f"The {entry.decode()} in {path} must be a list of integers.")
    if len(labels) != len(data):
        raise UsageError(f"{path} holds {len(labels):,} labels for {len(data):,} images; it must hold one each.")
    if labels and not 0 <= min(labels) <= max(labels) < classes:
        raise UsageError(
            f"The labels in {path} lie in {min(labels)}..{max(labels)}; they must lie in 0..{classes - 1}."
        )
    return data, labels


def _read_names(path: Path, layout: _Layout) -> tuple[str, ...]:
    """The classes' names, in label order."""
    names = _entry(path, _unpickle(path), layout.names)
    if not isinstance(names, list) or len(names) != layout.classes or any(type(n) not in (bytes, str) for n in names):
        raise UsageError(f"The {layout.names.decode()} in {path} must be a list of {layout.classes} names.")
    return tuple(name.decode("latin-1") if isinstance(name, bytes) else name for name in names)


def _entry(path: Path, content: dict[bytes, Any], key: bytes) -> Any:
    if key not in content:
        raise UsageError(f"{path} has no entry {key.decode()!r}, which the release's file has.")
    return content[key]


def _array(*_: object) -> npt.NDArray[np.uint8]:
    # numpy's own function returns an empty array too, whatever it is given by a pickle: its state comes afterwards
    return np.empty(0, np.uint8)


def _dtype(code: str | bytes, align: object = False, copy: object = False) -> np.dtype[Any]:
    name = code.decode("ascii") if isinstance(code, bytes) else code
    if name not in ("u1", "i8", "i4"):
        raise pickle.UnpicklingError(f"it holds an array of kind {name!r}")
    # old pickles hold 0 and 1 where numpy 2.4 wants bools
    return np.dtype(name, bool(align), bool(copy))


def _encode(text: str, encoding: str | bytes) -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"it asks for the text encoding {encoding!r}")
    return text.encode("latin-1")


_ADMITTED: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy.core.multiarray", "_reconstruct"): _array,
    ("numpy._core.multiarray", "_reconstruct"): _array,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): _dtype,
    ("_codecs", "encode"): _encode,  # how Python 3 writes byte strings in the protocol that Python 2 reads
}


class _Unpickler(pickle.Unpickler):
    """Builds plain values and arrays of integers; names nothing else, so that a file cannot run anything."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ADMITTED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no CIFAR file needs")
        return _ADMITTED[module, name]


def _unpickle(path: Path) -> dict[bytes, Any]:
    """The dictionary in a file, its keys as bytes."""
    refuse_web_page(path, "a CIFAR pickle")
    try:
        with path.open("rb") as file:
            content = _Unpickler(file, encoding="bytes").load()
    except Exception as error:  # a damaged pickle may raise anything
        raise UsageError(f"{path} is truncated, damaged or not a CIFAR pickle: {error}.") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path} holds a {type(content).__name__}; a CIFAR file holds a dictionary.")
    return {key.encode() if isinstance(key, str) else key: value for key, value in content.items()}
