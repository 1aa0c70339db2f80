"""Dataset: the settings of a data set, and what every one of them can do."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path

from hardy.data.split import Split
from hardy.describe import require


class Dataset(ABC):
    """Names a data set and how it is read. Concrete ones are settings; `load` gives the images."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image, known without loading."""

    @property
    @abstractmethod
    def classes(self) -> int:
        """Number of classes, known without loading."""

    @property
    def training_images(self) -> int | None:
        """Number of training images; None where only loading tells."""
        return None

    @property
    def unused_images(self) -> int:
        """How many images `unused` would give, known without loading."""
        return 0

    @abstractmethod
    def load(self, root: Path | None = None, *, offline: bool = False) -> tuple[Split, Split]:
        """(train, test), on the CPU.

        root: the folder that holds the release's files; None looks in $HARDY_DATA. Then comes the user's cache; files
        found nowhere are downloaded into it unless `offline`.

        Raises: UsageError for files missing while offline, truncated, of a wrong shape, or that are not what their name
        says; FailedError for a download that does not arrive.
        """

    def unused(self, root: Path | None = None, *, offline: bool = False) -> Split | None:
        """Training images that the settings leave out, free for validation; None where none are.

        root, offline, Raises: as in `load`.
        """
        del root, offline
        return None


@dataclass(frozen=True)
class Shortened(Dataset):
    """A release, of whose training images only the first ones may be taken; a leaf says `total` and `release`.

    first: only so many of the training images, the first ones; None takes all.
    """

    first: int | None = None

    def __post_init__(self) -> None:
        fits = self.first is None or 1 <= self.first <= self.total
        require(fits, "first", self.first, f"an integer in 1..{self.total} or None")

    @property
    @abstractmethod
    def total(self) -> int:
        """Training images of the release."""

    @abstractmethod
    def release(self, root: Path | None, offline: bool) -> tuple[Split, Split]:
        """(train, test) as released; their origins say "N images". See `Dataset.load`."""

    @property
    def training_images(self) -> int:
        """How many are trained on."""
        return self.first or self.total

    @property
    def unused_images(self) -> int:
        """How many training images `first` leaves out."""
        return self.total - self.training_images

    def load(self, root: Path | None = None, *, offline: bool = False) -> tuple[Split, Split]:
        """(train, test), the training images limited to the first `first`. See `Dataset.load`."""
        train, test = self.release(root, offline)
        if not self.unused_images:
            return train, test
        return _part(train, slice(self.first), f"the first {self.first:,}"), test

    def unused(self, root: Path | None = None, *, offline: bool = False) -> Split | None:
        """The training images that `first` leaves out; None where it leaves none. See `Dataset.load`."""
        if not self.unused_images:
            return None
        train, _ = self.release(root, offline)
        return _part(train, slice(self.first, None), f"the last {self.unused_images:,}")


def _part(train: Split, index: slice, which: str) -> Split:
    origin = train.origin.replace(f"{len(train):,} images", f"{which} of {len(train):,} images", 1)
    return replace(train.take(index), origin=origin)
