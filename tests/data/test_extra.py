"""Extra images: the two formats, what must fit, damage, and the order in which a training sees them."""

import io
import itertools
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hardy.data.extra import Extra, extra_batches
from hardy.data.split import Split
from hardy.describe import describe, rebuild
from hardy.errors import UsageError
from hardy.randomness import Noise

N, CLASSES = 12, 10
NOISE = Noise.of_batch(1, 3, purpose="extra")


def pixels(n: int = N, side: int = 6) -> np.ndarray:
    return np.random.default_rng(n).integers(0, 256, (n, side, side, 3), dtype=np.uint8)


def labels(n: int = N) -> np.ndarray:
    return np.arange(n) % CLASSES


def split(n: int = 2, side: int = 6) -> Split:
    """As the training images are, or n images that tell their number."""
    images = torch.arange(n, dtype=torch.uint8).view(n, 1, 1, 1).expand(n, 3, side, side).contiguous()
    names = tuple(f"name {i}" for i in range(CLASSES))
    return Split(images, torch.arange(n) % CLASSES, names, torch.arange(n), "made up")


def archive(path: Path, **arrays: np.ndarray) -> Path:
    with path.open("wb") as file:
        np.savez(file, **arrays)
    return path


def pickled(path: Path, protocol: int = 4, **entries: object) -> Path:
    path.write_bytes(pickle.dumps(entries, protocol=protocol))
    return path


def load(path: Path) -> Split:
    return Extra(str(path)).load(split())


# what is read


def expect(found: Split) -> None:
    assert torch.equal(found.images.permute(0, 2, 3, 1), torch.from_numpy(pixels()))
    assert found.images.is_contiguous()
    assert found.labels.tolist() == labels().tolist()
    assert found.indices.tolist() == list(range(N))
    assert found.classes == split().classes
    assert found.shape == split().shape


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.uint8])
@pytest.mark.parametrize("name", ["1m.npz", "pseudo.pickle"])
def test_an_archive_of_generated_images_is_read_whatever_its_name(tmp_path: Path, kind: type, name: str):
    path = archive(tmp_path / name, image=pixels(), label=labels().astype(kind))
    found = load(path)
    expect(found)
    assert found.origin == f"extra data, 12 generated images from {path}; read as found on disk, no checksum known"


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("targets", [labels(), labels().tolist()], ids=["array", "list"])
def test_a_pickle_of_pseudo_labelled_images_is_read_whatever_its_name(tmp_path: Path, protocol: int, targets: object):
    path = pickled(tmp_path / "x.npz", protocol, data=pixels(), extrapolated_targets=targets, prediction_model="wide")
    found = load(path)
    expect(found)
    assert found.origin.startswith(f"extra data, 12 pseudo-labelled images from {path};")


def test_a_compressed_archive_with_more_entries_is_read(tmp_path: Path):
    path = tmp_path / "x.npz"
    with path.open("wb") as file:
        np.savez_compressed(file, image=pixels(), label=labels(), seed=np.array(1))
    expect(load(path))


# what is refused


@pytest.mark.parametrize("write", [archive, pickled])
@pytest.mark.parametrize(
    ("images", "targets", "said"),
    [
        (pixels(side=5), labels(), r"images in .* are uint8 \(12, 5, 5, 3\); they must be uint8 \(N, 6, 6, 3\)"),
        (pixels().transpose(0, 3, 1, 2), labels(), r"are uint8 \(12, 3, 6, 6\); they must be uint8 \(N, 6, 6, 3\)"),
        (pixels().astype(np.int64), labels(), r"are int64 \(12, 6, 6, 3\)"),
        (pixels()[0], labels(), r"are uint8 \(6, 6, 3\)"),
        (pixels()[:0].copy(), labels()[:0], r"are uint8 \(0, 6, 6, 3\); .* at least one"),
        (pixels(), labels()[:11], r"labels in .* are int64 \(11,\); they must be integers \(12,\), one for each image"),
        (pixels(), labels()[:, None], r"are int64 \(12, 1\)"),
        (pixels(), labels() + 1, "labels in .* lie in 1..10; they must lie in 0..9"),
        (pixels(), labels() - 1, "lie in -1..8"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, write, images: np.ndarray, targets: np.ndarray, said: str):
    names = ("image", "label") if write is archive else ("data", "extrapolated_targets")
    path = write(tmp_path / "x", **dict(zip(names, (images, targets), strict=True)))
    with pytest.raises(UsageError, match=said) as caught:
        load(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        (np.zeros(N), r"labels in .* are float64 \(12,\); they must be integers"),
        (np.zeros(N, bool), r"labels in .* are bool"),
        (np.full(N, 2**64 - 1, np.uint64), "lie in 18446744073709551615..18446744073709551615"),
        (np.array(["a"] * N), "labels in .* are <U1"),
        (np.array([None] * N), "is truncated, damaged or not an npz archive of plain arrays: Object arrays"),
    ],
)
def test_labels_of_another_kind_are_refused(tmp_path: Path, targets: np.ndarray, said: str):
    path = archive(tmp_path / "x.npz", image=pixels(), label=targets)
    with pytest.raises(UsageError, match=said):
        load(path)


@pytest.mark.parametrize("targets", [[0.5] * N, ["a"] * N, [2**63] * N, [True] * N, None, {}], ids=str)
def test_pickled_labels_that_are_no_integers_are_refused(tmp_path: Path, targets: object):
    path = pickled(tmp_path / "x", data=pixels(), extrapolated_targets=targets)
    kind = type(targets).__name__
    with pytest.raises(
        UsageError, match=f"extrapolated_targets of {path} is a {kind}; it must be an array of integers"
    ):
        load(path)


def test_missing_entries_are_named_with_those_there_are(tmp_path: Path):
    path = archive(tmp_path / "x.npz", images=pixels(), label=labels())
    with pytest.raises(UsageError, match=f"{path} holds images, label; it must hold image and label"):
        load(path)
    path = pickled(tmp_path / "x", data=pixels())
    with pytest.raises(UsageError, match=f"{path} holds data; it must hold data and extrapolated_targets"):
        load(path)
    with pytest.raises(UsageError, match="holds nothing; it must hold data"):
        load(pickled(tmp_path / "x"))


def test_what_is_neither_format_is_refused(tmp_path: Path):
    path = tmp_path / "x.npz"
    contents = {
        b"<html>404": f"{path} is a web page, not an npz archive or a pickle of extra images",
        b"": f"{path} begins with b''; it must be an npz archive with image and label, or a pickle",
        b"\x93NUMPY": "begins with b'.x93N'; it must be",
        b"\x1f\x8b\x08": "begins with b'.x1f.x8b'; it must be",
        b"PK": f"{path} is truncated, damaged or not an npz archive",
        b"\x80\x04": f"{path} is truncated, damaged or not a pseudo-label pickle",
        pickle.dumps([1]): "holds a list; a pseudo-label file holds a dictionary",
    }
    for content, said in contents.items():
        path.write_bytes(content)
        with pytest.raises(UsageError, match=said):
            load(path)
    with pytest.raises(UsageError, match=f"{tmp_path} cannot be read: Is a directory"):
        load(tmp_path)
    with pytest.raises(UsageError, match=f"{tmp_path / 'none'} cannot be read: No such file"):
        load(tmp_path / "none")


def test_a_zip_of_other_things_is_refused(tmp_path: Path):
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("image", b"not an array")
        made.writestr("label", b"neither")
    with pytest.raises(UsageError, match=f"The entry image of {path} is a bytes; it must be an array of integers"):
        load(path)


def test_a_pickle_that_runs_a_command_is_refused(tmp_path: Path):
    path = tmp_path / "x"
    path.write_bytes(b"\x80\x02cposix\nsystem\n(U\x04truetR.")
    with pytest.raises(UsageError, match=r"it asks for posix\.system, which no pseudo-label file needs"):
        load(path)


def _written(kind: str) -> bytes:
    if kind == "pickle":
        return pickle.dumps({"data": pixels(2), "extrapolated_targets": labels(2)}, protocol=5)
    file = io.BytesIO()
    (np.savez_compressed if kind == "compressed" else np.savez)(file, image=pixels(2), label=labels(2))
    return file.getvalue()


WHOLE = {kind: _written(kind) for kind in ("pickle", "plain", "compressed")}


@pytest.mark.parametrize("kind", ["plain", "compressed"])
@pytest.mark.parametrize("share", [0.01, 0.3, 0.7, 0.99])
def test_a_truncated_archive_is_named(tmp_path: Path, kind: str, share: float):
    path = tmp_path / "x.npz"
    path.write_bytes(WHOLE[kind][: int(len(WHOLE[kind]) * share)])
    with pytest.raises(UsageError, match=f"{path} is truncated, damaged or not an npz archive"):
        load(path)


def test_a_flipped_bit_among_the_pixels_of_an_archive_is_noticed(tmp_path: Path):
    content = bytearray(WHOLE["plain"])
    content[content.index(pixels(2).tobytes()) + 50] ^= 4
    path = tmp_path / "x.npz"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=f"{path} is truncated, damaged or not an npz archive .*CRC"):
        load(path)


@settings(max_examples=50, deadline=None)
@given(
    st.sampled_from(sorted(WHOLE)),
    st.integers(0, 2**12),
    st.lists(st.tuples(st.integers(0, 2**14), st.integers(0, 7)), min_size=1, max_size=3),
)
def test_flipped_bits_and_lost_ends_give_a_split_or_a_usage_error(tmp_path_factory, kind, lost, flips):
    content = bytearray(WHOLE[kind])
    for place, bit in flips:
        content[place % len(content)] ^= 1 << bit
    path = tmp_path_factory.getbasetemp() / "flipped-extra"
    path.write_bytes(content[: len(content) - lost % len(content)] if lost % 2 else content)
    try:
        found, said = load(path), str(path)
    except UsageError as error:
        found, said = split(), str(error)
    assert found.shape == (3, 6, 6)
    assert str(path) in said


# the settings


def test_the_settings_are_rebuilt_and_checked():
    extra = Extra("1m.npz", fraction=0.7)
    assert describe(extra) == {"type": "Extra", "path": "1m.npz", "fraction": 0.7}
    assert rebuild(describe(extra), Extra) == extra
    for fraction in (0.0, 1.0, -0.5):
        with pytest.raises(UsageError, match=f"fraction is {fraction}; it must be above 0 and below 1"):
            Extra("x", fraction)
    with pytest.raises(UsageError, match="path is ''; it must be a file of extra images"):
        Extra("")


# the order


def numbers(size: int, steps: int, start: int = 0, n: int = 11, noise: Noise = NOISE) -> list[list[int]]:
    """Which images the steps see."""
    taken = itertools.islice(extra_batches(split(n), size, noise, start), steps)
    return [(x[:, 0, 0, 0] * 255).round().int().tolist() for x, _ in taken]


def test_every_pass_shows_each_image_at_most_once_in_an_order_of_its_own():
    steps = numbers(3, 9)
    assert all(len(step) == 3 for step in steps)
    passes = [list(itertools.chain(*steps[first : first + 3])) for first in (0, 3, 6)]
    for shown in passes:
        assert len(set(shown)) == 9
    assert passes[0] != passes[1] != passes[2]
    left_out = [set(range(11)) - set(shown) for shown in passes]
    assert len({frozenset(out) for out in left_out}) > 1


def test_the_order_of_a_pass_is_that_of_the_noise_at_its_draw():
    order = NOISE.draw(1).shared.permutation(11)[0].tolist()
    assert numbers(3, 6)[3:] == [order[0:3], order[3:6], order[6:9]]


@pytest.mark.parametrize("start", range(8))
def test_a_resumed_run_sees_the_same_images(start: int):
    assert numbers(3, 4, start) == numbers(3, 12)[start : start + 4]


def test_another_seed_gives_another_order():
    assert numbers(3, 3) != numbers(3, 3, noise=Noise.of_batch(1, 4, purpose="extra"))


def test_labels_belong_to_the_images():
    for x, y in itertools.islice(extra_batches(split(11), 4, NOISE), 5):
        assert ((x[:, 0, 0, 0] * 255).round().long() % CLASSES).tolist() == y.tolist()
        assert x.dtype == torch.float32


def test_a_permutation_is_drawn_once_a_pass(monkeypatch: pytest.MonkeyPatch):
    drawn = []
    original = Noise.permutation
    monkeypatch.setattr(Noise, "permutation", lambda self, n: drawn.append(self.draws) or original(self, n))
    numbers(2, 10)
    assert drawn == [0, 1]


@pytest.mark.parametrize("size", [0, 12])
def test_a_batch_larger_than_the_data_is_refused_at_once(size: int):
    with pytest.raises(UsageError, match=f"number of extra images in a batch is {size}; it must be in 1..11"):
        extra_batches(split(11), size, NOISE)
    assert len(numbers(11, 2)) == 2
