"""The user's own images: the two layouts, our own split, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hardy.data import download
from hardy.data.folder import Folder
from hardy.describe import describe, rebuild
from hardy.errors import UsageError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "cache", lambda: tmp_path / "cache")


def write(folder: Path, counts: dict[str, int]) -> Path:
    """So many images in each class folder, each of one colour of its own."""
    shade = 0
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for i in range(count):
            shade += 1
            Image.new("RGB", (8, 8), (shade, 255 - shade, 7)).save(folder / name / f"{i:02}.png")
    return folder


PARTS = {"train/cat": 3, "train/dog": 2, "test/cat": 1, "test/dog": 2}


def shades(split) -> list[int]:
    return split.images[:, 0, 0, 0].tolist()


# parts that the folder has


@pytest.mark.parametrize("held_out", ["test", "val"])
def test_train_and_test_folders_are_read_as_they_are(tmp_path: Path, held_out: str):
    folder = write(tmp_path / "mine", {name.replace("test", held_out): n for name, n in PARTS.items()})
    data = Folder(str(folder), size=8)
    train, test = data.load(offline=True)
    assert train.classes == test.classes == ("cat", "dog")
    assert (train.labels.tolist(), test.labels.tolist()) == ([0, 0, 0, 1, 1], [0, 1, 1])
    assert (shades(train), shades(test)) == ([1, 2, 3, 4, 5], [6, 7, 8])
    assert (train.indices.tolist(), test.indices.tolist()) == ([0, 1, 2, 3, 4], [0, 1, 2])
    assert (data.classes, data.training_images, data.shape) == (2, 5, train.shape)
    assert train.origin.startswith(f"folder train, 5 of 8 images of 2 classes from {folder}; content ")
    assert test.origin.startswith(f"folder test, 3 of 8 images of 2 classes from {folder}; content ")
    assert train.origin.endswith("; resized to 8 x 8 around the centre")


def test_of_test_and_val_test_is_the_test_set(tmp_path: Path):
    folder = write(tmp_path / "mine", PARTS | {"val/cat": 9, "val/dog": 9})
    train, test = Folder(str(folder)).load()
    assert (len(train), len(test)) == (5, 3)


@pytest.mark.parametrize("missing", ["train/dog", "test/dog"])
def test_a_class_that_only_one_part_has_is_named(tmp_path: Path, missing: str):
    counts = PARTS | {"train/eel": 1, "test/eel": 1}
    del counts[missing]
    folder = write(tmp_path / "mine", counts)
    with pytest.raises(UsageError, match=f"{folder} has the class 'dog' in one of train and test only; both must"):
        Folder(str(folder)).load()


@pytest.mark.parametrize("alone", ["train", "test", "val"])
def test_a_part_without_the_other_is_refused(tmp_path: Path, alone: str):
    folder = write(tmp_path / "mine", {f"{alone}/cat": 1, f"{alone}/dog": 1})
    with pytest.raises(UsageError, match=f"{folder} holds {alone}; expected is <class>/<image>, or train/<class>"):
        Folder(str(folder)).load()


@pytest.mark.parametrize("names", [("train", "valid"), ("training", "validation"), ("Test", "Train")])
def test_parts_of_other_names_are_not_taken_for_classes(tmp_path: Path, names: tuple[str, str]):
    folder = write(tmp_path / "mine", {f"{part}/{name}": 4 for part in names for name in ("cat", "dog")})
    said = f"{folder} holds {' and '.join(sorted(names))}; expected is <class>/<image>, or train/<class>"
    with pytest.raises(UsageError, match=said):
        Folder(str(folder)).load()


def test_a_class_may_be_named_train(tmp_path: Path):
    folder = write(tmp_path / "mine", {"car": 4, "train": 4})
    assert Folder(str(folder), test_share=0.25).load()[0].classes == ("car", "train")


# our own split


def test_a_part_of_every_class_is_held_out(tmp_path: Path):
    folder = write(tmp_path / "mine", {"cat": 20, "dog": 30})
    data = Folder(str(folder), size=8)
    train, test = data.load()
    assert (data.classes, data.training_images) == (2, 40)
    assert train.labels.bincount().tolist() == [16, 24]
    assert test.labels.bincount().tolist() == [4, 6]
    assert sorted(shades(train) + shades(test)) == list(range(1, 51))
    # an index is the image's place among all files
    assert shades(train) == (train.indices + 1).tolist()
    assert shades(test) == (test.indices + 1).tolist()
    assert "; our own split" in train.origin
    assert f"folder test, 10 of 50 images of 2 classes from {folder}; content " in test.origin


def test_the_split_is_always_the_same_whatever_the_size(tmp_path: Path):
    folder = write(tmp_path / "mine", {"cat": 9, "dog": 9})
    (train, test), (again, test_again) = Folder(str(folder), size=8).load(), Folder(str(folder), size=20).load()
    assert torch.equal(train.indices, again.indices)
    assert torch.equal(test.indices, test_again.indices)
    assert again.shape == (3, 20, 20)
    assert train.indices.tolist() != list(range(len(train)))


@pytest.mark.parametrize(("share", "held_out"), [(0.5, 5), (0.34, 3), (0.2, 2), (0.8, 8)])
def test_the_share_is_of_all_images(tmp_path: Path, share: float, held_out: int):
    data = Folder(str(write(tmp_path / "mine", {"cat": 5, "dog": 5})), test_share=share)
    train, test = data.load()
    assert len(test) == held_out
    assert len(train) == data.training_images == 10 - held_out


@pytest.mark.parametrize(
    ("counts", "share", "part"),
    [({"cat": 20, "dog": 1}, 0.2, "test"), ({"cat": 20, "dog": 1}, 0.8, "training")],
)
def test_a_class_too_small_to_be_split_is_named(tmp_path: Path, counts: dict[str, int], share: float, part: str):
    folder = write(tmp_path / "mine", counts)
    said = f"The class 'dog' in {folder} has 1 image, of which a test_share of {share:g} leaves no {part} image"
    with pytest.raises(UsageError, match=said):
        Folder(str(folder), test_share=share).load()


# as settings


def test_the_settings_are_rebuilt_from_their_description(tmp_path: Path):
    data = Folder("pictures", size=64, test_share=0.1)
    assert describe(data) == {"type": "Folder", "path": "pictures", "size": 64, "test_share": 0.1}
    assert rebuild(describe(data), Folder) == data


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"path": ""}, "path is ''; it must be a folder of images, as <class>/<image>"),
        ({"size": 7}, "size is 7; it must be an integer in 8..512"),
        ({"size": 513}, "size is 513"),
        ({"test_share": 0.0}, "test_share is 0.0; it must be above 0 and below 1"),
        ({"test_share": 1.0}, "test_share is 1.0"),
        ({"test_share": float("nan")}, "test_share is nan"),
    ],
)
def test_settings_out_of_range_are_refused(given: dict[str, object], said: str):
    with pytest.raises(UsageError, match=said):
        Folder(**{"path": "pictures", **given})


def test_a_path_that_is_missing_or_a_file_is_refused_by_everything_that_looks(tmp_path: Path):
    (tmp_path / "file.zip").write_text("")
    for name, found in (("none", "does not exist"), ("file.zip", "is a file")):
        data = Folder(str(tmp_path / name))
        for look in (Folder.load, lambda data: data.classes):
            with pytest.raises(UsageError, match=f"path is '{tmp_path / name}', which {found}; it must be a folder of"):
                look(data)


def test_how_many_images_there_are_is_unknown_while_the_path_does_not_exist(tmp_path: Path):
    assert Folder(str(tmp_path / "none")).training_images is None


def test_the_home_folder_may_be_abbreviated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path / "mine", PARTS)
    train, _ = Folder("~/mine").load()
    assert f"from {tmp_path / 'mine'};" in train.origin
    assert np.array_equal(shades(train), [1, 2, 3, 4, 5])
