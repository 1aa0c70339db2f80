"""Reading SVHN's MATLAB files: what is accepted, and what is refused and how it is said."""

import os
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import loadmat, savemat
from scipy.sparse import eye_array

from hardy.data import download, svhn
from hardy.data.svhn import SVHN, _read_split
from hardy.errors import UsageError

COUNTS = {"train": 12, "test": 7}


def pixels(part: str, seed: int = 0) -> np.ndarray:
    """Uint8 (N, 3, 32, 32)."""
    n = COUNTS[part]
    return np.random.default_rng([seed, n]).integers(0, 256, (n, 3, 32, 32), dtype=np.uint8)


def labels(part: str) -> list[int]:
    return [(3 * i) % 10 for i in range(COUNTS[part])]


def content(part: str = "train", seed: int = 0) -> dict[str, object]:
    """The variables of a file: the images last to first, the digit 0 called 10."""
    y = np.array([[label or 10] for label in labels(part)], np.uint8)
    return {"X": pixels(part, seed).transpose(2, 3, 1, 0), "y": y}


def save(path: Path, variables: dict[str, object], compressed: bool = True) -> Path:
    savemat(path, variables, do_compression=compressed)
    return path


def write(root: Path, inside: str = "svhn") -> Path:
    folder = root / inside
    folder.mkdir(parents=True, exist_ok=True)
    for part in COUNTS:
        save(folder / f"{part}_32x32.mat", content(part))
    return folder


@pytest.fixture(autouse=True)
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of a few images, a cache of its own, no data folder and no network."""
    monkeypatch.setattr(SVHN, "_counts", tuple(COUNTS.values()))
    monkeypatch.setattr(download, "cache", lambda: tmp_path / "cache")
    monkeypatch.delenv("HARDY_DATA", raising=False)

    def refused(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refused)


# what is read


@pytest.mark.parametrize("inside", ["", "svhn"])
def test_the_images_are_read_in_the_files_order(tmp_path: Path, inside: str):
    folder = write(tmp_path, inside)
    for part, split in zip(COUNTS, SVHN().load(tmp_path, offline=True), strict=True):
        assert np.array_equal(split.images.numpy(), pixels(part))
        assert split.labels.tolist() == labels(part)
        assert split.indices.tolist() == list(range(COUNTS[part]))
        assert split.classes == tuple("0123456789")
        assert split.shape == SVHN().shape == (3, 32, 32)
        said = f"SVHN {part}, {COUNTS[part]} images from {folder}; read as found on disk, checksum not compared"
        assert split.origin == said
    assert SVHN().classes == 10


def test_a_downloaded_file_and_one_on_disk_are_told_apart(tmp_path: Path):
    write(tmp_path / "made")
    mine, kept = tmp_path / "mine", tmp_path / "cache" / f"md5-{svhn._TEST.md5}" / "svhn"
    mine.mkdir()
    kept.mkdir(parents=True)
    (tmp_path / "made" / "svhn" / "train_32x32.mat").rename(mine / "train_32x32.mat")
    (tmp_path / "made" / "svhn" / "test_32x32.mat").rename(kept / "test_32x32.mat")
    train, test = SVHN().load(mine, offline=True)
    assert train.origin == f"SVHN train, 12 images from {mine}; read as found on disk, checksum not compared"
    assert test.origin == f"SVHN test, 7 images from {kept}; downloaded, checksum verified"


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("kind", [np.uint8, np.int32, np.float64])
def test_labels_may_be_stored_as_any_kind_of_number(tmp_path: Path, kind: type, compressed: bool):
    changed = content() | {"y": content()["y"].astype(kind)}
    split = _read_split(save(tmp_path / "a.mat", changed, compressed), 12)
    assert split.labels.dtype == torch.int64
    assert split.labels.tolist() == labels("train")


def test_variables_that_are_no_numbers_are_passed_over(tmp_path: Path):
    others = {"cell": np.array([["text"], [{"a": 1}]], dtype=object), "text": "abc", "complex": np.array([1j])}
    path = save(tmp_path / "a.mat", others | content())
    assert set(svhn._load(path)) == {"X", "y"}
    assert len(_read_split(path, 12)) == 12


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("kind", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"])
def test_arrays_are_read_as_scipy_reads_them(tmp_path: Path, kind: str, compressed: bool):
    values = np.random.default_rng(0).integers(0, 100, (3, 5, 2)).astype(kind)
    # sizes of 1 to 5 bytes lie on both sides of what a small element holds
    arrays = {"long_name": values, "a": values[:1, :1, 0], "b": values[:1, :3, 0], "c": values[:1, :5, 0]}
    path = save(tmp_path / "a.mat", arrays, compressed)
    theirs, ours = loadmat(path), svhn._load(path)
    assert set(ours) == set(arrays)
    for name, array in ours.items():
        assert array.dtype == theirs[name].dtype
        assert np.array_equal(array, theirs[name])


def test_files_are_read_once_and_anew_when_they_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = write(tmp_path)
    SVHN().load(tmp_path)
    read = []
    original = svhn._load
    monkeypatch.setattr(svhn, "_load", lambda path: read.append(path.name) or original(path))
    SVHN(first=3).load(tmp_path)
    assert read == []
    save(folder / "test_32x32.mat", content("test", seed=1))
    os.utime(folder / "test_32x32.mat", ns=(1, 1))
    assert np.array_equal(SVHN().load(tmp_path)[1].images.numpy(), pixels("test", seed=1))
    assert "test_32x32.mat" in read


# what is refused


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_missing_file_is_named_with_its_address_and_the_places(tmp_path: Path, part: str):
    (write(tmp_path) / f"{part}_32x32.mat").unlink()
    with pytest.raises(UsageError) as caught:
        SVHN().load(tmp_path, offline=True)
    address = f"http://ufldl.stanford.edu/housenumbers/{part}_32x32.mat"
    for said in (f"SVHN {part}", address, str(tmp_path), str(tmp_path / "cache"), f"svhn lacks {part}_32x32.mat"):
        assert said in str(caught.value)


def changed_y(place: int, value: float) -> np.ndarray:
    y = content()["y"].astype(np.float64)
    y[place] = value
    return y


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"X": pixels("train")}, r"The images in .* are uint8 \(12, 3, 32, 32\); they must be .* \(32, 32, 3, N\)"),
        ({"X": content()["X"][..., 0]}, r"are uint8 \(32, 32, 3\)"),
        ({"X": content()["X"].astype(np.float64)}, r"are float64 \(32, 32, 3, 12\)"),
        ({"X": content("test")["X"]}, r"holds 7 images; the release's file holds 12"),
        ({"y": content("test")["y"]}, r"The labels in .* are uint8 \(7, 1\); they must be numbers \(12, 1\)"),
        ({"y": content()["y"].T}, r"are uint8 \(1, 12\); they must be numbers \(12, 1\)"),
        ({"y": changed_y(3, 0)}, r"The labels in .* lie in 0\.\.10; they must be whole and lie in 1\.\.10"),
        ({"y": changed_y(3, 11)}, r"lie in 1\.\.11"),
        ({"y": changed_y(3, 2.5)}, r"lie in 1\.\.10; they must be whole"),
        ({"y": changed_y(3, np.nan)}, r"lie in nan\.\.nan; they must be whole"),
    ],
)
def test_variables_of_a_wrong_kind_shape_or_range_are_named(tmp_path: Path, change: dict[str, object], said: str):
    path = save(tmp_path / "train_32x32.mat", content() | change)
    with pytest.raises(UsageError, match=said) as caught:
        _read_split(path, 12)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["X", "y"])
@pytest.mark.parametrize(
    "value",
    [None, "text", {"a": 1}, np.full((12, 1), "text", dtype=object), np.array([1j]), eye_array(4, format="csc")],
    ids=["none", "text", "structure", "cells", "complex", "sparse"],
)
def test_a_file_without_numbers_for_images_or_labels_is_named(tmp_path: Path, name: str, value: object):
    variables = content() | {name: value}
    if value is None:
        del variables[name]
    path = save(tmp_path / "a.mat", variables)
    with pytest.raises(UsageError, match=f"{path} has no array of numbers '{name}', which the release's file has"):
        _read_split(path, 12)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"  \n<!doctype html>", "is a web page, not a MATLAB file"),
        (b"", "is truncated, damaged or not a MATLAB file"),
        (b"nothing of the kind", "is truncated, damaged or not a MATLAB file"),
        (b"nothing of the kind" * 100, "is truncated, damaged or not a MATLAB file"),
        (b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(400), "is truncated, damaged or not a MATLAB file"),
    ],
    ids=["web-page", "empty", "short", "noise", "version-7.3"],
)
def test_a_file_that_is_not_matlabs_is_named(tmp_path: Path, data: bytes, said: str):
    path = tmp_path / "train_32x32.mat"
    path.write_bytes(data)
    with pytest.raises(UsageError, match=f"{path} {said}"):
        _read_split(path, 12)


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("share", [0.001, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_named(tmp_path: Path, share: float, compressed: bool):
    path = save(tmp_path / "train_32x32.mat", content(), compressed)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(UsageError, match=f"{path} is truncated, damaged or not a MATLAB file"):
        _read_split(path, 12)


@pytest.mark.parametrize("compressed", [True, False])
def test_a_damaged_byte_never_gives_another_kind_of_error(tmp_path: Path, compressed: bool):
    path = save(tmp_path / "train_32x32.mat", content(), compressed)
    whole = path.read_bytes()
    refused = []
    for place in range(124, 220):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        try:
            _read_split(path, 12)
        except UsageError as error:
            refused.append(str(error))
    assert len(refused) > 30
    assert all(str(path) in message for message in refused)


# the real files

ROOT = os.environ.get("HARDY_DATA", "")
REAL_COUNTS = SVHN._counts


@pytest.mark.data
def test_the_real_files_are_whole(monkeypatch: pytest.MonkeyPatch):
    if not ROOT or any(release.missing(Path(ROOT) / "svhn") for release in (svhn._TRAIN, svhn._TEST)):
        pytest.skip("$HARDY_DATA has no folder svhn with both files")
    monkeypatch.setattr(SVHN, "_counts", REAL_COUNTS)
    train, test = SVHN(first=5000).load(Path(ROOT), offline=True)
    assert (len(train), SVHN(first=5000).unused_images, len(test)) == (5000, 68_257, 26_032)
    assert test.labels.bincount().argmax() == 1  # house numbers begin with 1 more often than with any other digit
    assert test.labels.bincount().min() > 1000
    assert 0.3 < float(test.x().mean()) < 0.6
