"""Reading folders of image files: the pixels, the cache, and every damage's sentence."""

import contextlib
import io
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hardy.data import download, images
from hardy.data.images import check_size, list_images, read_parts, subfolders
from hardy.errors import FailedError, UsageError


def picture(width: int = 20, height: int = 16, seed: int = 0) -> Image.Image:
    """Smooth, so that a format that loses something loses little."""
    wave = np.random.default_rng(seed).uniform(1, 5, (3, 2))
    y, x = np.mgrid[:height, :width] / max(width, height)
    planes = [127 + 120 * np.sin(a * x + b * y + i) for i, (a, b) in enumerate(wave)]
    return Image.fromarray(np.stack(planes, 2).round().astype(np.uint8))


def save(path: Path, image: Image.Image | None = None, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    (image or picture()).save(path, **options)
    return path


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(download, "cache", lambda: tmp_path / "cache")
    return tmp_path / "cache" / "folders"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of three and two images."""
    made = tmp_path / "mine"
    for i, name in enumerate(("cat/a.png", "cat/b.png", "cat/c.png", "dog/a.png", "dog/b.png")):
        save(made / name, picture(seed=i))
    return made


def read(folder: Path, size: int = 8) -> tuple[torch.Tensor, str]:
    listing = list_images(folder)
    (split,), how = read_parts(folder, [listing], size, listing.classes)
    return split.images, how


def one(path: Path, size: int = 8) -> np.ndarray:
    return images._decode(path, size).transpose(1, 2, 0)


# what a folder holds


def test_images_are_listed_class_by_class_and_sorted_within(tmp_path: Path):
    for name in ("b/2.png", "b/10.png", "b/deep/er/1.png", "a-b/x.JPG", "a/z.png", "b/deep.png"):
        save(tmp_path / name)
    listing = list_images(tmp_path)
    assert listing.classes == ("a", "a-b", "b")
    assert listing.names == ("a/z.png", "a-b/x.JPG", "b/10.png", "b/2.png", "b/deep.png", "b/deep/er/1.png")
    assert listing.labels == (0, 1, 2, 2, 2, 2)
    assert listing.others == 0


@pytest.mark.parametrize("ending", ["jpg", "jpeg", "JPEG", "png", "Png", "bmp", "webp", "ppm", "pgm"])
def test_every_kind_of_file_is_an_image_whatever_the_case(tmp_path: Path, ending: str):
    mode = "L" if ending == "pgm" else "RGB"
    path = save(tmp_path / "a" / f"x.{ending}", picture().convert(mode))
    save(tmp_path / "b" / "x.png")
    assert list_images(tmp_path).names[0] == f"a/x.{ending}"
    exact = one(save(tmp_path / "exact.png", picture().convert(mode)), 16)
    assert np.abs(one(path, 16).astype(int) - exact).mean() < 8


def test_what_is_hidden_is_passed_over_and_other_files_are_counted(folder: Path):
    for name in (".DS_Store", "cat/._a.png", "cat/.thumbs/x.png", ".git/x.png"):
        save(folder / name, format="PNG")
    for name in ("readme.txt", "cat/notes.csv", "dog/deep/labels.json"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("")
    listing = list_images(folder)
    assert len(listing.names) == 5
    assert listing.others == 3
    assert subfolders(folder) == ["cat", "dog"]
    assert read(folder)[1].endswith("; 3 other files passed over")


def test_of_named_classes_others_are_left_out_and_order_is_kept(folder: Path):
    save(folder / "eel" / "a.png")
    listing = list_images(folder, classes=("dog", "cat"))
    assert listing.classes == ("dog", "cat")
    assert listing.names[0] == "dog/a.png"
    assert listing.labels == (0, 0, 1, 1, 1)
    with pytest.raises(UsageError, match=f"{folder} lacks the class folder fox; expected are cat, fox"):
        list_images(folder, classes=("cat", "fox"))


def test_a_class_without_images_is_named(folder: Path):
    (folder / "eel").mkdir()
    (folder / "eel" / "notes.txt").write_text("")
    said = f"{folder / 'eel'} holds no image, and 1 other file; expected is at least one file that ends in one of bmp, "
    with pytest.raises(UsageError, match=said):
        list_images(folder)


def test_fewer_than_two_classes_are_refused(tmp_path: Path):
    with pytest.raises(UsageError, match=f"{tmp_path} holds no class folder and 0 files; expected are two class"):
        list_images(tmp_path)
    save(tmp_path / "x.png")
    with pytest.raises(UsageError, match="holds no class folder and 1 file;"):
        list_images(tmp_path)
    save(tmp_path / "cat" / "x.png")
    with pytest.raises(UsageError, match=f"{tmp_path} holds only the class folder 'cat'; expected are two"):
        list_images(tmp_path)


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path):
    with pytest.raises(UsageError, match=f"{tmp_path / 'none'} cannot be read: No such file or directory"):
        list_images(tmp_path, "none")


@pytest.mark.parametrize("size", [7, 513, 0, -8])
def test_a_size_out_of_range_is_refused(size: int):
    with pytest.raises(UsageError, match=f"size is {size}; it must be an integer in 8..512"):
        check_size(size)


# the pixels


def test_an_image_of_the_size_itself_is_left_as_it_is(tmp_path: Path):
    image = picture(16, 16)
    assert np.array_equal(one(save(tmp_path / "x.png", image), 16), np.asarray(image))


def test_the_shorter_side_is_resized_and_the_centre_taken(tmp_path: Path):
    image = picture(40, 16)
    expected = np.asarray(image.crop((12, 0, 28, 16)))
    assert np.array_equal(one(save(tmp_path / "wide.png", image), 16), expected)
    turned = image.transpose(Image.Transpose.TRANSPOSE)
    assert np.array_equal(one(save(tmp_path / "tall.png", turned), 16), expected.transpose(1, 0, 2))
    # as resizing the whole image and cropping it
    whole = image.resize((20, 8), Image.Resampling.BILINEAR).crop((6, 0, 14, 8))
    assert np.array_equal(one(tmp_path / "wide.png", 8), np.asarray(whole))


@pytest.mark.parametrize("width", [17, 19, 22])
def test_an_image_whose_shorter_side_fits_keeps_its_sharpness(tmp_path: Path, width: int):
    noise = np.random.default_rng(0).integers(0, 256, (16, width, 3), dtype=np.uint8)
    left = (width - 16) // 2
    made = one(save(tmp_path / "x.png", Image.fromarray(noise)), 16)
    assert np.array_equal(made, noise[:, left : left + 16])


def test_shrinking_averages_rather_than_picks(tmp_path: Path):
    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    shrunk = one(save(tmp_path / "x.png", Image.fromarray(board)), 8)
    assert np.abs(shrunk.astype(int) - 127).max() <= 2


def test_a_long_strip_is_never_resized_as_a_whole(tmp_path: Path):
    strip = Image.fromarray(np.full((1, 60_000, 3), 200, np.uint8))
    assert np.array_equal(one(save(tmp_path / "x.png", strip), 512), np.full((512, 512, 3), 200))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK"])
def test_other_modes_become_three_channels(tmp_path: Path, mode: str):
    red = Image.new("RGB", (9, 9), (255, 0, 0)).convert(mode, dither=Image.Dither.NONE)
    path = save(tmp_path / ("x.jpg" if mode == "CMYK" else "x.png"), red)
    made = one(path).reshape(-1, 3)
    assert (made == made[0]).all()
    value = {"1": 0, "L": 76, "LA": 76}.get(mode)
    expected = (255, 0, 0) if value is None else (value,) * 3
    assert np.abs(made[0].astype(int) - expected).max() <= 2


def test_a_palette_with_transparent_colours_is_read_without_a_warning(tmp_path: Path):
    image = Image.new("P", (9, 9), 1)
    image.putpalette([0, 0, 0, 0, 255, 0])
    path = save(tmp_path / "x.png", image, transparency=b"\x00\x80")
    assert (one(path) == (0, 255, 0)).all()


def test_content_tells_the_format_rather_than_the_name(tmp_path: Path):
    path = save(tmp_path / "x.jpg", picture(8, 8), format="PNG")
    assert np.array_equal(one(path), np.asarray(picture(8, 8)))


# the cache


def test_images_and_digest_are_the_same_decoded_and_from_the_cache(folder: Path, cache: Path, monkeypatch):
    decoded, how = read(folder)
    (file,) = cache.iterdir()
    assert len(file.stem) == 64
    monkeypatch.setattr(images, "_decode", None)
    cached, again = read(folder)
    assert torch.equal(cached, decoded)
    assert again == how
    assert decoded.shape == (5, 3, 8, 8)
    cached.zero_()  # ours to write to
    assert torch.equal(read(folder)[0], decoded)


def test_the_order_is_that_of_the_listing(folder: Path):
    everything, _ = read(folder)
    for image, name in zip(everything, list_images(folder).names, strict=True):
        assert np.array_equal(image.permute(1, 2, 0).numpy(), one(folder / name))


@pytest.mark.parametrize("change", ["content", "name", "one more", "one less", "size", "version"])
def test_any_change_is_decoded_anew(folder: Path, cache: Path, monkeypatch, change: str):
    _, before = read(folder)
    size = 8
    if change == "content":
        save(folder / "cat" / "a.png", picture(seed=99))
    elif change == "name":
        (folder / "cat" / "a.png").rename(folder / "cat" / "d.png")
    elif change == "one more":
        save(folder / "dog" / "c.png")
    elif change == "one less":
        (folder / "cat" / "a.png").unlink()
    elif change == "size":
        size = 9
    else:
        monkeypatch.setattr(images, "_DECODING", 0)
    _, after = read(folder, size)
    assert len(list(cache.iterdir())) == 2
    digests = [how.partition(";")[0] for how in (before, after)]
    assert (digests[0] != digests[1]) == (change not in ("size", "version"))


def test_the_digest_is_of_names_and_content_not_of_the_place(folder: Path, tmp_path: Path):
    _, before = read(folder)
    folder.rename(tmp_path / "moved")
    assert read(tmp_path / "moved")[1] == before


def test_a_damaged_cache_file_is_written_anew(folder: Path, cache: Path):
    decoded, _ = read(folder)
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    middle, header = len(whole) // 2, whole.index(b"fortran_order': False")
    damages = [
        whole[:middle],
        whole[:-1],
        b"",
        whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
        whole[:-1] + bytes([whole[-1] ^ 1]),
        whole + b"\0",
        whole[: header + 15] + b"True, " + whole[header + 21 :],
        b"PK\x03\x04" + whole[4:],
    ]
    for damaged in damages:
        assert damaged != whole
        file.write_bytes(damaged)
        assert torch.equal(read(folder)[0], decoded)
        assert file.read_bytes() == whole


def test_a_cache_that_cannot_be_written_changes_nothing(folder: Path, cache: Path, monkeypatch):
    decoded, how = read(folder)
    (file,) = cache.iterdir()
    file.unlink()

    def full(file: io.BufferedWriter, *_: object, **__: object) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(np, "save", full)
        again, how_again = read(folder)
    assert torch.equal(again, decoded)
    assert how_again == how
    assert list(cache.iterdir()) == []
    cache.rmdir()
    cache.write_text("in the way")
    assert torch.equal(read(folder)[0], decoded)


# what is refused


def test_a_damaged_image_is_named(folder: Path, cache: Path):
    path = folder / "dog" / "a.png"
    whole = path.read_bytes()
    damages = {
        whole[: len(whole) // 2]: f"{path} is truncated, or damaged as an image: ",
        b"": f"{path} is damaged or not an image; it must be one of the formats JPEG, PNG, BMP, WEBP, PPM",
        b"<!doctype html>": f"{path} is damaged or not an image",
        b"GIF89a" + whole: f"{path} is damaged or not an image",
    }
    for content, said in damages.items():
        path.write_bytes(content)
        with pytest.raises(UsageError, match=said):
            read(folder)
    assert not cache.exists()


@pytest.mark.parametrize("ending", ["jpg", "png", "bmp", "webp", "ppm"])
def test_a_truncated_image_of_every_format_is_named(tmp_path: Path, ending: str):
    path = save(tmp_path / f"x.{ending}", picture(64, 64))
    whole = path.read_bytes()
    for share in (0.2, 0.6, 0.9):
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(UsageError, match=f"{path} is (truncated, or )?damaged"):
            one(path)


@pytest.mark.parametrize("most", [100, 200])
def test_a_decompression_bomb_is_named(folder: Path, monkeypatch, most: int):
    monkeypatch.setattr(
        Image, "MAX_IMAGE_PIXELS", most
    )  # 20 x 16 pixels; Pillow warns above, and fails above twice that
    with pytest.raises(UsageError, match=f"{folder / 'cat' / 'a.png'} is larger than is opened safely: Image size"):
        read(folder)


def test_more_than_eight_bits_a_channel_are_refused(tmp_path: Path):
    deep = Image.fromarray(np.full((9, 9), 40_000, np.uint16))
    path = save(tmp_path / "x.png", deep)
    with pytest.raises(UsageError, match=f"{path} has pixels of Pillow's mode I;16; they must have 8 bits a channel"):
        one(path)


def test_an_image_that_cannot_be_read_is_named(folder: Path):
    (folder / "dog" / "gone.png").symlink_to(folder / "nowhere.png")
    with pytest.raises(UsageError, match=f"{folder / 'dog' / 'gone.png'} cannot be read: No such file"):
        read(folder)


WHOLE = {}
for kind in ("PNG", "JPEG", "WEBP", "BMP", "PPM"):
    kept = io.BytesIO()
    picture().save(kept, kind)
    WHOLE[kind] = kept.getvalue()


@settings(max_examples=50, deadline=None)
@given(
    st.sampled_from(sorted(WHOLE)),
    st.integers(0, 2**14),
    st.lists(st.tuples(st.integers(0, 2**14), st.integers(0, 7)), min_size=1, max_size=3),
)
def test_flipped_bits_and_lost_ends_give_an_image_or_a_usage_error(tmp_path_factory, kind, lost, flips):
    content = bytearray(WHOLE[kind])
    for place, bit in flips:
        content[place % len(content)] ^= 1 << bit
    base = tmp_path_factory.getbasetemp() / "flipped-images"
    for name in ("a/x.png", "b/x.png"):
        save(base / name)
    path = base / "a" / "x.png"
    path.write_bytes(content[: len(content) - lost % len(content)] if lost % 2 else content)
    try:
        shape, said = read(base)[0].shape, str(path)
    except UsageError as error:
        shape, said = (2, 3, 8, 8), str(error)
    assert shape == (2, 3, 8, 8)
    assert str(path) in said


# progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@contextlib.contextmanager
def slow_start(monkeypatch: pytest.MonkeyPatch, stderr: io.StringIO) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setattr(images, "_MOMENT", -1.0)
        patch.setattr(sys, "stderr", stderr)
        yield


def test_progress_is_shown_on_a_terminal_only_and_only_after_a_moment(folder: Path, cache: Path, monkeypatch):
    terminal, file = Terminal(), io.StringIO()
    with slow_start(monkeypatch, terminal):
        read(folder)
    assert "decoding images" in terminal.getvalue()
    total = sum(path.stat().st_size for path in folder.rglob("*.png"))
    assert f"{total / 1000:.1f}/{total / 1000:.1f} kB" in terminal.getvalue()
    with slow_start(monkeypatch, file):
        read(folder, 9)
    assert file.getvalue() == ""
    quick = Terminal()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", quick)
        read(folder, 10)
    assert quick.getvalue() == ""


def test_reading_stops_at_the_first_failure(tmp_path: Path):
    paths = [tmp_path / f"{i}.png" for i in range(200)]
    tried = []

    def work(path: Path) -> None:
        tried.append(path)
        if path.stem == "0":
            raise FailedError(os.fspath(path))
        time.sleep(0.01)

    with pytest.raises(FailedError, match=r"/0\.png"):
        list(images._in_threads(work, paths, "trying"))
    assert len(tried) < len(paths)
