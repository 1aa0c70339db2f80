"""Corrupted images as they are measured on: what determines them, and that it says so."""

import pytest
import torch
from PIL import Image

from data.pictures import pictures
from hardy.data.corrupted import Made
from hardy.data.corruptions import corrupt
from hardy.data.frost import NAMES
from hardy.data.split import Split
from hardy.errors import UsageError
from hardy.randomness import Noise


def split(shape=(3, 32, 32)) -> Split:
    return Split(pictures(6, *shape), torch.zeros(6).long(), ("one", "two"), torch.arange(100, 106), "pictures")


def test_made_images_are_keyed_by_their_places_in_the_source_file():
    whole, made = split(), Made((3, 32, 32), seed=3)
    x = made.images("snow", 2, whole)
    assert torch.equal(x[4:5], made.images("snow", 2, whole.take(slice(4, 5))))
    assert torch.equal(x, corrupt(whole.images, "snow", 2, Noise(3, whole.indices, purpose="corruption")))
    assert not torch.equal(x, Made((3, 32, 32)).images("snow", 2, whole))


def test_settings_tell_what_was_made(tmp_path):
    made = Made((3, 96, 96), seed=7)
    assert made.says == "made here, constants those of ImageNet, lengths times 96/224, frost drawn"
    told = made.settings("impulse_noise", 2)
    assert told == {"constants": {"type": "ImpulseNoise", "share": 0.06}, "images": made.says, "seed": 7}
    for name in NAMES:
        Image.new("RGB", (300, 300), (9, 99, 199)).save(tmp_path / name)
    iced = Made((3, 32, 32), overlays=str(tmp_path))
    assert iced.says.endswith(f"frost from the pictures in {tmp_path}")
    told = iced.settings("frost", 1)
    assert told["constants"]["overlays"] == str(tmp_path)
    before = told["overlays sha256"]
    assert "overlays sha256" not in iced.settings("snow", 1)
    Image.new("RGB", (300, 300), (9, 99, 198)).save(tmp_path / NAMES[0])
    assert iced.settings("frost", 1)["overlays sha256"] != before


def test_what_cannot_be_made_is_told_before_anything_is(tmp_path):
    with pytest.raises(UsageError, match="the shorter side of the images is 7"):
        Made((1, 7, 9))
    with pytest.raises(UsageError, match=r"seed is -1; it must be in \[0, 2\*\*32\)"):
        Made((3, 32, 32), seed=-1)
    with pytest.raises(UsageError, match=r"frost1.png is not there; the folder of overlays must hold"):
        Made((3, 32, 32), overlays=str(tmp_path))
