"""Extra: images beyond the data set, generated or pseudo-labelled, and their share of every training batch."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch

from hardy.data.download import refuse_web_page
from hardy.data.split import Split, batches
from hardy.data.unpickle import unpickle
from hardy.describe import require, settings, with_article
from hardy.errors import UsageError
from hardy.randomness import Noise
from hardy.types import Images, Labels

_Pair = tuple[npt.NDArray[Any], npt.NDArray[Any]]


@settings
class Extra:
    """More training images from one file, of the same classes and shape as the data set's.

    path: relative to the working folder. Either an npz archive with `image`, uint8 (N, H, W, C), and `label`, integers
    (N,); or a pickled dictionary with `data`, likewise, and `extrapolated_targets`. Content, not name, tells which.
    fraction: the share of each batch that is extra images, in (0, 1).

    Source: the archives are as Gowal et al., "Improving robustness using generated data", NeurIPS 2021, and Wang et
    al., "Better diffusion models further improve adversarial training", ICML 2023, publish them; the pickle is that of
    Carmon et al., "Unlabeled data improves adversarial robustness", NeurIPS 2019.
    """

    path: str
    fraction: float = 0.5

    def __post_init__(self) -> None:
        require(bool(self.path), "path", self.path, "a file of extra images")
        require(0 < self.fraction < 1, "fraction", self.fraction, "above 0 and below 1")

    def load(self, like: Split) -> Split:
        """All extra images, on the CPU. like: the training images, whose shape and classes they must have.

        Raises: UsageError naming the file if it is missing, damaged, of no known format, or does not fit `like`.
        """
        path = Path(self.path).expanduser()
        images, labels, kind = _read(path)
        _refuse_misfits(path, images, labels, like)
        return Split(
            images=torch.from_numpy(np.array(images.transpose(0, 3, 1, 2), order="C")),
            labels=torch.from_numpy(labels.astype(np.int64)),
            classes=like.classes,
            indices=torch.arange(len(images)),
            origin=f"extra data, {len(images):,} {kind} images from {path}; read as found on disk, no checksum known",
        )


def extra_batches(split: Split, size: int, noise: Noise, start: int = 0) -> Iterator[tuple[Images, Labels]]:
    """Batches (x, y) of `size` without end, from global step `start` on; a step's batch depends on nothing but the step.

    Step s lies in pass s // (len(split) // size) over the images, and each pass has an order of its own: that of
    `noise` at the draw of the pass's number. Only full batches are given.

    Raises: UsageError unless 1 <= size <= len(split).
    """
    require(1 <= size <= len(split), "The number of extra images in a batch", size, f"in 1..{len(split)}")
    return _endless(split, size, noise, start)


def _endless(split: Split, size: int, noise: Noise, start: int) -> Iterator[tuple[Images, Labels]]:
    number, skipped = divmod(start, len(split) // size)
    for each in count(number):
        for x, y, _ in batches(split, size, noise.draw(each), start=skipped):
            yield x, y
        skipped = 0


@dataclass(frozen=True)
class _Format:
    """The entries of a kind of file, and what its images are."""

    images: str
    labels: str
    kind: str


_ARCHIVE = _Format("image", "label", "generated")
_PICKLE = _Format("data", "extrapolated_targets", "pseudo-labelled")


def _read(path: Path) -> tuple[npt.NDArray[Any], npt.NDArray[Any], str]:
    """(images, labels, what they are), unchecked but for being arrays."""
    refuse_web_page(path, "an npz archive or a pickle of extra images")
    with path.open("rb") as file:
        beginning = file.read(2)
    if beginning == b"PK":
        return *_read_archive(path), _ARCHIVE.kind
    if beginning[:1] == b"\x80":
        return *_read_pickle(path), _PICKLE.kind
    raise UsageError(
        f"{path} begins with {beginning!r}; it must be an npz archive with image and label, or a pickle (protocol 2 or "
        "higher) with data and extrapolated_targets."
    )


def _read_archive(path: Path) -> _Pair:
    try:
        # opened here: of a damaged archive numpy leaves its own file open
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            names = set(archive.files)
            found = [archive[name] for name in (_ARCHIVE.images, _ARCHIVE.labels) if name in names]
    except Exception as error:  # a damaged archive may raise anything
        raise UsageError(f"{path} is truncated, damaged or not an npz archive of plain arrays: {error}.") from error
    _refuse_missing(path, names, _ARCHIVE)
    return _arrays(path, found[0], found[1], _ARCHIVE)


def _read_pickle(path: Path) -> _Pair:
    content = unpickle(path, "pseudo-label")
    _refuse_missing(path, {key.decode("latin-1") for key in content if isinstance(key, bytes)}, _PICKLE)
    images, labels = content[_PICKLE.images.encode()], content[_PICKLE.labels.encode()]
    if isinstance(labels, list) and all(type(label) is int and abs(label) < 2**63 for label in labels):
        labels = np.array(labels, np.int64)
    return _arrays(path, images, labels, _PICKLE)


def _arrays(path: Path, images: object, labels: object, names: _Format) -> _Pair:
    for name, value in ((names.images, images), (names.labels, labels)):
        if not isinstance(value, np.ndarray):
            raise UsageError(
                f"The entry {name} of {path} is {with_article(type(value).__name__)}; it must be an array of integers."
            )
    return cast(_Pair, (images, labels))


def _refuse_missing(path: Path, names: set[str], wanted: _Format) -> None:
    for name in (wanted.images, wanted.labels):
        if name not in names:
            held = ", ".join(sorted(names)) or "nothing"
            raise UsageError(f"{path} holds {held}; it must hold {wanted.images} and {wanted.labels}.")


def _refuse_misfits(path: Path, images: npt.NDArray[Any], labels: npt.NDArray[Any], like: Split) -> None:
    c, h, w = like.shape
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (h, w, c) or not len(images):
        raise UsageError(
            f"The images in {path} are {images.dtype} {images.shape}; they must be uint8 (N, {h}, {w}, {c}), at least "
            "one, like the training images."
        )
    if labels.dtype.kind not in "iu" or labels.shape != (len(images),):
        raise UsageError(
            f"The labels in {path} are {labels.dtype} {labels.shape}; they must be integers ({len(images)},), one for "
            "each image."
        )
    low, high, most = int(labels.min()), int(labels.max()), len(like.classes) - 1
    if low < 0 or high > most:
        raise UsageError(f"The labels in {path} lie in {low}..{high}; they must lie in 0..{most}.")
