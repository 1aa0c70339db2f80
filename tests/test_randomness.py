"""Philox, and the streams made of it."""

import math
import random

import numpy as np
import pytest
import torch
from scipy import stats

from hardy import randomness
from hardy.errors import UsageError
from hardy.randomness import Noise, philox

M0, M1, W0, W1 = 0xD2511F53, 0xCD9E8D57, 0x9E3779B9, 0xBB67AE85


def philox_of_integers(counter: tuple[int, ...], key: tuple[int, int]) -> tuple[int, ...]:
    """Philox-4x32-10 in Python's integers, from the paper's description."""
    x, k = list(counter), list(key)
    for turn in range(10):
        if turn:
            k = [(k[0] + W0) % 2**32, (k[1] + W1) % 2**32]
        high0, low0 = divmod(M0 * x[0], 2**32)
        high1, low1 = divmod(M1 * x[2], 2**32)
        x = [high1 ^ x[1] ^ k[0], low1, high0 ^ x[3] ^ k[1], low0]
    return tuple(x)


def of_library(counter: tuple[int, ...], key: tuple[int, int]) -> tuple[int, ...]:
    words = philox(tuple(torch.tensor([c], dtype=torch.int64) for c in counter), key)
    return tuple(int(w) for w in words)


@pytest.mark.parametrize(
    ("counter", "key", "answer"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
    ids=["zeros", "ones", "pi"],
)
def test_philox_gives_the_published_known_answers(counter, key, answer):
    assert of_library(counter, key) == answer
    assert philox_of_integers(counter, key) == answer


def test_philox_equals_an_implementation_in_python_integers():
    numbers = random.Random(1)
    inputs = [tuple(numbers.getrandbits(32) for _ in range(6)) for _ in range(300)]
    columns = [torch.tensor(column, dtype=torch.int64) for column in zip(*inputs, strict=True)]
    words = philox(tuple(columns[:4]), (columns[4], columns[5]))
    got = list(zip(*(w.tolist() for w in words), strict=True))
    assert got == [philox_of_integers(i[:4], i[4:]) for i in inputs]


def test_philox_does_not_change_its_inputs():
    counter = tuple(torch.tensor([5, 6], dtype=torch.int64) for _ in range(4))
    philox(counter, (1, 2))
    assert all(c.tolist() == [5, 6] for c in counter)


def test_a_stream_is_philox_of_position_draw_row_purpose_under_seed_and_step():
    noise = Noise(11, torch.tensor([3, 2**31 + 5]), step=7, purpose="p").draw(4)
    bits = noise.bits((2, 3))
    purpose = [philox_purpose(noise)]
    for row, stands in enumerate((3, 2**31 + 5)):
        words = [w for block in (0, 1) for w in philox_of_integers((block, 4, stands, purpose[0]), (11, 7))]
        assert bits[row].flatten().tolist() == words[:6]


def philox_purpose(noise: Noise) -> int:
    import hashlib

    return int.from_bytes(hashlib.blake2b(noise.purpose.encode(), digest_size=4).digest(), "little")


# independence of what stands beside


def test_a_rows_numbers_do_not_depend_on_the_other_rows_or_their_order():
    rows = torch.tensor([9, 2, 70_000, 5, 0, 31])
    whole = Noise(1, rows)
    for kind in (
        lambda n: n.bits((3, 5)),
        lambda n: n.uniform((7,)),
        lambda n: n.normal((3, 3)),
        lambda n: n.permutation(9),
    ):
        expected = kind(whole)
        order = torch.tensor([4, 0, 5, 2, 1, 3])
        assert torch.equal(kind(Noise(1, rows[order])), expected[order])
        one_by_one = torch.cat([kind(Noise(1, rows[i : i + 1])) for i in range(6)])
        assert torch.equal(one_by_one, expected)
        assert torch.equal(kind(whole[order]), expected[order])
        assert torch.equal(kind(whole[2:4]), expected[2:4])


@pytest.mark.parametrize("chunk", [1, 7, 64, 10**6])
def test_working_in_chunks_changes_no_bit(monkeypatch, chunk):
    draws = torch.arange(33) % 5
    expected = Noise.of_batch(33).draw(draws).bits((3, 7))
    monkeypatch.setattr(randomness, "_CHUNK", chunk)
    assert torch.equal(Noise.of_batch(33).draw(draws).bits((3, 7)), expected)


def test_a_longer_row_begins_with_the_shorter_one():
    noise = Noise.of_batch(4)
    assert torch.equal(noise.bits((10,))[:, :3], noise.bits((3,)))
    assert torch.equal(noise.bits((2, 6)).flatten(1), noise.bits((12,)))


def test_the_same_noise_asked_twice_gives_the_same_numbers():
    noise = Noise.of_batch(3, seed=4, purpose="x")
    assert torch.equal(noise.uniform((5,)), noise.uniform((5,)))
    assert torch.equal(noise.uniform((5,)), Noise.of_batch(3, seed=4, purpose="x").uniform((5,)))


@pytest.mark.parametrize(
    "other",
    [
        Noise.of_batch(3, seed=1),
        Noise.of_batch(3, step=1),
        Noise.of_batch(3, purpose="x"),
        Noise.of_batch(3).draw(1),
        Noise.of_batch(3).derive("x"),
        Noise(0, torch.arange(3, 6)),
    ],
    ids=["seed", "step", "purpose", "draw", "derive", "rows"],
)
def test_every_part_of_the_key_gives_other_numbers(other):
    assert not (other.bits((64,)) == Noise.of_batch(3).bits((64,))).any()


def test_the_global_generator_is_neither_used_nor_touched():
    torch.manual_seed(0)
    first = [Noise.of_batch(3).uniform((4,)), Noise.of_batch(3).normal((4,)), Noise.of_batch(3).permutation(5)]
    torch.manual_seed(123)
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    second = [Noise.of_batch(3).uniform((4,)), Noise.of_batch(3).normal((4,)), Noise.of_batch(3).permutation(5)]
    Noise.of_batch(3).integers(7, (2,))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert torch.equal(torch.get_rng_state(), before)
    assert (np.random.get_state()[1] == numpy_before).all()  # noqa: NPY002


def test_rows_at_different_draws_get_each_its_own():
    noise = Noise.of_batch(4)
    mixed = noise.draw(torch.tensor([0, 3, 1, 3])).uniform((6,))
    for row, draw in enumerate((0, 3, 1, 3)):
        assert torch.equal(mixed[row], noise.draw(draw).uniform((6,))[row])


def test_selecting_and_joining_keep_rows_and_draws_together():
    noise = Noise(5, torch.tensor([8, 1, 4, 6]), step=2, purpose="p").draw(torch.tensor([3, 0, 2, 9]))
    whole = noise.uniform((5,))
    index = torch.tensor([2, 0])
    assert torch.equal(noise[index].uniform((5,)), whole[index])
    keep = torch.tensor([True, False, True, True])
    assert torch.equal(noise[keep].uniform((5,)), whole[keep])
    joined = Noise.cat([noise[keep], noise[~keep]])
    assert len(joined) == 4
    assert torch.equal(joined.uniform((5,)), torch.cat([whole[keep], whole[~keep]]))
    plain = Noise.of_batch(5).draw(6)
    assert torch.equal(Noise.cat([plain[:2], plain[2:]]).uniform((5,)), plain.uniform((5,)))


def test_the_shared_row_is_the_same_whatever_the_batch_and_none_of_its_rows():
    a, b = Noise.of_batch(3).shared, Noise(0, torch.tensor([7])).shared
    assert len(a) == 1
    assert torch.equal(a.bits((8,)), b.bits((8,)))
    assert not (Noise.of_batch(64).bits((8,)) == a.bits((8,))).all(1).any()


def test_empty_batches_and_empty_shapes_have_the_shapes_asked_for():
    assert Noise.of_batch(0).uniform((3, 2)).shape == (0, 3, 2)
    assert Noise.of_batch(0).normal((3, 3)).shape == (0, 3, 3)
    assert Noise.of_batch(2).bits((0,)).shape == (2, 0)
    assert Noise.of_batch(2).uniform(()).shape == (2,)
    assert Noise.of_batch(2).integers(5, (0,)).shape == (2, 0)
    assert Noise.of_batch(2).permutation(1).tolist() == [[0], [0]]


@pytest.mark.parametrize(("seed", "step"), [(-1, 0), (2**32, 0), (0, -1), (0, 2**32)])
def test_seeds_and_steps_outside_32_bits_are_refused(seed, step):
    with pytest.raises(UsageError, match=r"must be an integer in \[0, 2\*\*32\)"):
        Noise.of_batch(1, seed, step=step)


# distributions


def test_uniform_numbers_are_uniform_in_the_half_open_interval():
    u = Noise.of_batch(400, seed=2).uniform((250,))
    assert u.dtype == torch.float32
    assert float(u.min()) >= 0
    assert float(u.max()) < 1
    assert abs(float(u.double().mean()) - 0.5) < 4 / math.sqrt(12 * u.numel())
    assert abs(float(u.double().var()) - 1 / 12) < 4 * math.sqrt(1 / 180 / u.numel())
    assert stats.kstest(u.flatten().double().numpy(), "uniform").pvalue > 0.01


def test_uniform_numbers_are_the_leading_24_bits():
    noise = Noise.of_batch(3)
    expected = (noise.bits((9,)).numpy() // 256).astype(np.float64) / 2**24
    assert (noise.uniform((9,)).double().numpy() == expected).all()


def test_a_range_of_uniform_numbers_is_kept_to():
    noise = Noise.of_batch(100)
    u = noise.uniform((100,), -0.25, 0.5)
    assert float(u.min()) >= -0.25
    assert float(u.max()) <= 0.5
    assert torch.allclose(u, noise.uniform((100,)) * 0.75 - 0.25, atol=1e-7)
    assert float(u.max() - u.min()) > 0.749


def test_normal_numbers_are_standard_normal():
    z = Noise.of_batch(400, seed=3).normal((250,)).double()
    assert abs(float(z.mean())) < 4 / math.sqrt(z.numel())
    assert abs(float(z.var()) - 1) < 4 * math.sqrt(2 / z.numel())
    assert stats.kstest(z.flatten().numpy(), "norm").pvalue > 0.01
    assert abs(stats.kurtosis(z.flatten().numpy())) < 0.06


@pytest.mark.parametrize("shape", [(1,), (7,), (2, 3, 3)])
def test_normal_numbers_are_those_of_a_float64_box_muller(shape):
    noise = Noise.of_batch(20, seed=6)
    count = math.prod(shape)
    half = (count + 1) // 2
    bits = noise.bits((2 * half,)).numpy()
    for row in range(20):
        u = [(int(b) + 0.5) / 2**32 for b in bits[row][:half]]
        v = [int(b) / 2**32 for b in bits[row][half:]]
        pairs = [(math.sqrt(-2 * math.log(a)), 2 * math.pi * b) for a, b in zip(u, v, strict=True)]
        expected = [r * math.cos(t) for r, t in pairs] + [r * math.sin(t) for r, t in pairs]
        got = noise.normal(shape)[row].flatten().tolist()
        assert got == pytest.approx(expected[:count], abs=1e-6)


def test_streams_of_neighbouring_keys_are_uncorrelated():
    n = 20_000
    base = Noise.of_batch(2, seed=1, purpose="a", step=5)
    first = base.uniform((n,)).double().numpy()
    others = {
        "row": first[1],
        "draw": base.draw(1).uniform((n,))[0].double().numpy(),
        "purpose": base.derive("b").uniform((n,))[0].double().numpy(),
        "step": Noise.of_batch(1, 1, purpose="a", step=6).uniform((n,))[0].double().numpy(),
        "seed": Noise.of_batch(1, 2, purpose="a", step=5).uniform((n,))[0].double().numpy(),
        "place": np.roll(first[0], 1),
    }
    for key, other in others.items():
        assert abs(np.corrcoef(first[0], other)[0, 1]) < 4 / math.sqrt(n), key
    normal = Noise.of_batch(1).normal((n,))[0].double().numpy()
    assert abs(np.corrcoef(normal[: n // 2], normal[n // 2 :])[0, 1]) < 4 / math.sqrt(n / 2)  # the two of a pair
    assert abs(np.corrcoef(normal[: n // 2] ** 2, normal[n // 2 :] ** 2)[0, 1]) < 4 / math.sqrt(n / 2)


def test_the_first_number_of_consecutive_rows_is_uniform_and_uncorrelated():
    u = Noise.of_batch(20_000).uniform((1,))[:, 0].double().numpy()
    assert stats.kstest(u, "uniform").pvalue > 0.01
    assert abs(np.corrcoef(u[:-1], u[1:])[0, 1]) < 4 / math.sqrt(len(u))


@pytest.mark.parametrize("high", [1, 2, 3, 10, 255])
def test_integers_cover_their_range_evenly(high):
    drawn = Noise.of_batch(200).integers(high, (200,)).flatten()
    counts = torch.bincount(drawn, minlength=high)
    assert len(counts) == high
    assert high == 1 or stats.chisquare(counts.numpy()).pvalue > 0.005


def test_integers_reach_both_ends_of_the_widest_range():
    drawn = Noise.of_batch(100).integers(2**31, (100,))
    assert int(drawn.min()) >= 0
    assert int(drawn.max()) < 2**31
    assert int(drawn.max()) > 2**31 * 0.999
    assert torch.equal(drawn, Noise.of_batch(100).bits((100,)) >> 1)


@pytest.mark.parametrize("high", [0, -3, 2**31 + 1])
def test_integers_outside_what_31_bits_allow_are_refused(high):
    with pytest.raises(UsageError, match="high"):
        Noise.of_batch(1).integers(high, (1,))


def test_permutations_hold_every_number_once_and_all_orders_are_equally_likely():
    drawn = Noise.of_batch(12_000).permutation(4)
    assert torch.equal(drawn.sort(1).values, torch.arange(4).expand(12_000, 4))
    code = (drawn * torch.tensor([64, 16, 4, 1])).sum(1)
    counts = code.unique(return_counts=True)[1]
    assert len(counts) == 24
    assert stats.chisquare(counts.numpy()).pvalue > 0.01


def test_rows_at_different_draws_keep_them_when_joined():
    rows = torch.arange(3)
    parts = [Noise(1, rows).draw(4), Noise(1, rows + 3).draw(torch.tensor([7, 8, 9]))]
    joined = Noise.cat(parts)
    assert joined.draws.tolist() == [4, 4, 4, 7, 8, 9]
    assert joined.uniform((5,)).equal(torch.cat([part.uniform((5,)) for part in parts]))
