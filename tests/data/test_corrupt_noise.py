"""Noise: its distribution, where it is known."""

import numpy as np
import pytest
import torch
from scipy import stats

from data.pictures import pictures
from hardy.data.corrupt_noise import GaussianNoise, ImpulseNoise, ShotNoise, SpeckleNoise, _poisson
from hardy.errors import UsageError
from hardy.randomness import Noise


def flat(level: int, n: int = 60) -> torch.Tensor:
    return torch.full((n, 3, 32, 32), level, dtype=torch.uint8)


def noised(made, level: int) -> np.ndarray:
    """Bytes, all of one grey before."""
    return made.apply(flat(level), Noise.of_batch(60)).numpy().astype(float)


@pytest.mark.parametrize(("made", "spread"), [(GaussianNoise(0.06), 0.06), (SpeckleNoise(0.12), 0.12 * 100 / 255)])
def test_gaussian_noise_has_its_spread_and_speckle_noise_that_of_its_pixel(made, spread):
    x = noised(made, 100)
    n = x.size
    assert x.mean() == pytest.approx(100 - 0.5, abs=5 * 255 * spread / n**0.5)  # cut to whole numbers: half a byte less
    assert x.std() == pytest.approx(255 * spread, rel=5 / (2 * n) ** 0.5 + 0.005)
    assert abs(stats.skew(x.flatten())) < 0.02


def test_speckle_noise_leaves_black_and_gaussian_noise_does_not():
    assert (noised(SpeckleNoise(0.2), 0) == 0).all()
    assert (noised(GaussianNoise(0.1), 0) > 0).mean() == pytest.approx(0.5, abs=0.03)  # the other half would be below 0


@pytest.mark.parametrize(("photons", "level"), [(50, 128), (500, 255), (3, 60)])
def test_shot_noise_is_poissons(photons, level):
    x = noised(ShotNoise(photons), level)
    rate = photons * level / 255
    counts = np.arange(int(rate + 12 * rate**0.5 + 12))
    wanted = np.floor(np.clip(counts / photons, 0, 1) * 255)
    shares = stats.poisson.pmf(counts, rate)
    assert np.isin(x, wanted).all()
    for value in np.unique(wanted):
        share = shares[wanted == value].sum()
        assert (x == value).mean() == pytest.approx(share, abs=5 * (share / x.size) ** 0.5 + 5 / x.size)


def test_the_table_of_poisson_shares_is_scipys():
    table = _poisson(75.0)
    for byte in (0, 1, 100, 255):
        wanted = stats.poisson.cdf(np.arange(table.shape[1]), 75 * byte / 255)
        np.testing.assert_allclose((table[byte] - byte).numpy(), wanted, atol=1e-12)


def test_shot_noise_of_more_light_is_less():
    spreads = [noised(ShotNoise(photons), 100).std() for photons in (500, 250, 100, 75, 50)]
    assert spreads == sorted(spreads)
    np.testing.assert_allclose(spreads, [255 * (100 / 255 / p) ** 0.5 for p in (500, 250, 100, 75, 50)], rtol=0.02)


def test_impulse_noise_strikes_each_value_by_itself_half_of_them_black():
    x, y = pictures(60), ImpulseNoise(0.27).apply(pictures(60), Noise.of_batch(60))
    grey = noised(ImpulseNoise(0.27), 100)
    for value in (0, 255):
        assert (grey == value).mean() == pytest.approx(0.135, abs=0.004)
    assert bool(((y == x) | (y == 0) | (y == 255)).all())
    struck = grey != 100
    assert struck.all(1).mean() == pytest.approx(0.27**3, abs=0.002)  # channels are independent


def test_noise_of_no_light_is_refused():
    with pytest.raises(UsageError, match=r"photons is 0.0; it must be above 0"):
        ShotNoise(0)
    with pytest.raises(UsageError, match=r"sigma is -1.0; it must be at least 0"):
        GaussianNoise(-1)
