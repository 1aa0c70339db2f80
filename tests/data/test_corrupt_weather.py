"""Weather: formulas with the same random numbers, and what it looks like in numbers."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from data.pictures import is_cut, numpied, pictures
from hardy.data.corrupt_weather import Fog, Frost, Snow
from hardy.data.corruptions import corruption
from hardy.data.filters import plasma, streaked
from hardy.data.frost import NAMES, Overlays
from hardy.errors import UsageError
from hardy.randomness import Noise


def zoomed_by_scipy(layer: np.ndarray, factor: float) -> np.ndarray:
    n = len(layer)
    kept = math.ceil(n / factor)
    first = (n - kept) // 2
    large = ndimage.zoom(layer[first : first + kept, first : first + kept], factor, order=1)
    cut = (len(large) - n) // 2
    return large[cut : cut + n, cut : cut + n]


@pytest.mark.parametrize("severity", [1, 3, 4, 5])
def test_snow_is_made_of_its_steps(severity):
    x, noise, made = pictures(2), Noise.of_batch(2), corruption("snow", severity, (3, 32, 32))
    wanted = []
    for i, image in enumerate(numpied(x) / 255):
        layer = made.mean + made.deviation * noise[i : i + 1].normal((1, 32, 32))[0, 0].double().numpy()
        layer = zoomed_by_scipy(layer, made.zoom)
        layer[layer < made.threshold] = 0
        layer = np.uint8(np.clip(layer, 0, 1) * 255)
        angle = noise[i : i + 1].derive("angle").uniform((), math.radians(-135), math.radians(-45))
        layer = streaked(torch.tensor(layer)[None, None].float(), made.radius, made.sigma, angle)
        layer = layer.round()[0, 0].double().numpy()[:, :, None] / 255
        grey = image @ np.array([0.299, 0.587, 0.114])
        pale = made.mix * image + (1 - made.mix) * np.maximum(image, 1.5 * grey[:, :, None] + 0.5)
        wanted.append((pale + layer + np.rot90(layer, 2)) * 255)
    assert is_cut(made.apply(x, noise).permute(0, 2, 3, 1), np.stack(wanted))


def test_snow_falls_from_top_to_bottom_rather_than_across():
    black = torch.zeros(40, 3, 32, 32, dtype=torch.uint8)
    y = corruption("snow", 4, (3, 32, 32)).apply(black, Noise.of_batch(40)).double()
    assert float(y.diff(dim=2).abs().mean()) < 0.6 * float(y.diff(dim=3).abs().mean())


def test_as_much_snow_falls_on_smaller_images():
    shares = []
    for side in (224, 96):
        x = torch.zeros(20, 1, side, side, dtype=torch.uint8)
        for severity in (1, 2, 5):
            made = corruption("snow", severity, (1, side, side))
            shares.append(float(made.apply(x, Noise.of_batch(20)).double().mean()))
    np.testing.assert_allclose(shares[:3], shares[3:], rtol=0.1)
    assert Snow(0.1, 0.2, 1, 0.6, 8, 3, 0.95).scaled(0.5).zoom == 1


def test_frost_is_a_weighted_sum_with_a_part_of_a_picture():
    x, noise = pictures(6), Noise.of_batch(6)
    ice = Overlays.drawn(0.2).parts(32, 32, noise).double()
    assert is_cut(Frost(0.85, 0.4, 0.2).apply(x, noise), 0.85 * x + 0.4 * ice)
    grey = (ice * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1, keepdim=True)
    assert is_cut(Frost(0.85, 0.4, 0.2).apply(x[:, :1], noise), 0.85 * x[:, :1] + 0.4 * grey)


def test_frost_takes_the_releases_pictures_where_they_are_given(tmp_path):
    for name in NAMES:
        Image.new("RGB", (400, 300), (200, 100, 50)).save(tmp_path / name, lossless=True)
    made = corruption("frost", 5, (3, 32, 32), overlays=str(tmp_path))
    y = made.apply(torch.full((3, 3, 32, 32), 100, dtype=torch.uint8), Noise.of_batch(3))
    wanted = torch.tensor([75 + 90, 75 + 45, 75 + 22]).view(3, 1, 1)
    assert int((y.int() - wanted).abs().max()) <= 1  # a JPEG's colours are a little off
    with pytest.raises(UsageError, match="parts of 96 x 96 are wanted"):
        Frost(1, 1, 0.2, str(tmp_path)).apply(torch.zeros(1, 3, 96, 96, dtype=torch.uint8), Noise.of_batch(1))


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 20, 32)])
def test_fog_is_clouds_over_the_image_below_its_brightest(shape):
    x, noise = pictures(2, *shape) // 2, Noise.of_batch(2)
    clouds = plasma(32, 1.75, noise.uniform((1023,), -1, 1))[:, None, : shape[1]]
    brightest = x.amax((1, 2, 3), keepdim=True).double() / 255
    wanted = (x.double() / 255 + 1.5 * clouds) * brightest / (brightest + 1.5)
    assert is_cut(Fog(1.5, 1.75).apply(x, noise), 255 * wanted)


def test_fog_of_a_black_image_is_black_and_contrast_goes_as_it_thickens():
    black = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    assert torch.equal(Fog(1.5, 2).apply(black, Noise.of_batch(1)), black)
    x, left = pictures(20, seed=3), []
    for severity in range(1, 6):
        y = corruption("fog", severity, (3, 32, 32)).apply(x, Noise.of_batch(20)).double()
        fine = (x.double().diff(dim=3).flatten(1), y.diff(dim=3).flatten(1))
        left.append(float((fine[0] * fine[1]).sum() / fine[0].square().sum()))  # how much of the image's detail is left
    np.testing.assert_allclose(left, [1 / (1 + c) for c in (0.2, 0.5, 0.75, 1, 1.5)], atol=0.02)
