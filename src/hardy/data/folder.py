"""Folder: the user's own images, one folder a class."""

from dataclasses import replace
from pathlib import Path

from hardy.data.dataset import Dataset
from hardy.data.images import Listing, check_size, list_images, read_parts, subfolders
from hardy.data.split import Split
from hardy.describe import counted, require, settings
from hardy.errors import UsageError

_LAYOUT = "<class>/<image>, or train/<class>/<image> with test/<class>/<image> or val/<class>/<image>"
_PARTS = {
    "train",
    "training",
    "test",
    "testing",
    "val",
    "valid",
    "validation",
    "dev",
}  # as people name them; no classes
_SEED = 0  # of the split; fixed, so that everybody has the same


@settings
class Folder(Dataset):
    """The user's own images, resized to squares of three channels.

    path: relative to the working folder. It holds train/<class>/<image> with test/<class>/<image> or, where there is
    no test, val/<class>/<image>; otherwise <class>/<image>, of which a part is the test set: `test_share` of the
    images, in (0, 1), every class in its proportion, always the same images. Classes are the folders' names, sorted.
    Images are files that end in bmp, jpeg, jpg, pgm, png, ppm or webp, in folders of folders too; what is hidden, and
    any other file, is passed over.

    size: height and width in pixels, in 8..512. The shorter side is resized to it (Pillow's bilinear filter, widened
    when it shrinks, so that nothing aliases), and the centre of the longer one is taken. Grey images get three equal
    channels; transparency is dropped; the rotation that a camera noted in a file is not applied.

    Decoded images are kept in the user's cache; they are decoded anew where any file has changed.
    """

    path: str
    size: int = 32
    test_share: float = 0.2

    def __post_init__(self) -> None:
        require(bool(self.path), "path", self.path, f"a folder of images, as {_LAYOUT}")
        check_size(self.size)
        require(0 < self.test_share < 1, "test_share", self.test_share, "above 0 and below 1")

    @property
    def shape(self) -> tuple[int, int, int]:
        """(3, size, size)."""
        return 3, self.size, self.size

    @property
    def classes(self) -> int:
        """Number of classes. Raises: UsageError as `load`, but for the images' content, which it does not read."""
        return len(self._listings()[0].classes)

    @property
    def training_images(self) -> int | None:
        """Number of training images; None while `path` does not exist. Raises: as `classes`."""
        if not Path(self.path).expanduser().exists():
            return None
        first, *rest = self._listings()
        return len(first.names) if rest else len(first.names) - self._test_count(len(first.names))

    def load(self, root: Path | None = None, *, offline: bool = False) -> tuple[Split, Split]:
        """(train, test), whatever `root` and `offline` are. An image's index is its place among the sorted files of
        its part, or of all where the split is ours.

        Raises: UsageError naming the folder or file for a path that holds no such images, fewer than two classes, a
        class without images in either part, or an image that is damaged or too large to be opened safely.
        """
        del root, offline
        listings, folder = self._listings(), Path(self.path).expanduser()
        parts, how = read_parts(folder, listings, self.size, listings[0].classes)
        whole = sum(len(part) for part in parts)
        if len(parts) == 2:
            (train, test), split = parts, ""
        else:
            train, test = parts[0].hold_out(self._test_count(whole), _SEED)
            self._refuse_bare_classes(train, test)
            split = "; our own split"
        source = f"of {whole:,} images of {len(train.classes)} classes from {folder}; {how}{split}"
        return (
            replace(train, origin=f"folder train, {len(train):,} {source}"),
            replace(test, origin=f"folder test, {len(test):,} {source}"),
        )

    def _listings(self) -> tuple[Listing, ...]:
        """(train, test), or all images where the folder has no such parts."""
        folder = Path(self.path).expanduser()
        if not folder.is_dir():
            found = "is a file" if folder.exists() else "does not exist"
            raise UsageError(f"path is {self.path!r}, which {found}; it must be a folder of images, as {_LAYOUT}.")
        inside = subfolders(folder)
        held_out = next((name for name in ("test", "val") if name in inside), None)
        if "train" in inside and held_out:
            train, test = list_images(folder, "train"), list_images(folder, held_out)
            differing = sorted(set(train.classes) ^ set(test.classes))
            if differing:
                raise UsageError(
                    f"{folder} has the class {differing[0]!r} in one of train and {held_out} only; both must have the "
                    "same class folders."
                )
            return train, test
        if inside and {name.casefold() for name in inside} <= _PARTS:
            raise UsageError(f"{folder} holds {' and '.join(inside)}; expected is {_LAYOUT}.")
        return (list_images(folder),)

    def _test_count(self, images: int) -> int:
        return min(max(round(self.test_share * images), 1), images - 1)

    def _refuse_bare_classes(self, train: Split, test: Split) -> None:
        for label, name in enumerate(train.classes):
            for part, split in (("training", train), ("test", test)):
                if not bool((split.labels == label).any()):
                    n = int((train.labels == label).sum()) + int((test.labels == label).sum())
                    raise UsageError(
                        f"The class {name!r} in {self.path} has {counted(n, 'image')}, of which a "
                        f"test_share of {self.test_share:g} leaves no {part} image; it must have more, or test_share be another."
                    )
