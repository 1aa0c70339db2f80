"""Flip, padded crop and cutout: each image with its own draw."""

import pytest
import torch

from hardy.data.augment import Augment
from hardy.describe import describe, rebuild
from hardy.errors import UsageError
from hardy.randomness import Noise
from toys import images

N = 400


def numbered(n: int = N, height: int = 8, width: int = 6) -> torch.Tensor:
    """Images whose pixels are 1, 2, 3, ... over a hundred, so that each tells where it came from."""
    return (torch.arange(height * width).float().view(1, 1, height, width) + 1).repeat(n, 3, 1, 1) / 100


def test_the_defaults_do_nothing():
    x = images(5)
    assert torch.equal(Augment()(x, Noise.of_batch(5)), x)


def test_half_of_the_images_are_mirrored_left_and_right():
    x = numbered()
    got = Augment(flip=True)(x, Noise.of_batch(N))
    mirrored = (got == x.flip(3)).flatten(1).all(1)
    kept = (got == x).flatten(1).all(1)
    assert torch.equal(mirrored, ~kept)
    assert float(mirrored.float().mean()) == pytest.approx(0.5, abs=4 * 0.5 / N**0.5)


@pytest.mark.parametrize("padding", ["zero", "reflect"])
def test_a_crop_is_a_window_of_the_padded_image_and_all_windows_occur(padding):
    x = numbered(600)
    got = Augment(crop=2, padding=padding)(x, Noise.of_batch(600))
    mode = "constant" if padding == "zero" else "reflect"
    padded = torch.nn.functional.pad(x[:1], (2, 2, 2, 2), mode=mode)
    windows = {(r, c): padded[0, :, r : r + 8, c : c + 6] for r in range(5) for c in range(5)}
    counts = dict.fromkeys(windows, 0)
    for image in got:
        (where,) = [place for place, window in windows.items() if torch.equal(window, image)]
        counts[where] += 1
    assert got.shape == x.shape
    assert min(counts.values()) >= 6
    assert max(counts.values()) <= 48


def test_a_cutout_is_a_square_around_a_pixel_cut_off_at_the_edge():
    x = numbered()
    got = Augment(cutout=3)(x, Noise.of_batch(N))
    centres = set()
    for image in got:
        hole = image[0] == 0
        assert torch.equal(image[:, ~hole], x[0][:, ~hole])
        assert bool((image[:, hole] == 0).all())
        rows, columns = hole.any(1).nonzero().flatten(), hole.any(0).nonzero().flatten()
        assert int(hole.sum()) == len(rows) * len(columns)
        assert torch.equal(rows, torch.arange(int(rows[0]), int(rows[-1]) + 1))
        assert 2 <= len(rows) <= 3
        assert 2 <= len(columns) <= 3
        centres.add((int(rows[0]), len(rows), int(columns[0]), len(columns)))
    assert len(centres) == 8 * 6  # every pixel is a centre sometimes


def test_an_even_cutout_has_its_side():
    got = Augment(cutout=4)(numbered(), Noise.of_batch(N))
    assert int((got[:, 0] == 0).sum((1, 2)).max()) == 16


def test_a_cutout_wider_than_the_image_can_blank_it():
    got = Augment(cutout=20)(numbered(20), Noise.of_batch(20))
    assert not got.any()


def test_an_images_draw_depends_on_its_own_noise_only():
    augment, noise, x = Augment(flip=True, crop=2, cutout=3), Noise.of_batch(30), images(30, (3, 8, 8))
    got = augment(x, noise)
    order = torch.tensor([7, 29, 0])
    assert torch.equal(augment(x[order], noise[order]), got[order])
    assert torch.equal(augment(x, noise), got)
    assert not torch.equal(augment(x, Noise.of_batch(30, step=1)), got)


def test_flip_crop_and_cutout_are_drawn_independently():
    x = numbered(2000)
    flipped = Augment(flip=True)(x, Noise.of_batch(2000))[:, 0, 0, 0] != x[:, 0, 0, 0]
    shifted_up = Augment(crop=2)(x, Noise.of_batch(2000))[:, 0, 0, 3] == 0
    both = float((flipped & shifted_up).float().mean())
    assert both == pytest.approx(float(flipped.float().mean() * shifted_up.float().mean()), abs=0.045)


def test_the_batch_given_is_left_alone():
    x = images(6, (3, 8, 8))
    Augment(flip=True, crop=2, padding="reflect", cutout=3)(x, Noise.of_batch(6))
    assert torch.equal(x, images(6, (3, 8, 8)))


def test_an_empty_batch_stays_empty():
    assert Augment(flip=True, crop=2, cutout=3)(images(0), Noise.of_batch(0)).shape == (0, 1, 4, 4)


def test_pixels_stay_in_the_unit_interval():
    got = Augment(flip=True, crop=3, padding="reflect", cutout=2)(images(50, (3, 8, 8)), Noise.of_batch(50))
    assert 0 <= float(got.min()) <= float(got.max()) <= 1


@pytest.mark.parametrize("field", ["crop", "cutout"])
def test_negative_numbers_of_pixels_are_refused(field):
    with pytest.raises(UsageError, match=f"{field} is -1; it must be at least 0 pixels"):
        Augment(**{field: -1})


def test_reflection_beyond_the_image_is_refused():
    x = images(2, (1, 8, 5))
    with pytest.raises(UsageError, match=r"crop is 5; it must be below the image's side \(5\) with reflect padding"):
        Augment(crop=5, padding="reflect")(x, Noise.of_batch(2))
    assert Augment(crop=4, padding="reflect")(x, Noise.of_batch(2)).shape == x.shape
    assert Augment(crop=9)(x, Noise.of_batch(2)).shape == x.shape


def test_settings_survive_the_way_through_json():
    augment = Augment(flip=True, crop=4, padding="reflect", cutout=8)
    assert rebuild(describe(augment), Augment) == augment
