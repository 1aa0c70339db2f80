"""Spatter: each of its steps against loops or scipy, and what it leaves of an image."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from data.pictures import is_cut, pictures
from hardy.data.corrupt_spatter import Mud, Water, _as_rough, _wet, distances, edges, equalised
from hardy.data.filters import blurred
from hardy.randomness import Noise


def edges_by_hand(x: np.ndarray) -> np.ndarray:
    """Canny's edges of one image (H, W), point by point."""
    h, w = x.shape
    sobel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    dx, dy = ndimage.correlate(x, sobel, mode="nearest"), ndimage.correlate(x, sobel.T, mode="nearest")
    slope = np.pad(np.abs(dx) + np.abs(dy), 1)
    possible = np.zeros((h, w), bool)
    for r in range(h):
        for c in range(w):
            angle = math.degrees(math.atan2(abs(dy[r, c]), abs(dx[r, c])))
            m = slope[r + 1, c + 1]
            if m <= 50:
                continue
            if angle < 22.5:
                possible[r, c] = m > slope[r + 1, c] and m >= slope[r + 1, c + 2]
            elif angle > 67.5:
                possible[r, c] = m > slope[r, c + 1] and m >= slope[r + 2, c + 1]
            elif dx[r, c] * dy[r, c] > 0:
                possible[r, c] = m > slope[r, c] and m > slope[r + 2, c + 2]
            else:
                possible[r, c] = m > slope[r, c + 2] and m > slope[r + 2, c]
    parts, _ = ndimage.label(possible, np.ones((3, 3)))
    return np.isin(parts, parts[possible & (slope[1:-1, 1:-1] > 150)]) & possible


def test_edges_are_cannys():
    x = pictures(4, 1).double()
    x[1] = (x[1] / 3).floor()  # slopes around the lower threshold
    for image, found in zip(x, edges(x), strict=True):
        assert np.array_equal(found[0].numpy(), edges_by_hand(image[0].numpy()))
    assert edges(x).double().mean((1, 2, 3)).min() > 0.01


def test_a_step_has_one_edge_and_a_flat_image_none():
    step = torch.zeros(1, 1, 6, 6, dtype=torch.float64)
    step[..., 3:] = 200
    assert edges(step)[0, 0].nonzero()[:, 1].unique().tolist() == [2]
    assert not edges(torch.full_like(step, 90)).any()


def test_distances_are_to_the_nearest_in_the_same_image():
    there = Noise.of_batch(3).uniform((1, 9, 7)) < 0.1
    there[1] = False
    made = distances(there)
    rows, columns = torch.meshgrid(torch.arange(9), torch.arange(7), indexing="ij")
    for image in (0, 2):
        points = there[image, 0].nonzero()
        away = ((rows[..., None] - points[:, 0]) ** 2 + (columns[..., None] - points[:, 1]) ** 2).amin(-1).sqrt()
        np.testing.assert_allclose(made[image, 0], away)
    assert float(made[1].min()) > 1e5
    assert float(distances(torch.zeros(1, 1, 4, 4, dtype=torch.bool)).min()) > 1e5


def test_equalising_spreads_ranks_over_all_bytes():
    x = torch.tensor([[3, 3, 7, 9], [20, 20, 20, 20]]).view(2, 1, 2, 2).double()
    assert equalised(x).flatten(1).tolist() == [[0, 0, round(255 / 2), 255], [20, 20, 20, 20]]


def test_where_no_drop_falls_the_image_stays():
    x = pictures()
    for made in (Water(0.0, 0.1, 1.0, 0.9, 0.5), Mud(0.0, 0.1, 1.0, 0.9, 0.5)):
        assert torch.equal(made.apply(x, Noise.of_batch(4)), x)


def test_water_only_brightens_and_most_by_its_mix():
    x = torch.full((20, 3, 32, 32), 40, dtype=torch.uint8)
    y = Water(0.65, 0.3, 1, 0.69, 0.5).apply(x, Noise.of_batch(20))
    assert bool((y >= x).all())
    brightest = y.amax((2, 3)).double() - 40
    turquoise = torch.tensor([175, 238, 238]) * 0.5
    np.testing.assert_allclose(brightest, turquoise.expand(20, 3), atol=1)


def test_mud_is_brown_where_it_is_thick_and_nowhere_else():
    x, noise = pictures(20), Noise.of_batch(20)
    made = Mud(0.65, 0.1, 0.7, 0.69, 0.6)
    wet = _wet(made.mean, made.deviation, made.sigma, made.threshold, x, noise)
    cover = blurred((wet > 0.69).double(), 0.6)
    cover[cover < 0.8] = 0
    brown = torch.tensor([63, 42, 20]).view(3, 1, 1)
    y = made.apply(x, noise)
    assert is_cut(y, x * (1 - cover) + brown * cover)
    covered = (cover > 0).expand_as(x)
    assert torch.equal(y[~covered], x[~covered])
    assert 0.02 < float(covered.double().mean()) < 0.3


def test_the_wet_layer_is_smoothed_noise_cut_off_below():
    noise = Noise.of_batch(2)
    wanted = 0.62 + 0.1 * noise.normal((1, 16, 16)).double().numpy()
    wanted = ndimage.gaussian_filter(wanted, 0.7, mode="nearest", axes=(2, 3))
    made = _wet(0.62, 0.1, 0.7, 0.66, pictures(2, h=16, w=16), noise).numpy()
    np.testing.assert_allclose(made, np.where(wanted < 0.66, 0, wanted), atol=1e-9)
    assert 0 < (made > 0).mean() < 0.5


def test_of_a_smaller_image_the_smoothed_layer_is_as_rough():
    large, by = Water(0.65, 0.3, 4, 0.69, 0.6), 96 / 224
    small = large.scaled(by)
    assert small.sigma == pytest.approx(4 * by)
    spreads = []
    for made, side in ((large, 224), (small, 96)):
        drawn = made.deviation * Noise.of_batch(30).normal((side, side)).double()
        spreads.append(float(blurred(drawn, made.sigma)[:, 20:-20, 20:-20].std()))
    assert spreads[0] == pytest.approx(spreads[1], rel=0.05)
    assert _as_rough(0.3, 4, 1) == 0.3
