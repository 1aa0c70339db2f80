"""Digital corruptions against scikit-image, Pillow and scipy."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from skimage.color import hsv2rgb, rgb2hsv

from data.pictures import is_cut, numpied, pictures
from hardy.data.corrupt_digital import JPEG, Brightness, Contrast, ElasticTransform, Pixelate, Saturate
from hardy.errors import UsageError
from hardy.randomness import Noise


def colours() -> torch.Tensor:
    """uint8 (1, 3, 17, 289): colours all over the cube, black, white and greys among them."""
    levels = torch.arange(17) * 255 // 16
    cube = torch.cartesian_prod(levels, levels, levels).T
    return cube.reshape(1, 3, 17, 289).to(torch.uint8)


def in_hsv(image: np.ndarray, channel: int, gain: float, shift: float) -> np.ndarray:
    x = rgb2hsv(image / 255)
    x[..., channel] = np.clip(gain * x[..., channel] + shift, 0, 1)
    return hsv2rgb(x) * 255


@pytest.mark.parametrize("shift", [0.05, 0.1, 0.15, 0.2, 0.3, 0.5])
def test_brightness_is_scikit_images_value(shift):
    for x in (colours(), pictures(1)):
        made = Brightness(shift).apply(x, Noise.of_batch(1)).permute(0, 2, 3, 1)
        assert is_cut(made, in_hsv(numpied(x), 2, 1, shift))


@pytest.mark.parametrize(("gain", "shift"), [(0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2), (20, 0.2)])
def test_saturate_is_scikit_images_saturation(gain, shift):
    for x in (colours(), pictures(1)):
        made = Saturate(gain, shift).apply(x, Noise.of_batch(1)).permute(0, 2, 3, 1)
        assert is_cut(made, in_hsv(numpied(x), 1, gain, shift))


def test_grey_becomes_reddish_where_saturation_is_added():
    grey = torch.full((1, 3, 8, 8), 200, dtype=torch.uint8)
    y = Saturate(2.5, 0.2).apply(grey, Noise.of_batch(1))
    assert y[0, :, 0, 0].tolist() == [200, 160, 160]


def test_one_channel_has_no_saturation_and_its_value_is_itself():
    x = pictures(2, 1)
    assert torch.equal(Saturate(2.5, 0.2).apply(x, Noise.of_batch(2)), x)
    wanted = np.uint8(np.clip(x.numpy() / 255 + 0.3, 0, 1) * 255)
    assert np.array_equal(Brightness(0.3).apply(x, Noise.of_batch(2)).numpy(), wanted)


def test_contrast_is_the_formula():
    x = pictures()
    unit = x.numpy() / 255
    mean = unit.mean((2, 3), keepdims=True)
    assert is_cut(Contrast(0.3).apply(x, Noise.of_batch(4)), ((unit - mean) * 0.3 + mean) * 255)
    assert torch.equal(Contrast(1.0).apply(torch.full_like(x, 90), Noise.of_batch(4)), torch.full_like(x, 90))


@pytest.mark.parametrize("quality", [80, 40, 7])
def test_jpeg_is_pillows(quality):
    x = pictures()
    made = JPEG(quality).apply(x, Noise.of_batch(4))
    for image, got in zip(numpied(x), numpied(made), strict=True):
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=quality)
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(file.getvalue()))), got)


def test_other_numbers_of_channels_are_compressed_one_by_one():
    x = pictures(2, 4)
    together = JPEG(30).apply(x, Noise.of_batch(2))
    alone = [JPEG(30).apply(x[:, i : i + 1], Noise.of_batch(2)) for i in range(4)]
    assert torch.equal(together, torch.cat(alone, 1))


def test_pixelate_gives_boxes_of_one_value_their_mean():
    x = pictures()
    y = Pixelate(0.25).apply(x, Noise.of_batch(4)).int()
    boxes = x.double().unfold(2, 4, 4).unfold(3, 4, 4).mean((4, 5)).repeat_interleave(4, 2).repeat_interleave(4, 3)
    assert float((y - boxes).abs().max()) <= 1  # Pillow rounds rows, then columns


def test_pixelate_of_a_share_is_pillows_box_both_ways():
    x = pictures(1, h=20, w=32)
    image = Image.fromarray(numpied(x)[0])
    wanted = image.resize((int(32 * 0.65), int(20 * 0.65)), Image.Resampling.BOX).resize((32, 20), Image.Resampling.BOX)
    assert np.array_equal(numpied(Pixelate(0.65).apply(x, Noise.of_batch(1)))[0], np.asarray(wanted))


def elastic_by_scipy(image: np.ndarray, made: ElasticTransform, noise: Noise) -> np.ndarray:
    """One image (C, H, W) under the affine map, then the displacement."""
    _, h, w = image.shape
    middle, half = np.array([w // 2, h // 2]), min(h, w) // 3
    before = middle + half * np.array([[1, 1], [1, -1], [-1, -1]])
    after = before + noise.uniform((3, 2), -made.affine, made.affine)[0].numpy()
    inverse = np.linalg.solve(np.c_[after, np.ones(3)], before)  # (3, 2)
    rows, columns = np.mgrid[:h, :w]
    x, y = np.moveaxis(np.stack([columns, rows, np.ones((h, w))], -1) @ inverse, -1, 0)
    image = np.stack([ndimage.map_coordinates(plane, [y, x], order=1, mode="mirror") for plane in image])
    fields = noise.derive("displacement").uniform((2, h, w), -1, 1)[0].double().numpy()
    dx, dy = (made.strength * ndimage.gaussian_filter(f, made.sigma, mode="reflect", truncate=3) for f in fields)
    at = [rows + dy, columns + dx]
    return np.stack([ndimage.map_coordinates(plane, at, order=1, mode="reflect") for plane in image])


@pytest.mark.parametrize("constants", [(0.0, 0.0, 2.56), (1.6, 6.4, 2.24), (3.2, 0.96, 0.96)])
def test_elastic_transform_is_made_of_scipys_steps(constants):
    x, made, noise = pictures(2, h=32, w=28), ElasticTransform(*constants), Noise.of_batch(2)
    wanted = [elastic_by_scipy(image, made, noise[i : i + 1]) for i, image in enumerate(x.double().numpy())]
    assert is_cut(made.apply(x, noise), np.stack(wanted))


def test_the_affine_map_takes_three_points_to_where_they_are_moved():
    noise = Noise.of_batch(3)
    inverse = ElasticTransform(0, 0, 2.5)._inverse(32, 32, noise)
    moved = noise.uniform((3, 2), -2.5, 2.5).double()
    points = torch.tensor([[26.0, 26], [26, 6], [6, 6]], dtype=torch.float64)
    back = torch.cat([points + moved, torch.ones(3, 3, 1)], -1) @ inverse.mT
    np.testing.assert_allclose(back, points.expand_as(back), atol=1e-9)


def test_numbers_that_cannot_be_are_refused():
    with pytest.raises(UsageError, match=r"quality is 96; it must be in 1..95"):
        JPEG(96)
    with pytest.raises(UsageError, match=r"share is 1.5; it must be in \(0, 1\]"):
        Pixelate(1.5)
