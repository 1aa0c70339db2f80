"""Folders of image files: what is in them, and how it becomes tensors, decoded once and then cached."""

import contextlib
import hashlib
import io
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, UnidentifiedImageError

from hardy.data import download
from hardy.data.split import Split
from hardy.describe import counted, require
from hardy.errors import FailedError, UsageError
from hardy.files import write_whole

T = TypeVar("T")
Bytes = npt.NDArray[np.uint8]

_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".webp")
_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "PPM")  # no others of Pillow's many readers are let loose on a file
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")  # of 8 bits a channel, or fewer
_DECODING = 2  # version; a change of the pixels that a file becomes needs another
_MOMENT = 1.0  # seconds without progress shown


def check_size(size: int) -> None:
    """Raises UsageError unless images may be resized to this side, in pixels."""
    require(8 <= size <= 512, "size", size, "an integer in 8..512")


@dataclass(frozen=True)
class Listing:
    """The image files of one part of a folder.

    classes: the class folders, in label order. names: paths relative to the folder, with slashes, class by class and
    sorted within. labels: of each name. others: how many files are no images.
    """

    classes: tuple[str, ...]
    names: tuple[str, ...]
    labels: tuple[int, ...]
    others: int


def subfolders(folder: Path) -> list[str]:
    """Names of the folders directly in this one, sorted; hidden ones left out.

    Raises: UsageError if it cannot be read.
    """
    return _inside(folder)[0]


def list_images(folder: Path, part: str = "", classes: Sequence[str] | None = None) -> Listing:
    """The images in <folder>/<part>/<class>. classes: those class folders and no others; None takes all there are.

    Raises: UsageError naming the folder for a class without images or missing, and for fewer than two classes.
    """
    top = folder / part
    there, loose = _inside(top)
    chosen = there if classes is None else list(classes)
    missing = sorted(set(chosen) - set(there))
    if missing:
        raise UsageError(f"{top} lacks the class folder {missing[0]}; expected are {', '.join(chosen)}.")
    if len(chosen) < 2:
        given = f"only the class folder {there[0]!r}" if there else f"no class folder and {counted(len(loose), 'file')}"
        raise UsageError(f"{top} holds {given}; expected are two class folders or more, each with its images.")
    names: list[str] = []
    labels: list[int] = []
    others = len(loose)
    for label, name in enumerate(chosen):
        files = sorted(_below(top / name))
        images = [file for file in files if file.lower().endswith(_SUFFIXES)]
        others += len(files) - len(images)
        if not images:
            endings = ", ".join(suffix[1:] for suffix in _SUFFIXES)
            raise UsageError(
                f"{top / name} holds no image, and {counted(len(files), 'other file')}; expected is at least "
                f"one file that ends in one of {endings}."
            )
        names += [f"{part}/{name}/{file}" if part else f"{name}/{file}" for file in images]
        labels += [label] * len(images)
    return Listing(tuple(chosen), tuple(names), tuple(labels), others)


def _inside(folder: Path) -> tuple[list[str], list[str]]:
    """(names of the folders, names of the files) directly in this folder, sorted, without hidden ones."""
    _, folders, files = next(os.walk(folder, onerror=_unreadable))
    return _visible(folders), _visible(files)


def _visible(names: Sequence[str]) -> list[str]:
    return sorted(name for name in names if not name.startswith("."))


def _below(folder: Path) -> Iterator[str]:
    """Paths, relative and with slashes, of all files at any depth, without hidden ones."""
    for at, folders, files in os.walk(folder, onerror=_unreadable):
        folders[:] = _visible(folders)
        for name in _visible(files):
            yield (Path(at) / name).relative_to(folder).as_posix()


def _unreadable(error: OSError) -> None:
    raise UsageError(f"{error.filename} cannot be read: {error.strerror}.") from error


def read_parts(
    folder: Path, listings: Sequence[Listing], size: int, classes: tuple[str, ...]
) -> tuple[list[Split], str]:
    """(a split of each listing, without origin; how they were read, in words), from the cache where it has them.

    classes: their names, in label order.

    Raises: UsageError naming the file for an image that cannot be read.
    """
    names = [name for listing in listings for name in listing.names]
    paths = [folder / name for name in names]
    content = _content_digest(names, paths)
    key = hashlib.sha256(f"{content} {size} {_DECODING}".encode()).hexdigest()
    cached = download.cache() / "folders" / f"{key}.npy"
    images = _from_cache(cached, (len(paths), 3, size, size))
    if images is None:
        images = _decode_all(paths, size)
        with contextlib.suppress(FailedError):  # a cache is a convenience
            write_whole(cached, partial(_write_cache, images))
    splits, first = [], 0
    for listing in listings:
        part, labels = images[first : first + len(listing.names)], torch.tensor(listing.labels)
        splits.append(Split(torch.from_numpy(part), labels, classes, torch.arange(len(labels)), origin=""))
        first += len(part)
    others = sum(listing.others for listing in listings)
    passed_over = f"; {counted(others, 'other file')} passed over" if others else ""
    return splits, f"content {content[:12]}; resized to {size} x {size} around the centre{passed_over}"


def _content_digest(names: Sequence[str], paths: Sequence[Path]) -> str:
    """SHA-256 over the names and bytes of all files, in hexadecimal digits."""
    whole = hashlib.sha256()
    for name, digest in zip(names, _in_threads(_digest, paths, "reading images"), strict=True):
        whole.update(hashlib.sha256(os.fsencode(name)).digest() + digest)
    return whole.hexdigest()


def _digest(path: Path) -> bytes:
    return hashlib.sha256(_read(path)).digest()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from error


def _decode_all(paths: Sequence[Path], size: int) -> Bytes:
    images = np.empty((len(paths), 3, size, size), np.uint8)
    with warnings.catch_warnings():  # around all threads: filters belong to the process
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        for i, image in enumerate(_in_threads(partial(_decode, size=size), paths, "decoding images")):
            images[i] = image
    return images


def _decode(path: Path, size: int) -> Bytes:
    """uint8 (3, size, size) of one file."""
    content = io.BytesIO(_read(path))
    try:
        with Image.open(content, formats=_FORMATS) as image:
            mode = image.mode
            if mode in _MODES:
                return _squared(image, size)
    except UnidentifiedImageError as error:
        kinds = ", ".join(_FORMATS)
        raise UsageError(f"{path} is damaged or not an image; it must be one of the formats {kinds}.") from error
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise UsageError(f"{path} is larger than is opened safely: {error}") from error
    except Exception as error:  # a damaged image may raise anything
        raise UsageError(f"{path} is truncated, or damaged as an image: {error}.") from error
    raise UsageError(
        f"{path} has pixels of Pillow's mode {mode}; they must have 8 bits a channel ({', '.join(_MODES)})."
    )


def _squared(image: Image.Image, size: int) -> Bytes:
    side = min(image.size)
    # whole pixels: from between two, each would become the mean of its neighbours
    left, top = (image.width - side) // 2, (image.height - side) // 2
    # colours of a palette may be transparent, which only RGBA can say
    full = image.convert("RGBA") if image.mode in ("P", "PA") else image
    # the filter looks beyond the box: the same as resizing all and cropping, without ever making a long strip
    square = full.convert("RGB").resize(
        (size, size), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side)
    )
    return np.asarray(square).transpose(2, 0, 1)


def _in_threads(work: Callable[[Path], T], paths: Sequence[Path], doing: str) -> Iterator[T]:
    """`work` of each path, in order; with progress on stderr if it takes more than a moment on a terminal."""
    began, bar = time.monotonic(), None
    with contextlib.ExitStack() as stack, ThreadPoolExecutor() as pool:
        for i, result in enumerate(pool.map(work, paths)):
            yield result
            if bar is not None:
                bar.update(_bytes(paths[i]))
            elif time.monotonic() - began > _MOMENT and sys.stderr.isatty():
                bar = stack.enter_context(download._Bar(doing))
                bar.total = sum(map(_bytes, paths))
                bar.update(sum(map(_bytes, paths[: i + 1])))


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _write_cache(images: Bytes, to: Path) -> None:
    with to.open("wb") as file:
        np.save(file, images, allow_pickle=False)
        file.write(hashlib.sha256(images.data).digest())


def _from_cache(path: Path, shape: tuple[int, ...]) -> Bytes | None:
    """The images in a cache file; None where there is none, or it is not whole."""
    try:
        with path.open("rb") as file:
            images: Any = np.load(file, allow_pickle=False)
            fits = images.dtype == np.uint8 and images.shape == shape
            return images if fits and file.read() == hashlib.sha256(images.data).digest() else None
    except Exception:  # a damaged file may raise anything; it is written anew
        return None
