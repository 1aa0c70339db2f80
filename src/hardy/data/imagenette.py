"""Imagenette: ten easily told classes of ImageNet, from a release of any size."""

from dataclasses import replace
from pathlib import Path

from hardy.data.dataset import Dataset
from hardy.data.download import Found, Release, locate, places
from hardy.data.images import check_size, list_images, read_parts, subfolders
from hardy.data.split import Split
from hardy.describe import settings

_CLASSES = {
    "n01440764": "tench",
    "n02102040": "English springer",
    "n02979186": "cassette player",
    "n03000684": "chain saw",
    "n03028079": "church",
    "n03394916": "French horn",
    "n03417042": "garbage truck",
    "n03425413": "gas pump",
    "n03445777": "golf ball",
    "n03888257": "parachute",
}
_COUNTS = {"train": 9_469, "val": 3_925}  # images of the release
_NAME = "imagenette2"
_RELEASE = Release(
    title="Imagenette",
    url="https://s3.amazonaws.com/fast-ai-imageclas/imagenette2-160.tgz",
    md5="e793b78cc4c9e9a4ccc0c1155377a412",
    folder="imagenette2-160",
    # one image of each part stands for the 13,394: an archive is unpacked whole or not at all
    files=("train/n02979186/n02979186_9036.JPEG", "val/n01440764/ILSVRC2012_val_00009111.JPEG"),
)


@settings
class Imagenette(Dataset):
    """Imagenette: 9,469 training and 3,925 test images (the release's val) of 10 classes, resized to squares.

    A folder imagenette2, imagenette2-320, imagenette2-160 or imagenette2-<any side> is read; of several the smallest
    whose shorter side is at least `size`. Where there is none, imagenette2-160 is downloaded: for a larger size than
    160 its images are enlarged. How images are resized: see `Folder`.

    size: height and width in pixels, in 8..512.

    Source: Howard, "Imagenette", github.com/fastai/imagenette, 2019; the second version, of which 30 % are val.
    """

    size: int = 96

    def __post_init__(self) -> None:
        check_size(self.size)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(3, size, size)."""
        return 3, self.size, self.size

    @property
    def classes(self) -> int:
        """Ten."""
        return len(_CLASSES)

    @property
    def training_images(self) -> int:
        """9,469, as many as the release has."""
        return _COUNTS["train"]

    def load(self, root: Path | None = None, *, offline: bool = False) -> tuple[Split, Split]:
        """(train, test); test images in an order of which every beginning has the classes in proportion. See `Dataset.load`.

        Raises: also UsageError for a folder that lacks a class, or a damaged image.
        """
        found = self._find(root) or locate(_RELEASE, root, offline=offline)
        listings = [list_images(found.folder, part, tuple(_CLASSES)) for part in _COUNTS]
        (train, test), how = read_parts(found.folder, listings, self.size, tuple(_CLASSES.values()))
        made = []
        for split, name, of_release in ((train, "train", _COUNTS["train"]), (test, "test", _COUNTS["val"])):
            other = "" if len(split) == of_release else f" (the release has {of_release:,})"
            origin = f"Imagenette {name}, {len(split):,} images{other} {found.origin}; {how}"
            made.append(replace(split, origin=origin))
        return made[0], made[1].interleaved()

    def _find(self, root: Path | None) -> Found | None:
        """The release's folder as it lies on disk, of those in the first place that has any."""
        for place in places(root):
            there = [folder for folder in sorted(place.glob(f"{_NAME}*")) if _has_parts(folder)]
            # ImageNet itself has these class folders too, among others
            if _has_parts(place) and 0 < len(subfolders(place / "train")) <= len(_CLASSES):
                there.append(place)
            if there:
                folder = min(there, key=self._unfitness)
                return Found(folder, f"from {folder}; read as found on disk, checksum not compared")
        return None

    def _unfitness(self, folder: Path) -> tuple[bool, float]:
        side = folder.name.removeprefix(f"{_NAME}-")
        known = float(side) if side.isdecimal() else float("inf")  # imagenette2 has the original images
        return known < self.size, abs(known - self.size)


def _has_parts(folder: Path) -> bool:
    return all((folder / part).is_dir() for part in _COUNTS)
