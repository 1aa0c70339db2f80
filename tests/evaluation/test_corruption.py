"""Accuracy on corrupted images: by hand on a network that looks at brightness alone, and the means over corruptions."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from data.pictures import pictures
from hardy.data.corrupted import Corrupted
from hardy.data.corruptions import KINDS, RAT_PAPER, USUAL, corrupt
from hardy.data.split import Split
from hardy.errors import UsageError
from hardy.evaluation.corruption import SUMMARIES, corruption_accuracy, mean_over, summaries
from hardy.randomness import Noise

N = 40


class Bright(nn.Module):
    """Class 1 for images that are brighter than grey on average. largest: how many it was shown at once, at most."""

    def __init__(self) -> None:
        super().__init__()
        self.largest = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert not self.training
        self.largest = max(self.largest, len(x))
        mean = x.double().mean((1, 2, 3)).float() - 0.5
        return torch.stack([-mean, mean], 1)


@pytest.fixture(scope="module")
def split() -> Split:
    x = pictures(N)
    labels = (x.double().mean((1, 2, 3)) > 127.5).long()
    labels[:4] = 1 - labels[:4]  # four are wrong from the start
    return Split(x, labels, ("dark", "bright"), torch.arange(7, 7 + N), "pictures")


def right(split: Split, kind: str, severity: int) -> np.ndarray:
    x = corrupt(split.images, kind, severity, Noise(0, split.indices, purpose="corruption"))
    return ((x.double().mean((1, 2, 3)) > 127.5).long() == split.labels).double().numpy()


def test_rows_are_the_shares_counted_by_hand(split):
    rows = corruption_accuracy(
        Bright(), split, kinds=("fog", "brightness"), severities=(5, 1), run="it", settings={"a": 1}
    )
    assert [row.what for row in rows] == [
        "clean accuracy",
        "accuracy under fog, severity 1",
        "accuracy under fog, severity 5",
        "accuracy under brightness, severity 1",
        "accuracy under brightness, severity 5",
        "accuracy under fog, mean over severities",
        "accuracy under brightness, mean over severities",
    ]
    by_hand = {(kind, s): right(split, kind, s) for kind in ("fog", "brightness") for s in (1, 5)}
    assert [row.value for row in rows[:5]] == pytest.approx([0.9, *(of.mean() for of in by_hand.values())])
    assert len({row.value for row in rows[1:5]}) > 2
    for row, kind in zip(rows[5:], ("fog", "brightness"), strict=True):
        share = (by_hand[kind, 1] + by_hand[kind, 5]) / 2
        half = 1.959964 * share.std(ddof=1) / N**0.5
        assert (row.value, row.low, row.high) == pytest.approx((share.mean(), share.mean() - half, share.mean() + half))
    assert rows[2].settings == {
        "a": 1, "data": "pictures", "kind": "fog", "severity": 5, "seed": 0,
        "images": "made here, constants those of CIFAR, frost drawn",
        "constants": {"type": "Fog", "strength": 1.5, "decay": 1.75},
    }  # fmt: skip
    assert rows[5].settings["severities"] == [1, 5]
    assert rows[5].settings["images"] == rows[2].settings["images"]
    assert [row.forwards for row in rows] == [N] * 5 + [2 * N] * 2
    assert all(row.n == N and row.run == "it" and row.unit == "fraction" and row.backwards == 0 for row in rows)


def test_numbers_do_not_depend_on_the_batch_and_no_more_than_one_is_shown(split):
    large = corruption_accuracy(Bright(), split, kinds=("glass_blur", "frost"), severities=(5,))
    model = Bright()
    small = corruption_accuracy(model, split, kinds=("glass_blur", "frost"), severities=(5,), batch=7)
    assert [row.value for row in small] == [row.value for row in large]
    assert model.largest == 7
    assert model.training


class Told(Corrupted):
    """Images that only say which type they are: that of number i is bright where i is even."""

    says = "told"

    def images(self, kind, severity, part):
        bright = list(KINDS).index(kind) % 2 == 0
        return torch.full_like(part.images, 200 if bright else 20)

    def settings(self, kind, severity):
        return {"images": self.says}


def test_mca_is_the_mean_over_twelve_and_over_fifteen_types_with_an_interval_over_images(split):
    rows = {row.what: row for row in corruption_accuracy(Bright(), split, corrupted=Told())}
    assert len(rows) == 1 + 19 * 5 + 19 + 2
    bright = split.labels.double().numpy()
    for name, of in (("mCA-12", RAT_PAPER), ("mCA-15", USUAL)):
        even = np.mean([list(KINDS).index(kind) % 2 == 0 for kind in of])
        share = even * bright + (1 - even) * (1 - bright)  # of each image
        half = 1.959964 * share.std(ddof=1) / N**0.5
        row = rows[name]
        assert (row.value, row.low, row.high) == pytest.approx((share.mean(), share.mean() - half, share.mean() + half))
        assert row.n == N
        assert row.settings["kinds"] == list(of)
        assert row.forwards == len(of) * 5 * N
    assert rows["accuracy under snow, severity 3"].settings["images"] == "told"


def test_an_interval_over_images_is_wider_than_if_each_corruption_were_of_other_images(split):
    """Corruptions of one image succeed or fail together: as many numbers, but not as much to know."""
    rows = {row.what: row for row in corruption_accuracy(Bright(), split, kinds=RAT_PAPER)}
    row = rows["mCA-12"]
    independent = 1.96 * (row.value * (1 - row.value) / (N * 60)) ** 0.5
    assert row.high - row.value > 2 * independent


# RAT paper, Table 2: mCA, then its twelve types in the order of RAT_PAPER
TABLE = """
81.15 83.40 53.27 79.51 77.23 83.57 82.03 90.59 94.42 92.68 84.18 75.72 77.19
81.58 83.05 79.97 80.02 82.20 82.40 85.26 71.70 86.70 76.38 81.13 85.07 85.06
80.67 82.34 79.02 79.32 81.41 81.00 84.22 71.13 85.83 75.80 80.24 83.94 83.80
87.05 88.52 82.67 85.24 87.57 86.98 89.50 81.29 91.85 84.12 86.91 89.99 89.96
77.36 82.76 80.30 78.32 81.59 81.49 78.51 62.54 84.52 45.67 81.50 85.66 85.51
87.94 89.12 83.25 85.75 88.45 87.90 90.15 83.04 92.76 85.70 87.95 90.35 90.86
57.45 62.73 21.30 58.27 57.47 56.63 52.75 69.95 75.46 71.89 61.79 54.13 46.98
52.87 54.84 50.85 51.30 53.13 52.80 56.76 41.80 59.07 47.26 52.30 57.59 56.71
50.99 52.89 50.15 49.57 51.60 51.04 54.81 39.64 57.26 44.85 50.26 55.35 54.47
61.48 63.77 55.37 59.51 62.39 61.26 64.46 52.62 67.75 57.68 61.38 65.75 65.86
50.79 55.97 52.69 51.56 54.75 53.37 49.66 34.80 57.99 25.37 54.30 60.02 59.04
62.44 64.20 55.39 59.84 62.70 62.20 65.71 54.55 69.27 59.92 62.00 67.30 66.21
"""


@pytest.mark.parametrize("line", TABLE.strip().splitlines())
def test_the_mean_over_twelve_types_is_the_rat_papers_mca(line):
    mca, *by_type = map(float, line.split())
    shares = {kind: torch.tensor([value]) for kind, value in zip(RAT_PAPER, by_type, strict=True)}
    assert float(mean_over(SUMMARIES["mCA-12"], shares)) == pytest.approx(mca, abs=0.00501)


def test_a_summary_is_there_only_where_all_that_it_is_over_was_measured():
    assert list(summaries(tuple(KINDS), (1, 2, 3, 4, 5))) == ["mCA-12", "mCA-15"]
    assert list(summaries(RAT_PAPER, (1, 2, 3, 4, 5))) == ["mCA-12"]
    assert summaries(RAT_PAPER[1:], (1, 2, 3, 4, 5)) == summaries(tuple(KINDS), (1, 2, 3, 4)) == {}


def test_progress_is_told_in_images(split):
    told = []
    corruption_accuracy(
        Bright(), split, kinds=("contrast",), severities=(1, 2), batch=30, tell=lambda *at: told.append(at)
    )
    assert told == [(30, 2 * N), (N, 2 * N), (N + 30, 2 * N), (2 * N, 2 * N)]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"kinds": ()}, r"types is \(\); it must be at least one type of corruption"),
        ({"kinds": ("snwo",)}, "There is no type of corruption named 'snwo'; did you mean snow"),
        ({"kinds": ("snow", "snow")}, "it must be types that differ"),
        ({"severities": ()}, r"severities is \(\); it must be at least one of 1..5"),
        ({"severities": (6,)}, "severity is 6; it must be in 1..5"),
        ({"severities": (2, 2)}, "it must be severities that differ"),
        ({"severities": (1.5,)}, "severities is"),
        ({"batch": 0}, "batch is 0; it must be at least 1"),
    ],
)
def test_what_cannot_be_measured_is_told(split, given, said):
    with pytest.raises(UsageError, match=said):
        corruption_accuracy(Bright(), split, **given)


def test_images_that_are_too_small_are_refused(split):
    small = replace(split, images=split.images[..., :6, :6])
    with pytest.raises(UsageError, match="the shorter side of the images is 6; it must be at least 8 pixels"):
        corruption_accuracy(Bright(), small)
