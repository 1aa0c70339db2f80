"""Imagenette: which folder is read, its classes and counts, and what is refused."""

import os
import shutil
import socket
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from hardy.data import download, imagenette
from hardy.data.imagenette import Imagenette
from hardy.describe import describe, rebuild
from hardy.errors import UsageError

WNIDS = sorted(imagenette._CLASSES)
DATA = os.environ.get("HARDY_DATA", "")
WITNESSES = imagenette._RELEASE.files


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of its own, no data folder and no network."""
    monkeypatch.setattr(download, "cache", lambda: tmp_path / "cache")
    monkeypatch.delenv("HARDY_DATA", raising=False)

    def refused(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refused)


def write(folder: Path, blue: int = 0, train: int = 2, val: int = 1) -> Path:
    """A release of `train` and `val` images a class; red tells the class, green the part, blue the release."""
    for part, count in (("train", train), ("val", val)):
        for label, wnid in enumerate(WNIDS):
            (folder / part / wnid).mkdir(parents=True)
            for i in range(count):
                colour = (10 * label, 200 if part == "val" else 0, blue)
                Image.new("RGB", (12, 10), colour).save(folder / part / wnid / f"{wnid}_{i}.JPEG", quality=100)
    (folder / "noisy_imagenette.csv").write_text("path,noisy_labels_0\n")
    return folder


def blue(root: Path, size: int = 96) -> int:
    """Which release was read."""
    return round(float(Imagenette(size).load(root, offline=True)[0].images[:, 2].float().mean()))


def test_train_and_val_are_read_with_classes_in_words(tmp_path: Path):
    folder = write(tmp_path / "mine" / "imagenette2-160")
    train, test = Imagenette(size=16).load(tmp_path / "mine", offline=True)
    assert train.labels.tolist() == [label for label in range(10) for _ in range(2)]
    assert test.labels.tolist() == list(range(10))
    assert train.classes == test.classes
    assert train.classes[:3] == ("tench", "English springer", "cassette player")
    assert train.classes[8:] == ("golf ball", "parachute")
    for split, green in ((train, 0), (test, 200)):
        centre = split.images[:, :, 8, 8].int()
        assert int((centre[:, 0] - 10 * split.labels).abs().max()) <= 4
        assert int((centre[:, 1] - green).abs().max()) <= 4
    assert train.shape == Imagenette(size=16).shape == (3, 16, 16)
    assert train.indices.tolist() == list(range(20))
    how = f"from {folder}; read as found on disk, checksum not compared; content "
    assert train.origin.startswith(f"Imagenette train, 20 images (the release has 9,469) {how}")
    assert test.origin.startswith(f"Imagenette test, 10 images (the release has 3,925) {how}")


def test_the_releases_own_counts_need_no_remark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(imagenette, "_COUNTS", {"train": 20, "val": 10})
    write(tmp_path / "imagenette2")
    train, test = Imagenette(8).load(tmp_path, offline=True)
    assert train.origin.startswith("Imagenette train, 20 images from ")
    assert test.origin.startswith("Imagenette test, 10 images from ")
    assert Imagenette().training_images == 20


def test_of_several_releases_the_smallest_that_is_large_enough_is_read(tmp_path: Path):
    for side, shade in (("-96", 30), ("-160", 90), ("-320", 150), ("", 220)):
        write(tmp_path / f"imagenette2{side}", shade, 1)
    near = {}
    for size in (8, 96, 97, 160, 200, 320, 321, 512):
        near[size] = min((30, 90, 150, 220), key=lambda shade: abs(shade - blue(tmp_path, size)))
    assert near == {8: 30, 96: 30, 97: 90, 160: 90, 200: 150, 320: 150, 321: 220, 512: 220}
    shutil.rmtree(tmp_path / "imagenette2")
    assert abs(blue(tmp_path, 321) - 150) < 9


def test_the_root_may_be_the_release_itself(tmp_path: Path):
    folder = write(tmp_path / "renamed", 100)
    assert abs(blue(folder) - 100) < 9
    for i in range(3):  # as in ImageNet, of which ten classes are not the release
        (folder / "train" / f"n9999999{i}").mkdir()
    with pytest.raises(UsageError, match="Imagenette was not found"):
        blue(folder)


def test_the_variable_and_the_cache_are_looked_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write(tmp_path / "cache" / "imagenette2-96", 100, 1)
    assert f"from {tmp_path / 'cache' / 'imagenette2-96'};" in Imagenette().load(offline=True)[0].origin
    write(tmp_path / "mine" / "imagenette2", 100, 1)
    monkeypatch.setenv("HARDY_DATA", str(tmp_path / "mine"))
    assert f"from {tmp_path / 'mine' / 'imagenette2'};" in Imagenette().load(offline=True)[0].origin


def test_an_archive_is_unpacked_into_the_cache(tmp_path: Path):
    made = write(tmp_path / "made" / "imagenette2-160", train=1)
    for witness in WITNESSES:
        shutil.copy(next((made / witness).parent.iterdir()), made / witness)
    mine = tmp_path / "mine"
    mine.mkdir()
    with tarfile.open(mine / "imagenette2-160.tgz", "w:gz", compresslevel=1) as tar:
        tar.add(made, "imagenette2-160")
    train, test = Imagenette().load(mine, offline=True)
    assert (len(train), len(test)) == (11, 11)
    assert (
        f"from {mine / 'imagenette2-160.tgz'}; archive found on disk, its checksum is not the release's" in train.origin
    )
    again, _ = Imagenette().load(mine, offline=True)
    assert torch.equal(again.images, train.images)


def test_found_nowhere_the_address_and_the_folder_are_named(tmp_path: Path):
    with pytest.raises(UsageError) as caught:
        Imagenette().load(tmp_path, offline=True)
    for part in (imagenette._RELEASE.url, "a folder imagenette2-160", str(tmp_path), str(tmp_path / "cache")):
        assert part in str(caught.value)


@pytest.mark.parametrize("part", ["train", "val"])
def test_a_missing_class_is_named(tmp_path: Path, part: str):
    folder = write(tmp_path / "imagenette2-96", train=1)
    shutil.rmtree(folder / part / "n03417042")
    with pytest.raises(UsageError, match=f"{folder / part} lacks the class folder n03417042; expected are n01440764"):
        Imagenette().load(tmp_path, offline=True)


def test_a_damaged_image_is_named(tmp_path: Path):
    folder = write(tmp_path / "imagenette2-96", train=1)
    path = folder / "val" / "n03394916" / "n03394916_0.JPEG"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(UsageError, match=f"{path} is truncated, or damaged"):
        Imagenette().load(tmp_path, offline=True)


def test_the_settings_are_rebuilt_and_checked():
    assert describe(Imagenette(64)) == {"type": "Imagenette", "size": 64}
    assert rebuild(describe(Imagenette()), Imagenette) == Imagenette(96)
    assert (Imagenette().classes, Imagenette().training_images) == (10, 9_469)
    with pytest.raises(UsageError, match=r"size is 600; it must be an integer in 8\.\.512"):
        Imagenette(600)


def test_the_release_is_named_as_its_address_says():
    release = replace(imagenette._RELEASE)
    assert release.archive == f"{release.folder}.tgz"
    assert {witness.split("/")[1] for witness in release.files} <= set(WNIDS)


# the real files


@pytest.mark.data
def test_the_real_images_are_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    if not DATA or not any(Path(DATA).glob("imagenette2*/val")):
        pytest.skip("$HARDY_DATA has no imagenette2 folder")
    monkeypatch.setenv("HARDY_DATA", DATA)
    train, test = Imagenette(size=32).load(offline=True)
    assert (len(train), len(test)) == (9_469, 3_925)
    assert "the release has" not in train.origin
    assert 300 < int(test.labels.bincount().min()) < 450
    assert int(test.labels[:1000].bincount().min()) > 70  # any first ones are of all classes
    assert 0.4 < float(test.x().mean()) < 0.55
    assert torch.equal(Imagenette(size=32).load(offline=True)[1].images, test.images)
    folder = next(Path(DATA).glob("imagenette2*"))
    assert (folder / WITNESSES[0]).is_file()
    assert (folder / WITNESSES[1]).is_file()
