"""Random block shuffle: its facts, and against the authors' procedure in NumPy."""

import numpy as np
import pytest
import torch

from hardy.data.block_shuffle import block_order, block_shuffle, random_roll
from hardy.errors import UsageError
from hardy.randomness import Noise
from toys import images


def cuts_and_order(noise: Noise, k: int, length: int) -> tuple[list[int], list[int]]:
    """The draws behind one axis: where it is cut, and which block stands at which place."""
    cuts = noise.derive("cuts").integers(length, (k - 1,))[0].tolist()
    rank = noise.derive("order").permutation(k)[0].tolist()
    return cuts, [rank.index(place) for place in range(k)]


def authors_procedure(
    x: np.ndarray, rows: tuple[list[int], list[int]], columns: tuple[list[int], list[int]]
) -> np.ndarray:
    """Cut points sorted with the side appended; blocks concatenated in the order drawn; then the same across."""
    for axis, (cuts, order) in ((2, rows), (3, columns)):
        ends = sorted([*cuts, x.shape[axis]])
        blocks, begin = [], 0
        for end in ends:
            blocks.append(np.take(x, range(begin, end), axis=axis))
            begin = end
        x = np.concatenate([blocks[i] for i in order], axis=axis)
    return x


@pytest.mark.parametrize("k", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 9, 7), (2, 10, 31)])
def test_it_does_what_the_authors_do_given_the_same_cuts_and_order(k, shape):
    x = images(3, shape)
    for step in range(25):
        noise = Noise.of_batch(3, step=step, purpose="rbs")
        rows = cuts_and_order(noise.shared.derive("rows"), k, shape[1])
        columns = cuts_and_order(noise.shared.derive("columns"), k, shape[2])
        assert np.array_equal(block_shuffle(x, k, noise).numpy(), authors_procedure(x.numpy(), rows, columns))


@pytest.mark.parametrize("cuts", ["random", "equal"])
@pytest.mark.parametrize("per_image", [False, True])
@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_the_pixels_of_each_channel_are_permuted_and_channels_move_together(cuts, per_image, k):
    # the three channels of a pixel are its number and two multiples of it
    number = torch.arange(13 * 11).float().view(1, 1, 13, 11)
    x = torch.cat([number, 2 * number, 3 * number], 1).repeat(5, 1, 1, 1)
    got = block_shuffle(x, k, Noise.of_batch(5), cuts=cuts, per_image=per_image)
    assert got.shape == x.shape
    assert torch.equal(got.flatten(2).sort(2).values, x.flatten(2))
    assert torch.equal(got[:, 1], 2 * got[:, 0])
    assert torch.equal(got[:, 2], 3 * got[:, 0])
    # rows stay rows, columns stay columns
    assert all(len((got[i, 0] // 11)[:, 0].unique()) == 13 for i in range(5))
    assert torch.equal((got[:, 0] // 11), (got[:, 0] // 11)[:, :, :1].expand(-1, -1, 11))


def test_one_block_is_the_identity():
    x = images(4, (3, 8, 8))
    for per_image in (False, True):
        assert torch.equal(block_shuffle(x, 1, Noise.of_batch(4), per_image=per_image), x)


def test_two_blocks_are_a_roll_on_each_axis():
    x = images(2, (3, 12, 9))
    seen = set()
    for step in range(60):
        got = block_shuffle(x, 2, Noise.of_batch(2, step=step))
        rolls = [(r, c) for r in range(12) for c in range(9) if torch.equal(x.roll((r, c), (2, 3)), got)]
        assert len(rolls) == 1
        seen.update(rolls)
    assert len(seen) > 20
    assert (0, 0) in seen


def test_all_images_of_a_batch_are_shuffled_alike_whatever_the_batch():
    x = images(1, (3, 16, 16)).expand(6, -1, -1, -1)
    got = block_shuffle(x, 3, Noise.of_batch(6))
    assert torch.equal(got, got[:1].expand_as(got))
    assert not torch.equal(got, x)
    assert torch.equal(block_shuffle(x[:2], 3, Noise.of_batch(2)), got[:2])


def test_per_image_each_has_its_own_shuffle_which_its_neighbours_do_not_change():
    x = images(1, (3, 16, 16)).expand(6, -1, -1, -1)
    noise = Noise.of_batch(6)
    got = block_shuffle(x, 3, noise, per_image=True)
    assert len({tuple(g.flatten().tolist()) for g in got}) > 3
    order = torch.tensor([5, 1, 3])
    assert torch.equal(block_shuffle(x[order], 3, noise[order], per_image=True), got[order])


def test_per_image_is_the_shuffle_of_each_rows_own_draws():
    x, noise = images(4, (2, 10, 8)), Noise.of_batch(4)
    got = block_shuffle(x, 3, noise, per_image=True)
    for i in range(4):
        rows = cuts_and_order(noise[i : i + 1].derive("rows"), 3, 10)
        columns = cuts_and_order(noise[i : i + 1].derive("columns"), 3, 8)
        assert np.array_equal(got[i : i + 1].numpy(), authors_procedure(x[i : i + 1].numpy(), rows, columns))


# how often nothing happens


@pytest.mark.parametrize(("k", "share"), [(2, 0.5 + 0.5 / 32), (3, 0.198), (4, 0.066)])
def test_an_axis_of_32_stays_as_it_is_as_often_as_computed(k, share):
    n = 20_000
    unchanged = (block_order(k, 32, "random", Noise.of_batch(n)) == torch.arange(32)).all(1)
    assert float(unchanged.float().mean()) == pytest.approx(share, abs=4 * (share * (1 - share) / n) ** 0.5 + 0.0005)


def test_an_image_of_32_pixels_stays_as_it_is_in_26_6_per_cent_of_draws():
    n = 20_000
    still = torch.arange(32)
    rows = (block_order(2, 32, "random", Noise.of_batch(n).derive("rows")) == still).all(1)
    columns = (block_order(2, 32, "random", Noise.of_batch(n).derive("columns")) == still).all(1)
    assert float((rows & columns).float().mean()) == pytest.approx(0.2659, abs=4 * (0.266 * 0.734 / n) ** 0.5)


def test_the_batchs_shuffle_has_the_same_chance_of_doing_nothing():
    x = torch.arange(32 * 32).float().view(1, 1, 32, 32)
    n = 600
    same = sum(torch.equal(block_shuffle(x, 2, Noise.of_batch(1, step=step)), x) for step in range(n))
    assert same / n == pytest.approx(0.2659, abs=4 * (0.266 * 0.734 / n) ** 0.5)


def test_offsets_other_than_none_are_equally_likely():
    n = 31_000
    first = block_order(2, 32, "random", Noise.of_batch(n))[:, 0]
    counts = torch.bincount(first, minlength=32)[1:].double()
    assert float((counts - n / 64).abs().max()) < 5 * (n / 64) ** 0.5


# cuts


def test_blocks_may_be_empty_and_sides_need_not_be_divisible():
    lengths = []
    for step in range(40):
        cuts = sorted(Noise.of_batch(1, step=step).derive("cuts").integers(7, (4,))[0].tolist())
        order = block_order(5, 7, "random", Noise.of_batch(1, step=step))[0]
        assert order.sort().values.tolist() == list(range(7))
        assert all(0 <= c < 7 for c in cuts)
        lengths += [b - a for a, b in zip([0, *cuts], [*cuts, 7], strict=True)]
    assert 0 in lengths
    assert max(lengths) >= 5


def test_equal_cuts_make_blocks_of_equal_length():
    x = torch.arange(12)
    seen = set()
    for step in range(200):
        order = block_order(3, 12, "equal", Noise.of_batch(1, step=step))[0]
        blocks = order.view(3, 4)
        assert torch.equal(blocks - blocks[:, :1], x[:4].expand(3, 4))
        seen.add(tuple((blocks[:, 0] // 4).tolist()))
    assert len(seen) == 6


@pytest.mark.parametrize(("k", "length"), [(2, 7), (3, 32), (4, 10), (7, 7)])
def test_equal_cuts_of_a_side_that_is_not_divisible_differ_by_one_pixel_at_most(k, length):
    order = block_order(k, length, "equal", Noise.of_batch(200))
    jumps = [1 + ((o[1:] - o[:-1]) != 1).nonzero().flatten() for o in order]
    most = max(jumps, key=len)
    assert len(most) == k - 1
    lengths = np.diff([0, *most.tolist(), length])
    assert lengths.max() - lengths.min() <= 1


@pytest.mark.parametrize("k", [0, -1, 9])
def test_a_number_of_blocks_that_is_none_is_refused(k):
    with pytest.raises(UsageError, match=rf"k is {k}; it must be the number of blocks, 1 to the image's side \(8\)"):
        block_shuffle(images(1, (1, 8, 8)), k, Noise.of_batch(1))


def test_gradients_pass_through_the_shuffle():
    x = images(2, (1, 5, 5)).double().requires_grad_()
    for per_image in (False, True):
        weight = torch.arange(50.0).view(2, 1, 5, 5).double()
        (gradient,) = torch.autograd.grad(
            (weight * block_shuffle(x, 3, Noise.of_batch(2), per_image=per_image)).sum(), x
        )
        assert gradient.flatten().sort().values.tolist() == list(range(50))


# the control


def test_the_control_rolls_the_whole_batch_by_one_offset_uniform_on_each_axis():
    x = torch.arange(8 * 6).float().view(1, 1, 8, 6).repeat(3, 1, 1, 1)
    counts = torch.zeros(8, 6)
    for step in range(1440):
        got = random_roll(x, Noise.of_batch(3, step=step))
        place = int(got[0, 0].flatten().argmin())
        offset = (place // 6, place % 6)
        if step < 100:
            assert torch.equal(got, x.roll(offset, (2, 3)))
        counts[offset] += 1
    assert float((counts - 30).abs().max()) < 5 * 30**0.5
