"""Reading CIFAR files: what is accepted, and what is refused and how it is said."""

import os
import pickle
import socket
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hardy.data import cifar, download
from hardy.data.cifar import CIFAR10, CIFAR100, _read_batch
from hardy.errors import UsageError

PER_FILE = 12


def pixels(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 3072), dtype=np.uint8)


def save(path: Path, content: object) -> Path:
    path.write_bytes(pickle.dumps(content, protocol=2))
    return path


def batch(n: int = PER_FILE, seed: int = 0, entry: bytes = b"labels", classes: int = 10) -> dict[bytes, object]:
    labels = [(seed + i) % classes for i in range(n)]
    return {b"batch_label": b"made up", entry: labels, b"data": pixels(n, seed), b"filenames": [b"a.png"] * n}


def write_cifar10(root: Path) -> Path:
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for i in range(1, 6):
        save(folder / f"data_batch_{i}", batch(seed=i))
    save(folder / "test_batch", batch(seed=6))
    save(folder / "batches.meta", {b"label_names": [b"name %d" % i for i in range(10)], b"num_vis": 3072})
    return folder


def write_cifar100(root: Path) -> Path:
    folder = root / "cifar-100-python"
    folder.mkdir(parents=True)
    for name, n, seed in (("train", 5 * PER_FILE, 1), ("test", PER_FILE, 2)):
        content = batch(n, seed, b"fine_labels", 100)
        save(folder / name, content | {b"coarse_labels": [i % 20 for i in range(n)]})
    names = {b"fine_label_names": [b"fine %d" % i for i in range(100)], b"coarse_label_names": [b"coarse"] * 20}
    save(folder / "meta", names)
    return folder


@pytest.fixture(autouse=True)
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of a dozen images, a cache of its own, no data folder and no network."""
    monkeypatch.setattr(CIFAR10, "_layout", replace(CIFAR10._layout, train_count=PER_FILE, test_count=PER_FILE))
    monkeypatch.setattr(CIFAR100, "_layout", replace(CIFAR100._layout, train_count=5 * PER_FILE, test_count=PER_FILE))
    monkeypatch.setattr(download, "cache", lambda: tmp_path / "cache")
    monkeypatch.delenv("HARDY_DATA", raising=False)

    def refused(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refused)


# what is read


def test_cifar10_is_read_in_the_files_order(tmp_path: Path):
    folder = write_cifar10(tmp_path)
    train, test = CIFAR10().load(tmp_path)
    assert (len(train), len(test)) == (5 * PER_FILE, PER_FILE)
    for i in range(5):
        part = slice(i * PER_FILE, (i + 1) * PER_FILE)
        assert np.array_equal(train.images[part].reshape(PER_FILE, 3072).numpy(), pixels(PER_FILE, i + 1))
        assert train.labels[part].tolist() == batch(seed=i + 1)[b"labels"]
    assert np.array_equal(test.images.reshape(PER_FILE, 3072).numpy(), pixels(PER_FILE, 6))
    assert train.indices.tolist() == list(range(5 * PER_FILE))
    assert train.classes[3] == "name 3"
    assert train.shape == test.shape == CIFAR10().shape == (3, 32, 32)
    assert CIFAR10().classes == len(train.classes) == 10
    assert train.origin == f"CIFAR-10 train, 60 images from {folder}; read as found on disk, checksum not compared"
    assert test.origin == f"CIFAR-10 test, 12 images from {folder}; read as found on disk, checksum not compared"


def test_cifar100_is_read_with_its_fine_labels(tmp_path: Path):
    write_cifar100(tmp_path)
    train, test = CIFAR100().load(tmp_path, offline=True)
    assert (len(train), len(test)) == (60, 12)
    assert train.labels.tolist() == batch(60, 1, b"fine_labels", 100)[b"fine_labels"]
    assert train.classes[99] == "fine 99"
    assert CIFAR100().classes == len(train.classes) == 100
    assert test.origin.startswith("CIFAR-100 test, 12 images from ")


def test_an_archive_of_the_files_is_read_too(tmp_path: Path):
    import tarfile

    write_cifar10(tmp_path / "made")
    mine = tmp_path / "mine"
    mine.mkdir()
    with tarfile.open(mine / "cifar-10-python.tar.gz", "w:gz", compresslevel=1) as tar:
        tar.add(tmp_path / "made" / "cifar-10-batches-py", "cifar-10-batches-py")
    train, _ = CIFAR10().load(mine, offline=True)
    direct, _ = CIFAR10().load(tmp_path / "made", offline=True)
    assert torch.equal(train.images, direct.images)
    expected = f"60 images from {mine}/cifar-10-python.tar.gz; archive found on disk, its checksum is not the release's"
    assert expected in train.origin


def test_files_are_read_once_and_anew_when_they_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = write_cifar10(tmp_path)
    CIFAR10().load(tmp_path)
    read = []
    original = cifar.unpickle
    monkeypatch.setattr(cifar, "unpickle", lambda path, what: read.append(path.name) or original(path, what))
    CIFAR10(first=3).load(tmp_path)
    assert read == []
    save(folder / "test_batch", batch(seed=9))
    os.utime(folder / "test_batch", ns=(1, 1))
    assert np.array_equal(CIFAR10().load(tmp_path)[1].images.reshape(-1, 3072).numpy(), pixels(PER_FILE, 9))
    assert "test_batch" in read


def test_labels_may_be_an_array_and_keys_text(tmp_path: Path):
    content = {"data": pixels(3, 0), "labels": np.array([0, 9, 4])}
    images, labels = _read_batch(save(tmp_path / "b", content), b"labels", 10)
    assert images.shape == (3, 3072)
    assert labels == [0, 9, 4]


# what is refused


def test_missing_files_are_named_with_the_places(tmp_path: Path):
    with pytest.raises(UsageError) as caught:
        CIFAR10().load(tmp_path, offline=True)
    for part in ("data_batch_5", "batches.meta", "cifar-10-python.tar.gz", str(tmp_path), str(tmp_path / "cache")):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({b"data": pixels(12, 0)[:, :3071].copy()}, "The images in .* are uint8 \\(12, 3071\\)"),
        ({b"data": pixels(12, 0).reshape(12, 3, 1024)}, "are uint8 \\(12, 3, 1024\\)"),
        ({b"data": pixels(12, 0).astype(np.int64)}, "are int64 \\(12, 3072\\)"),
        ({b"data": [1, 2, 3]}, "The images in .* are list"),
        ({b"labels": [0] * 11}, "holds 11 labels for 12 images"),
        ({b"labels": [0] * 11 + [10]}, "The labels in .* lie in 0..10; they must lie in 0..9"),
        ({b"labels": [0] * 11 + [-1]}, "lie in -1..0"),
        ({b"labels": [0.5] * 12}, "The labels in .* must be a list of integers"),
        ({b"labels": "000000000000"}, "must be a list of integers"),
        ({b"labels": np.zeros((12, 1), np.int64)}, "must be a list of integers"),
    ],
)
def test_a_batch_of_wrong_shape_kind_or_range_is_named(tmp_path: Path, change: dict[bytes, object], said: str):
    path = save(tmp_path / "data_batch_3", batch() | change)
    with pytest.raises(UsageError, match=said) as caught:
        _read_batch(path, b"labels", 10)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("entry", [b"data", b"labels"])
def test_a_batch_without_images_or_labels_is_named(tmp_path: Path, entry: bytes):
    content = batch()
    del content[entry]
    path = save(tmp_path / "b", content)
    with pytest.raises(UsageError, match=f"{path} has no entry '{entry.decode()}'"):
        _read_batch(path, b"labels", 10)


def test_a_file_with_too_few_images_is_named(tmp_path: Path):
    folder = write_cifar10(tmp_path)
    save(folder / "data_batch_4", batch(n=11))
    with pytest.raises(UsageError, match=f"{folder / 'data_batch_4'} holds 11 images; the release's file holds 12"):
        CIFAR10().load(tmp_path)


@pytest.mark.parametrize("names", [[b"a"] * 9, [1] * 10, b"abcdefghij"])
def test_a_meta_file_without_ten_names_is_named(tmp_path: Path, names: object):
    folder = write_cifar10(tmp_path)
    save(folder / "batches.meta", {b"label_names": names})
    with pytest.raises(UsageError, match=r"The label_names in .*batches\.meta must be a list of 10 names"):
        CIFAR10().load(tmp_path)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"  \n<!doctype html>", "is a web page, not a CIFAR pickle"),
        (b"", "is truncated, damaged or not a CIFAR pickle"),
        (b"nothing of the kind", "is truncated, damaged or not a CIFAR pickle"),
        (pickle.dumps([1, 2], protocol=2), "holds a list; a CIFAR file holds a dictionary"),
    ],
)
def test_a_file_that_is_no_batch_is_named(tmp_path: Path, data: bytes, said: str):
    path = tmp_path / "test_batch"
    path.write_bytes(data)
    with pytest.raises(UsageError, match=f"{path} {said}"):
        _read_batch(path, b"labels", 10)


@pytest.mark.parametrize("share", [0.001, 0.3, 0.9, 0.999])
def test_a_truncated_pickle_is_named(tmp_path: Path, share: float):
    whole = pickle.dumps(batch(), protocol=2)
    path = tmp_path / "data_batch_2"
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(UsageError, match=f"{path} is truncated, damaged or not a CIFAR pickle"):
        _read_batch(path, b"labels", 10)


# the real files


def real(folder: str) -> Path:
    root = os.environ.get("HARDY_DATA", "")
    if not root:
        pytest.skip("$HARDY_DATA is not set")
    if not (Path(root) / folder).is_dir():
        pytest.skip(f"$HARDY_DATA has no folder {folder}")
    return Path(root)


REAL = {CIFAR10: ("cifar-10-batches-py", cifar._CIFAR10), CIFAR100: ("cifar-100-python", cifar._CIFAR100)}
ROOTS = {"HARDY_DATA": os.environ.get("HARDY_DATA", "")}


@pytest.mark.data
@pytest.mark.parametrize("data", [CIFAR10, CIFAR100])
def test_the_real_files_are_whole_and_balanced(data, monkeypatch: pytest.MonkeyPatch):
    folder, layout = REAL[data]
    monkeypatch.setenv("HARDY_DATA", ROOTS["HARDY_DATA"])
    root = real(folder)
    monkeypatch.setattr(data, "_layout", layout)
    train, test = data(first=5000).load(offline=True)
    rest = data(first=5000).unused(offline=True)
    assert (len(train), len(rest), len(test)) == (5000, 45_000, 10_000)
    every = torch.cat([train.labels, rest.labels]).bincount()
    assert every.tolist() == [50_000 // layout.classes] * layout.classes
    assert test.labels.bincount().tolist() == [10_000 // layout.classes] * layout.classes
    assert str(root) in train.origin
    assert train.classes[0] == {10: "airplane", 100: "apple"}[layout.classes]
    assert 0.4 < float(test.x().mean()) < 0.55
