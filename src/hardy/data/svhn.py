"""SVHN's cropped digits (the release's format 2), from its MATLAB files."""

import struct
import zlib
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from hardy.data.dataset import Shortened
from hardy.data.download import Release, locate, refuse_web_page
from hardy.data.split import Split
from hardy.describe import counted, settings
from hardy.errors import UsageError

_SHAPE = (3, 32, 32)
_NAMES = tuple(str(digit) for digit in range(10))


def _release(part: str, md5: str) -> Release:
    file = f"{part}_32x32.mat"
    return Release(f"SVHN {part}", f"http://ufldl.stanford.edu/housenumbers/{file}", md5, folder="svhn", files=(file,))


_TRAIN = _release("train", "e26dedcc434d2e4c54c9b2d4a06d8373")
_TEST = _release("test", "eb5a983be6a315427106f1b164d9cef3")


@settings
class SVHN(Shortened):
    """SVHN, digits cropped from photographs of house numbers: 73,257 training and 26,032 test images, 32 x 32 pixels.

    first: only so many of the training images, the first ones, in 1..73257; None takes all.

    Source: Netzer et al., "Reading digits in natural images with unsupervised feature learning", NIPS workshop 2011.
    Differs: the 531,131 additional, easier training images are not read.
    """

    _counts: ClassVar[tuple[int, int]] = (73_257, 26_032)  # training and test images

    @property
    def shape(self) -> tuple[int, int, int]:
        """(3, 32, 32)."""
        return _SHAPE

    @property
    def classes(self) -> int:
        """Ten."""
        return len(_NAMES)

    @property
    def total(self) -> int:
        """73,257."""
        return self._counts[0]

    def release(self, root: Path | None, offline: bool) -> tuple[Split, Split]:
        of_train, of_test = (locate(release, root, offline=offline) for release in (_TRAIN, _TEST))
        paths = (of_train.folder / _TRAIN.archive, of_test.folder / _TEST.archive)
        stats = [path.stat() for path in paths]
        train, test = _read(paths, self._counts, tuple((s.st_mtime_ns, s.st_size) for s in stats))
        return (
            replace(train, origin=f"{_TRAIN.title}, {len(train):,} images {of_train.origin}"),
            replace(test, origin=f"{_TEST.title}, {len(test):,} images {of_test.origin}"),
        )


@lru_cache(maxsize=1)
def _read(paths: tuple[Path, Path], counts: tuple[int, int], state: tuple[tuple[int, int], ...]) -> tuple[Split, Split]:
    """(train, test) of all images, without origin; `state`, the files' times and sizes, tells when to read anew."""
    del state  # it is part of the cache's key, no more
    train, test = (_read_split(path, count) for path, count in zip(paths, counts, strict=True))
    return train, test


def _read_split(path: Path, count: int) -> Split:
    """The images and labels of one MATLAB file that holds `count` of them.

    Raises: UsageError naming the file if it is not a MATLAB file, or its images or labels are of a wrong kind, shape or
    range.
    """
    content = _load(path)
    x, y = (_array(path, content, name) for name in ("X", "y"))
    if x.dtype != np.uint8 or x.ndim != 4 or x.shape[:3] != (32, 32, 3):
        raise UsageError(f"The images in {path} are {x.dtype} {x.shape}; they must be a uint8 array (32, 32, 3, N).")
    if x.shape[3] != count:
        raise UsageError(f"{path} holds {counted(x.shape[3], 'image')}; the release's file holds {count:,}.")
    if y.dtype.kind not in "iuf" or y.shape != (count, 1):
        raise UsageError(f"The labels in {path} are {y.dtype} {y.shape}; they must be numbers ({count}, 1).")
    if not np.isin(y, range(1, 11)).all():
        raise UsageError(f"The labels in {path} lie in {y.min():g}..{y.max():g}; they must be whole and lie in 1..10.")
    images = torch.from_numpy(x.transpose(3, 2, 0, 1).copy())
    labels = torch.from_numpy(y[:, 0].astype(np.int64) % 10)  # the files call the digit 0 ten
    return Split(images, labels, _NAMES, torch.arange(count), origin="")


def _array(path: Path, content: dict[str, npt.NDArray[Any]], name: str) -> npt.NDArray[Any]:
    if name not in content:
        raise UsageError(f"{path} has no array of numbers {name!r}, which the release's file has.")
    return content[name]


# how an element of a MATLAB 5 file says what it holds
_NUMBERS = {1: "i1", 2: "u1", 3: "<i2", 4: "<u2", 5: "<i4", 6: "<u4", 7: "<f4", 9: "<f8", 12: "<i8", 13: "<u8"}
_MATRIX, _COMPRESSED = 14, 15
_NUMERIC = range(6, 16)  # the classes of arrays that are neither cells, structures, objects, text nor sparse


def _load(path: Path) -> dict[str, npt.NDArray[Any]]:
    """The arrays of real numbers in a MATLAB 5 file, by name.

    Not scipy's reader: a damaged byte can make it end the whole process.
    """
    refuse_web_page(path, "a MATLAB file")
    content: dict[str, npt.NDArray[Any]] = {}
    try:
        data = memoryview(path.read_bytes())
        if bytes(data[124:128]) != b"\x00\x01IM":
            raise ValueError("it does not begin as a little-endian file of MATLAB 5 does")
        at = 128
        while at < len(data):
            kind, inner, at = _element(data, at)
            if kind == _COMPRESSED:
                kind, inner, _ = _element(memoryview(zlib.decompress(inner)), 0)
            if kind == _MATRIX:
                content |= _matrix(inner)
    except Exception as error:  # a damaged file may raise anything
        raise UsageError(f"{path} is truncated, damaged or not a MATLAB file: {error}.") from error
    return content


def _element(data: memoryview, at: int) -> tuple[int, memoryview, int]:
    """(kind, content, where the next one begins) of the element that begins at `at`."""
    kind, size = struct.unpack_from("<II", data, at)
    if kind >> 16:  # a small one: its size in the upper half of the first word, its content in the second
        kind, size, start, following = kind & 0xFFFF, kind >> 16, at + 4, at + 8
    else:
        start, following = at + 8, at + 8 + size
        if kind != _COMPRESSED:  # all others fill up to eight bytes
            following += -size % 8
    if start + size > min(following, len(data)):
        raise ValueError(f"an element of {size:,} bytes does not fit in")
    return kind, data[start : start + size], following


def _matrix(data: memoryview) -> dict[str, npt.NDArray[Any]]:
    """{name: values} of a matrix element; nothing where it is not of real numbers."""
    _, flags, at = _element(data, 0)
    _, shape, at = _element(data, at)
    _, name, at = _element(data, at)
    kind_of_array, is_complex = flags[0], flags[1] & 8
    if kind_of_array not in _NUMERIC or is_complex:
        return {}
    kind, values, _ = _element(data, at)
    if kind not in _NUMBERS:
        raise ValueError(f"an array holds elements of kind {kind}")
    array: npt.NDArray[Any] = np.frombuffer(values, _NUMBERS[kind])
    return {bytes(name).decode("latin-1"): array.reshape(np.frombuffer(shape, "<u4").tolist(), order="F")}
