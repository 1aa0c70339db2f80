"""Blurs against scipy and scikit-image, and against loops that follow the benchmark's code."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage.filters import gaussian

from data.pictures import is_cut, numpied, pictures
from hardy.data.corrupt_blur import DefocusBlur, GaussianBlur, GlassBlur, MotionBlur, ZoomBlur
from hardy.data.filters import streaked
from hardy.errors import UsageError
from hardy.randomness import Noise


@pytest.mark.parametrize("sigma", [0.4, 1.0, 6.0])
def test_gaussian_blur_is_scikit_images(sigma):
    x = pictures()
    wanted = [gaussian(image / 255, sigma=sigma, channel_axis=-1) * 255 for image in numpied(x)]
    made = GaussianBlur(sigma).apply(x, Noise.of_batch(4))
    assert is_cut(made.permute(0, 2, 3, 1), np.stack(wanted))


def disk(radius: float, sigma: float) -> np.ndarray:
    """The kernel as the benchmark's code describes it, on a square with room around the disk."""
    size, window = (12, 1) if radius <= 8 else (math.ceil(radius) + 4, 2)
    rows, columns = np.mgrid[-size : size + 1, -size : size + 1]
    made = (rows**2 + columns**2 <= radius**2) / np.sum(rows**2 + columns**2 <= radius**2)
    line = np.exp(-(np.arange(-window, window + 1) ** 2) / (2 * sigma**2))
    return ndimage.correlate(made, np.outer(line, line) / line.sum() ** 2, mode="constant")


@pytest.mark.parametrize(("radius", "sigma"), [(0.3, 0.4), (0.5, 0.6), (1, 0.2), (1.5, 0.1), (4, 0.5), (10, 0.5)])
def test_defocus_blur_is_a_correlation_with_a_smooth_disk(radius, sigma):
    x, made = pictures(), DefocusBlur(radius, sigma)
    wanted = ndimage.correlate(x.double().numpy(), disk(radius, sigma)[None, None], mode="mirror")
    assert is_cut(made.apply(x, Noise.of_batch(4)), wanted)
    assert float(made.kernel.sum()) == pytest.approx(1)


def test_a_disk_of_radius_one_and_a_half_is_a_square_of_nine_pixels():
    middle = DefocusBlur(1.5, 0.01).kernel[1:-1, 1:-1]
    np.testing.assert_allclose(middle, np.full((3, 3), 1 / 9))


def through_glass(image: np.ndarray, made: GlassBlur, noise: Noise) -> np.ndarray:
    """One image (H, W, C), pixel after pixel, with the exchange that overwrites."""
    x, d = np.uint8(gaussian(image / 255, sigma=made.sigma, channel_axis=-1) * 255 + 1e-6), made.shift
    h, w, _ = x.shape
    for i in range(made.passes):
        drawn = noise.derive(f"pass {i}").integers(2 * d, (2, (h - 2 * d) * (w - 2 * d)))[0] - d
        steps = drawn.view(2, h - 2 * d, w - 2 * d)
        for r in range(h - d, d, -1):
            for c in range(w - d, d, -1):
                dy, dx = steps[:, r - d - 1, c - d - 1].tolist()
                x[r, c], x[r + dy, c + dx] = x[r + dy, c + dx], x[r, c]
    return gaussian(x / 255, sigma=made.sigma, channel_axis=-1) * 255


@pytest.mark.parametrize("constants", [(0.4, 1, 1), (0.25, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.5, 4, 2)])
def test_glass_blur_moves_pixels_as_the_code_does_one_after_another(constants):
    x, made, noise = pictures(2, h=24, w=20), GlassBlur(*constants), Noise.of_batch(2)
    wanted = [through_glass(image, made, noise[i : i + 1]) for i, image in enumerate(numpied(x))]
    assert is_cut(made.apply(x, noise).permute(0, 2, 3, 1), np.stack(wanted))


def test_glass_of_one_pixel_takes_from_above_and_from_the_left_only():
    x = torch.arange(64, dtype=torch.uint8).view(1, 1, 8, 8)
    y = GlassBlur(0.0, 1, 1).apply(x, Noise.of_batch(1))
    moved = (x - y).flatten().tolist()
    assert set(moved) == {0, 1, 8, 9}
    assert bool((y[..., :2, :] == x[..., :2, :]).all())
    assert bool((y[..., :2] == x[..., :2]).all())


def test_motion_blur_goes_at_most_45_degrees_from_the_horizontal_at_an_angle_of_each_image():
    x = torch.zeros(200, 1, 31, 31, dtype=torch.uint8)
    x[:, :, 15, 15] = 255
    noise = Noise.of_batch(200)
    y = MotionBlur(9, 2.5).apply(x, noise).float()
    angles = noise.uniform((), -math.pi / 4, math.pi / 4)
    assert torch.equal(y, streaked(x.float(), 9, 2.5, angles).round())
    weight = y.sum((1, 2, 3))
    down = ((y.sum((1, 3)) * torch.arange(-15, 16)).sum(1) / weight).neg()
    right = ((y.sum((1, 2)) * torch.arange(-15, 16)).sum(1) / weight).neg()
    found = torch.atan2(down, right)
    assert float((found - angles).abs().max()) < 0.25  # places are whole pixels
    assert float(found.min()) < -0.7
    assert float(found.max()) > 0.7


def test_motion_blur_of_a_flat_image_is_that_image():
    x = torch.full((3, 3, 9, 9), 77, dtype=torch.uint8)
    assert torch.equal(MotionBlur(20, 15).apply(x, Noise.of_batch(3)), x)


def zoomed_by_scipy(image: np.ndarray, factor: float) -> np.ndarray:
    """(H, W, C), the middle of it enlarged."""
    n = len(image)
    kept = math.ceil(n / factor)
    first = (n - kept) // 2
    large = ndimage.zoom(image[first : first + kept, first : first + kept], (factor, factor, 1), order=1)
    cut = (len(large) - n) // 2
    return large[cut : cut + n, cut : cut + n]


@pytest.mark.parametrize(
    ("last", "step", "count"),
    [(1.06, 0.01, 7), (1.11, 0.01, 12), (1.16, 0.01, 16), (1.21, 0.01, 21), (1.26, 0.01, 26), (1.31, 0.03, 11)],
)
def test_zoom_blur_is_the_mean_of_scipys_zooms_and_once_more_the_image(last, step, count):
    x, made = pictures(2), ZoomBlur(last, step)
    assert len(made.factors) == count
    assert made.factors[0] == 1
    wanted = []
    for image in numpied(x):
        zooms = [zoomed_by_scipy(image / 255, factor) for factor in made.factors]
        wanted.append((image / 255 + sum(zooms)) / (count + 1) * 255)
    assert is_cut(made.apply(x, Noise.of_batch(2)).permute(0, 2, 3, 1), np.stack(wanted))


def test_blurs_that_cannot_be_are_refused():
    with pytest.raises(UsageError, match=r"last is 1.0; it must be above 1"):
        ZoomBlur(1, 0.01)
    with pytest.raises(UsageError, match=r"shift is 0; it must be above 0"):
        GlassBlur(0.1, 0, 1)
