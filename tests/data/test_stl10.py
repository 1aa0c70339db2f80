"""Reading STL-10's files: what is accepted, and what is refused and how it is said."""

import io
import os
import socket
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from hardy.data import download, stl10
from hardy.data.stl10 import STL10
from hardy.errors import UsageError

COUNTS = {"train": 12, "test": 7}
NAMES = tuple(f"name {i}" for i in range(10))


def pixels(part: str, seed: int = 0) -> np.ndarray:
    """Uint8 (N, 3, 96, 96), upright."""
    n = COUNTS[part]
    return np.random.default_rng([seed, n]).integers(0, 256, (n, 3, 96, 96), dtype=np.uint8)


def labels(part: str) -> list[int]:
    return [(3 * i) % 10 for i in range(COUNTS[part])]


def write(root: Path) -> Path:
    folder = root / "stl10_binary"
    folder.mkdir(parents=True)
    for part in COUNTS:
        (folder / f"{part}_X.bin").write_bytes(pixels(part).transpose(0, 1, 3, 2).tobytes())
        (folder / f"{part}_y.bin").write_bytes(bytes(label + 1 for label in labels(part)))
    (folder / "class_names.txt").write_text("".join(f"{name}\n" for name in NAMES))
    return folder


@pytest.fixture(autouse=True)
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of a few images, a cache of its own, no data folder and no network."""
    monkeypatch.setattr(STL10, "_counts", tuple(COUNTS.values()))
    monkeypatch.setattr(download, "cache", lambda: tmp_path / "cache")
    monkeypatch.delenv("HARDY_DATA", raising=False)

    def refused(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refused)


# what is read


def test_the_images_are_read_upright_and_in_the_files_order(tmp_path: Path):
    folder = write(tmp_path)
    for part, split in zip(COUNTS, STL10().load(tmp_path, offline=True), strict=True):
        assert np.array_equal(split.images.numpy(), pixels(part))
        assert split.labels.tolist() == labels(part)
        assert split.indices.tolist() == list(range(COUNTS[part]))
        assert split.classes == NAMES
        assert split.shape == STL10().shape == (3, 96, 96)
        said = f"STL-10 {part}, {COUNTS[part]} images from {folder}; read as found on disk, checksum not compared"
        assert split.origin == said
    assert STL10().classes == 10


def test_a_pixel_lies_at_its_planes_column_then_row(tmp_path: Path):
    folder = write(tmp_path)
    image, plane, row, column = 5, 2, 3, 70
    data = bytearray(COUNTS["train"] * 27_648)
    data[image * 27_648 + plane * 9_216 + column * 96 + row] = 201
    (folder / "train_X.bin").write_bytes(data)
    train, _ = STL10().load(tmp_path)
    assert train.images.nonzero().tolist() == [[image, plane, row, column]]
    assert train.images.max() == 201


def test_pixels_that_begin_as_a_web_page_does_are_pixels(tmp_path: Path):
    folder = write(tmp_path)
    data = b"<!doctype html>" + (folder / "train_X.bin").read_bytes()[15:]
    (folder / "train_X.bin").write_bytes(data)
    assert STL10().load(tmp_path)[0].images[0, 0, :5, 0].tolist() == list(b"<!doc")


def test_an_archive_is_read_without_unpacking_its_unlabelled_images(tmp_path: Path):
    folder = write(tmp_path / "made")
    mine = tmp_path / "mine"
    mine.mkdir()
    with tarfile.open(mine / "stl10_binary.tar.gz", "w:gz", compresslevel=1) as tar:
        tar.add(folder, "stl10_binary")
        info = tarfile.TarInfo("stl10_binary/unlabeled_X.bin")
        info.size = 50_000
        tar.addfile(info, io.BytesIO(bytes(50_000)))
    train, _ = STL10().load(mine, offline=True)
    assert np.array_equal(train.images.numpy(), pixels("train"))
    kept = sorted(path.name for path in (tmp_path / "cache").rglob("*") if path.is_file())
    assert kept == sorted(path.name for path in folder.iterdir())


def test_files_are_read_once_and_anew_when_they_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = write(tmp_path)
    STL10().load(tmp_path)
    read = []
    original = stl10._read_bytes
    monkeypatch.setattr(stl10, "_read_bytes", lambda path, *rest: read.append(path.name) or original(path, *rest))
    STL10(first=3).load(tmp_path)
    assert read == []
    (folder / "test_X.bin").write_bytes(pixels("test", seed=1).transpose(0, 1, 3, 2).tobytes())
    os.utime(folder / "test_X.bin", ns=(1, 1))
    assert np.array_equal(STL10().load(tmp_path)[1].images.numpy(), pixels("test", seed=1))
    assert "test_X.bin" in read


# what is refused


def test_missing_files_are_named_with_the_places(tmp_path: Path):
    with pytest.raises(UsageError) as caught:
        STL10().load(tmp_path, offline=True)
    for part in ("STL-10", "test_y.bin", "class_names.txt", "stl10_binary.tar.gz", str(tmp_path), "/cache"):
        assert part in str(caught.value)


@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize("change", [-27_648, -1, 1])
def test_a_file_of_images_of_another_size_is_named_with_what_was_expected(tmp_path: Path, part: str, change: int):
    path = write(tmp_path) / f"{part}_X.bin"
    whole = COUNTS[part] * 27_648
    path.write_bytes((path.read_bytes() + b"\0")[: whole + change])
    with pytest.raises(UsageError) as caught:
        STL10().load(tmp_path)
    assert str(caught.value) == (
        f"{path} is truncated, damaged or not STL-10's: it holds {whole + change:,} bytes; "
        f"the release's file holds {whole:,}: {COUNTS[part]} images of 27,648 bytes."
    )


@pytest.mark.parametrize("size", [0, 11, 13])
def test_a_file_of_labels_of_another_size_is_named_with_what_was_expected(tmp_path: Path, size: int):
    path = write(tmp_path) / "train_y.bin"
    path.write_bytes(b"\1" * size)
    said = f"{path} .* holds {size} bytes; the release's file holds 12: 12 labels of 1 byte"
    with pytest.raises(UsageError, match=said):
        STL10().load(tmp_path)


@pytest.mark.parametrize(("wrong", "said"), [(0, "0..10"), (11, "1..11"), (255, "1..255")])
def test_labels_out_of_range_are_named(tmp_path: Path, wrong: int, said: str):
    path = write(tmp_path) / "test_y.bin"
    path.write_bytes(bytes([1, 10, 2, 3, 4, 5, wrong]))
    with pytest.raises(UsageError) as caught:
        STL10().load(tmp_path)
    assert str(caught.value) == f"The labels in {path} lie in {said}; they must lie in 1..10."


@pytest.mark.parametrize("name", ["train_X.bin", "test_y.bin", "class_names.txt"])
def test_a_web_page_under_a_files_name_is_named(tmp_path: Path, name: str):
    path = write(tmp_path) / name
    path.write_bytes(b"  \n<!doctype html><html>404</html>")
    with pytest.raises(UsageError, match=f"{path} is a web page, not "):
        STL10().load(tmp_path)


@pytest.mark.parametrize(("text", "n"), [("", 0), ("a\n" * 9, 9), ("a\n" * 11, 11), ("a b c d e f g h i j", 1)])
def test_a_list_without_ten_names_is_named(tmp_path: Path, text: str, n: int):
    path = write(tmp_path) / "class_names.txt"
    path.write_text(text)
    with pytest.raises(UsageError, match=f"{path} holds {n} names?; it must hold 10, one a line"):
        STL10().load(tmp_path)


# the real files

ROOT = os.environ.get("HARDY_DATA", "")
REAL_COUNTS = STL10._counts


@pytest.mark.data
def test_the_real_files_are_whole_and_balanced(monkeypatch: pytest.MonkeyPatch):
    if not (Path(ROOT) / "stl10_binary").is_dir() or not ROOT:
        pytest.skip("$HARDY_DATA has no folder stl10_binary")
    monkeypatch.setattr(STL10, "_counts", REAL_COUNTS)
    train, test = STL10(first=1000).load(Path(ROOT), offline=True)
    rest = STL10(first=1000).unused(Path(ROOT), offline=True)
    assert torch.cat([train.labels, rest.labels]).bincount().tolist() == [500] * 10
    assert test.labels.bincount().tolist() == [800] * 10
    assert " ".join(train.classes) == "airplane bird car cat deer dog horse monkey ship truck"
    # the sky is above: photographs are brighter in their upper half, not in their left one
    x = test.x()
    assert x[:, :, :48].mean() - x[:, :, 48:].mean() > 5 * (x[..., :48].mean() - x[..., 48:].mean()).abs()
