"""Filters against scipy's, and against loops that follow their definitions."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from hardy.data.filters import (
    banded,
    blurred,
    correlated,
    gaussian_weights,
    mirrored,
    plasma,
    sampled,
    streaked,
    zooming,
)
from hardy.randomness import Noise


def images(n: int = 2, c: int = 3, h: int = 13, w: int = 10) -> torch.Tensor:
    """Noise from 0 to 255, float64."""
    return Noise.of_batch(n, purpose="images").uniform((c, h, w), 0, 255).double()


@pytest.mark.parametrize("border", ["nearest", "reflect", "mirror"])
@pytest.mark.parametrize("n", [1, 2, 5])
def test_borders_are_continued_as_numpy_pads(border, n):
    mode = {"nearest": "edge", "reflect": "symmetric", "mirror": "reflect"}[border]
    wanted = np.pad(np.arange(n), 17, mode=mode)
    assert mirrored(torch.arange(-17, n + 17), n, border).tolist() == wanted.tolist()


@pytest.mark.parametrize(("border", "truncate"), [("nearest", 4.0), ("reflect", 3.0)])
@pytest.mark.parametrize("sigma", [0.05, 0.4, 1.0, 6.4])
def test_a_blur_is_scipys(sigma, border, truncate):
    x = images()
    wanted = ndimage.gaussian_filter(x.numpy(), sigma, mode=border, truncate=truncate, axes=(2, 3))
    np.testing.assert_allclose(blurred(x, sigma, border, truncate).numpy(), wanted, atol=1e-10)


@pytest.mark.parametrize("border", ["nearest", "mirror"])
def test_a_correlation_is_scipys(border):
    x, kernel = images(), torch.linspace(-1, 2, 25, dtype=torch.float64).view(5, 5)
    wanted = ndimage.correlate(x.numpy(), kernel.numpy()[None, None], mode=border)
    np.testing.assert_allclose(correlated(x, kernel, border).numpy(), wanted, atol=1e-9)


def test_weights_sum_to_one_and_a_matrix_of_them_leaves_constants():
    weights = gaussian_weights(1.3, 4)
    assert float(weights.sum()) == pytest.approx(1)
    assert weights[4] / weights[3] == pytest.approx(math.exp(1 / (2 * 1.3**2)))
    assert gaussian_weights(0, 1).tolist() == [0, 1, 0]
    np.testing.assert_allclose(banded(weights, 6, "reflect").sum(1), 1)


def by_scipy(line: np.ndarray, factor: float) -> np.ndarray:
    """The middle of a line enlarged and cut."""
    n = len(line)
    kept = math.ceil(n / factor)
    long = ndimage.zoom(line[(n - kept) // 2 :][:kept], factor, order=1)
    return long[(len(long) - n) // 2 :][:n]


@pytest.mark.parametrize("n", [8, 31, 32, 96])
@pytest.mark.parametrize("factor", [1.0, 1.01, 1.06, 1.25, 1.75, 2.25, 4.5])
def test_zooming_is_what_scipy_makes_of_the_middle(n, factor):
    line = images(1, 1, 1, n)[0, 0, 0]
    np.testing.assert_allclose((zooming(n, factor) @ line).numpy(), by_scipy(line.numpy(), factor), atol=1e-9)


def test_a_motion_blur_is_the_sum_it_is_defined_by():
    x, angles = images(3, 2, 7, 9), torch.tensor([0.3, -2.0, math.pi / 2])
    made = streaked(x, 2.5, 1.5, angles)
    weights = [math.exp(-i * i / (2 * 1.5**2)) for i in range(7)]
    for n, angle in enumerate(angles.tolist()):
        for r in range(7):
            for c in range(9):
                wanted = 0.0
                for i, weight in enumerate(weights):
                    row = r + math.ceil(i * math.sin(angle) - 0.5)
                    column = c + math.ceil(i * math.cos(angle) - 0.5)
                    wanted += weight / sum(weights) * float(x[n, 1, min(max(row, 0), 6), min(max(column, 0), 8)])
                assert float(made[n, 1, r, c]) == pytest.approx(wanted, abs=1e-6)


def test_a_motion_blur_reaches_one_way_only():
    dot = torch.zeros(1, 1, 5, 9)
    dot[0, 0, 2, 4] = 1
    right = streaked(dot, 2, 1, torch.tensor([0.0]))[0, 0]  # each pixel sees those to its right
    assert bool((right[2, :5] > 0).all())
    assert float(right[2, 5:].abs().sum() + right[[0, 1, 3, 4]].abs().sum()) == 0
    assert float(right.sum()) == pytest.approx(1)


@pytest.mark.parametrize("border", ["reflect", "mirror"])
def test_sampling_between_pixels_is_scipys(border):
    x = images(1, 2)
    rows, columns = (Noise.of_batch(1, purpose=axis).uniform((40, 3), -9, 19).double() for axis in ("rows", "columns"))
    made = sampled(x, rows, columns, border)
    for c in range(2):
        at = [rows[0].numpy(), columns[0].numpy()]
        wanted = ndimage.map_coordinates(x[0, c].numpy(), at, order=1, mode=border)
        np.testing.assert_allclose(made[0, c].numpy(), wanted, atol=1e-9)


def clouds_by_hand(size: int, decay: float, numbers: list[float]) -> np.ndarray:
    """The diamond-square method point by point."""
    field, given, step, spread = np.zeros((size, size)), iter(numbers), size, 10_000.0
    while step >= 2:
        half, places = step // 2, range(0, size, step)
        for dr, dc, around in (
            (half, half, [(-half, -half), (-half, half), (half, -half), (half, half)]),
            (0, half, [(-half, 0), (half, 0), (0, -half), (0, half)]),
            (half, 0, [(-half, 0), (half, 0), (0, -half), (0, half)]),
        ):
            for r in places:
                for c in places:
                    near = [field[(r + dr + a) % size, (c + dc + b) % size] for a, b in around]
                    field[r + dr, c + dc] = sum(near) / 4 + spread * next(given)
        step, spread = half, spread / decay**2
    return (field - field.min()) / (field.max() - field.min())


@pytest.mark.parametrize(("size", "decay"), [(2, 3.0), (8, 1.75), (16, 3.0)])
def test_clouds_are_made_by_the_diamond_square_method(size, decay):
    numbers = Noise.of_batch(2).uniform((size * size - 1,), -1, 1)
    made = plasma(size, decay, numbers)
    for n in range(2):
        np.testing.assert_allclose(made[n].numpy(), clouds_by_hand(size, decay, numbers[n].tolist()), atol=1e-7)
    assert (made.amin((1, 2)), made.amax((1, 2))) == (pytest.approx(0), pytest.approx(1))


def test_clouds_of_a_larger_decay_are_smoother():
    numbers = Noise.of_batch(20).uniform((32 * 32 - 1,), -1, 1)
    steps = [float(plasma(32, decay, numbers).diff(dim=2).abs().mean()) for decay in (1.4, 1.75, 2.0, 3.0)]
    assert steps == sorted(steps, reverse=True)
