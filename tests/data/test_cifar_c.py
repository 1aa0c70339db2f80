"""CIFAR-10-C and CIFAR-100-C: what is read of the released arrays, and what is refused and how it is said."""

import os
import socket
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hardy.data import download
from hardy.data.cifar_c import RELEASES, Released
from hardy.data.corruptions import KINDS
from hardy.data.split import Split
from hardy.errors import UsageError

SHAPE = (50_000, 32, 32, 3)


def labels(classes: int = 10) -> np.ndarray:
    return np.tile((np.arange(10_000) * 7 % classes).astype(np.uint8), 5)


def split(indices, classes: int = 10) -> Split:
    """Test images of CIFAR, all black."""
    at = torch.as_tensor(indices)
    made = torch.zeros(len(at), 3, 32, 32, dtype=torch.uint8)
    names = tuple(f"class {i}" for i in range(classes))
    return Split(made, torch.from_numpy(labels(classes)[at.numpy()].astype(np.int64)), names, at, origin="CIFAR test")


def release(root: Path, classes: int = 10) -> Path:
    """A release's folder, of arrays in the release's format; what is not written of them takes no room on the disk."""
    folder = root / RELEASES[classes].folder
    folder.mkdir(parents=True)
    np.save(folder / "labels.npy", labels(classes))
    for number, kind in enumerate(KINDS):
        array = np.lib.format.open_memmap(folder / f"{kind}.npy", mode="w+", dtype=np.uint8, shape=SHAPE)
        for severity in range(5):
            for image in (0, 3, 9_999):
                array[10_000 * severity + image, 5, 7] = number, severity, image % 256
    return folder


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """A folder with both releases; tests must not change it."""
    root = tmp_path_factory.mktemp("released")
    for classes in RELEASES:
        release(root, classes)
    return root


@pytest.fixture(autouse=True)
def offline(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "cache", lambda: tmp_path / "cache")
    monkeypatch.delenv("HARDY_DATA", raising=False)

    def refused(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refused)


@pytest.mark.parametrize("classes", [10, 100])
def test_images_are_those_of_their_type_severity_and_place(released, classes):
    part = split([9_999, 0, 3], classes)
    found = Released.of(part, released, offline=True)
    for number, kind in enumerate(KINDS):
        for severity in (1, 4, 5):
            x = found.images(kind, severity, part)
            assert x.shape == (3, 3, 32, 32)
            assert x.dtype == torch.uint8
            assert x[:, :, 5, 7].tolist() == [[number, severity - 1, image % 256] for image in (9_999, 0, 3)]
            assert int(x.count_nonzero()) == int(x[:, :, 5, 7].count_nonzero())
    assert found.says.startswith(f"CIFAR-{classes}-C from {released}")
    assert found.settings("snow", 2) == {"images": found.says}


def test_what_is_read_is_writable_and_does_not_touch_the_files(released):
    part = split([0])
    before = (released / "CIFAR-10-C" / "snow.npy").stat().st_mtime_ns
    Released.of(part, released, offline=True).images("snow", 1, part).fill_(9)
    assert (released / "CIFAR-10-C" / "snow.npy").stat().st_mtime_ns == before


def test_a_file_that_is_damaged_on_the_way_is_told_too(tmp_path, released):
    root = spoilt(tmp_path, released, "fog.npy", lambda path: path.symlink_to(released / "CIFAR-10-C" / "fog.npy"))
    found = Released.of(split([0]), root, offline=True)
    (root / "CIFAR-10-C" / "fog.npy").unlink()
    with pytest.raises(UsageError, match=r"fog.npy cannot be read: No such file"):
        found.images("fog", 1, split([0]))


def test_the_archive_is_unpacked_into_the_cache(tmp_path):
    np.save(tmp_path / "short.npy", labels()[:1])
    with tarfile.open(tmp_path / "CIFAR-10-C.tar", "w") as tar:
        for name in RELEASES[10].files:
            tar.add(tmp_path / "short.npy", f"CIFAR-10-C/{name}")
    with pytest.raises(UsageError, match=r"labels.npy are uint8 \(1,\); they must be integers \(50000,\)"):
        Released.of(split([0]), tmp_path, offline=True)
    assert (tmp_path / "cache").is_dir()


def spoilt(root: Path, whole: Path, name: str, change) -> Path:
    """A folder that links to the files of a release, all but one, which is changed."""
    folder = root / "CIFAR-10-C"
    folder.mkdir()
    for file in (whole / "CIFAR-10-C").iterdir():
        (folder / file.name).symlink_to(file)
    (folder / name).unlink()
    change(folder / name)
    return root


def truncated(path: Path) -> None:
    np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=SHAPE).flush()
    os.truncate(path, 1_000_000)


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("snow.npy", truncated, "snow.npy is truncated, damaged or not an array of images"),
        ("snow.npy", lambda path: path.write_bytes(b""), "snow.npy is truncated, damaged or not an array of images"),
        ("snow.npy", lambda path: path.write_text("<html>404</html>"), "snow.npy is a web page, not an array of images"),
        ("snow.npy", lambda path: np.save(path, np.zeros((5, 32, 32, 3), np.uint8)),
         r"The images in .*snow.npy are uint8 \(5, 32, 32, 3\); they must be uint8 \(50000, 32, 32, 3\)"),
        ("snow.npy", lambda path: np.save(path, np.zeros(5)), r"are float64 \(5,\); they must be uint8"),
        ("snow.npy", lambda path: np.save(path, np.array([{}]), allow_pickle=True), "damaged or not an array of images"),
        ("labels.npy", lambda path: np.save(path, labels()[:10_000]), r"are uint8 \(10000,\); they must be integers \(50000,\)"),
        ("labels.npy", lambda path: np.save(path, labels().astype(float)), r"are float64 \(50000,\); they must be integers"),
        ("labels.npy", lambda path: np.save(path, labels() + 1), "are not those of CIFAR test; CIFAR-10-C belongs to the test"),
        ("labels.npy", lambda path: np.save(path, np.roll(labels(), 10_001)), "are not those of CIFAR test"),
    ],
)  # fmt: skip
def test_files_that_are_not_the_releases_are_refused(tmp_path, released, name, change, said):
    root = spoilt(tmp_path, released, name, change)
    with pytest.raises(UsageError, match=said):
        Released.of(split([0, 3]), root, offline=True)


def test_images_of_other_data_or_places_are_refused(tmp_path, released):
    first = split([0])
    grey = replace(first, images=first.images[:, :1], origin="ten digits")
    with pytest.raises(UsageError, match="for CIFAR-10 and CIFAR-100, not for ten digits; for others they are made"):
        Released.of(grey, released, offline=True)
    with pytest.raises(UsageError, match="are not those of CIFAR test"):
        Released.of(replace(first, indices=torch.tensor([10_000])), released, offline=True)
    with pytest.raises(UsageError, match=r"CIFAR-10-C was not found, and offline nothing is downloaded"):
        Released.of(first, tmp_path, offline=True)
    part = tmp_path / "part" / "CIFAR-10-C"
    part.mkdir(parents=True)
    np.save(part / "labels.npy", labels())
    with pytest.raises(UsageError, match=r"CIFAR-10-C lacks gaussian_noise.npy, shot_noise.npy"):
        Released.of(first, part.parent, offline=True)


def test_addresses_are_those_of_the_records():
    assert RELEASES[10].url == "https://zenodo.org/records/2535967/files/CIFAR-10-C.tar"
    assert RELEASES[100].url == "https://zenodo.org/records/3555552/files/CIFAR-100-C.tar"
    assert len(RELEASES[10].files) == 20
