"""Ice: read from pictures, drawn, and cut to parts."""

import numpy as np
import pytest
import torch
from PIL import Image

from hardy.data.frost import NAMES, Overlays, ice
from hardy.errors import UsageError
from hardy.randomness import Noise


def release(folder, size=(100, 80)):
    """Five pictures, each of one red of its own, with green that grows downwards and blue to the right."""
    folder.mkdir()
    rows, columns = np.mgrid[: size[1], : size[0]]
    for i, name in enumerate(NAMES):
        pixels = np.stack([np.full_like(rows, 50 * i), rows, columns], -1).astype(np.uint8)
        if name.endswith("png"):
            Image.fromarray(pixels).save(folder / name)
        else:
            Image.fromarray(pixels).save(folder / name, quality=95, subsampling=0)
    return str(folder)


def test_parts_are_parts_of_any_picture_from_anywhere(tmp_path):
    pictures = Overlays.read(release(tmp_path / "ice"), 1.0)
    parts = pictures.parts(20, 30, Noise.of_batch(300)).int()
    assert parts.shape == (300, 3, 20, 30)
    red, top, left = (parts[:, c, 0, 0] for c in range(3))
    steady = (red % 50 == 0) & (red <= 100)  # those of the lossless pictures
    assert sorted({round(r / 50) for r in red.tolist()}) == [0, 1, 2, 3, 4]
    rows, columns = torch.arange(20).view(20, 1), torch.arange(30)
    assert torch.equal(parts[steady, 1], (top[steady, None, None] + rows).expand(-1, 20, 30))
    assert torch.equal(parts[steady, 2], (left[steady, None, None] + columns).expand(-1, 20, 30))
    assert (int(top[steady].min()), int(top[steady].max())) <= (3, 59)
    assert int(top[steady].max()) > 54
    assert int(left[steady].max()) in range(60, 70)


def test_pictures_are_resized_by_reading_between_their_pixels(tmp_path):
    small = Overlays.read(release(tmp_path / "ice"), 0.2).pictures[1]
    assert small.shape == (3, 16, 20)
    assert small[:, 3, 4].tolist() == [50, 17, 22]  # rows and columns 5 (i + 1/2) - 1/2
    assert Overlays.read(str(tmp_path / "ice"), 0.2) is Overlays.read(str(tmp_path / "ice"), 0.2)


def test_what_is_no_folder_of_overlays_is_told(tmp_path):
    folder = release(tmp_path / "ice")
    with pytest.raises(UsageError, match="20 x 16 once it is resized; parts of 32 x 32 are wanted"):
        Overlays.read(folder, 0.2).parts(32, 32, Noise.of_batch(1))
    (tmp_path / "ice" / NAMES[3]).write_bytes(b"no picture")
    with pytest.raises(UsageError, match=f"{NAMES[3]} cannot be read as a picture"):
        Overlays.read(folder, 0.5)
    (tmp_path / "ice" / NAMES[2]).unlink()
    with pytest.raises(UsageError, match=f"{NAMES[2]} is not there; the folder of overlays must hold frost1.png"):
        Overlays.read(folder, 0.25)


def test_drawn_ice_is_always_the_same_and_bluish_and_neither_black_nor_white():
    picture, all_five = ice(2), Overlays.drawn(0.2).pictures
    assert picture.shape == (3, 640, 640)
    red, green, blue = picture.double().mean((1, 2)).tolist()
    assert 70 < red < green < blue < 190
    assert float(picture[0].double().std()) > 25
    assert [small.shape for small in all_five] == [(3, 128, 128)] * 5
    corners = picture.double().unfold(1, 2, 5).unfold(2, 2, 5)[..., 0, 0]  # of each five by five, what one pixel reads
    assert float((all_five[2].double() - corners).abs().median()) < 20
    assert len({small.double().mean().item() for small in all_five}) == 5
