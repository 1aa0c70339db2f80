"""Dataset: the settings of a data set, and what every one of them can do."""

from abc import ABC, abstractmethod
from pathlib import Path

from hardy.data.split import Split


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
