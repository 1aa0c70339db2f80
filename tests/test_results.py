"""Measurement rows and their interval."""

import dataclasses
import json
import math

import pytest
from scipy import stats

from hardy.errors import FailedError, UsageError
from hardy.results import Measurement, append, newcombe, read, wilson


def row(value: float = 0.5, **change: object) -> Measurement:
    made = Measurement(
        run="r", what="clean accuracy", value=value, unit="fraction", n=10, low=0.2, high=0.8,
        settings={"attack": {"type": "PGD"}, "größe": "é\u2028\n"}, seconds=1.5, forwards=10, backwards=0,
        hardy="0.1", torch="2", device="cpu",
    )  # fmt: skip
    return dataclasses.replace(made, **change)


@pytest.mark.parametrize(("k", "n"), [(0, 1), (1, 1), (0, 40), (40, 40), (1, 40), (7, 10), (500, 1000), (4999, 10_000)])
def test_the_interval_is_wilsons(k, n):
    exact = stats.binomtest(k, n).proportion_ci(confidence_level=0.95, method="wilson")
    assert wilson(k, n) == pytest.approx((exact.low, exact.high), abs=1e-12)


def test_the_interval_by_hand():
    # the roots p of (p_hat - p)^2 = z^2 p (1 - p) / n
    z, n, share = 1.959963984540054, 10, 0.7
    a, b, c = 1 + z * z / n, -2 * share - z * z / n, share**2
    root = math.sqrt(b * b - 4 * a * c)
    assert wilson(7, 10) == pytest.approx(((-b - root) / (2 * a), (-b + root) / (2 * a)))


@pytest.mark.parametrize(
    ("counts", "interval"),
    [
        ((56, 70, 48, 80), (0.0524, 0.3339)),
        ((9, 10, 3, 10), (0.1705, 0.8090)),
        ((6, 7, 2, 7), (0.0582, 0.8062)),
        ((5, 56, 0, 29), (-0.0381, 0.1926)),
        ((0, 10, 0, 20), (-0.1611, 0.2775)),
        ((0, 10, 0, 10), (-0.2775, 0.2775)),
        ((10, 10, 0, 20), (0.6791, 1.0)),
        ((10, 10, 0, 10), (0.6075, 1.0)),
    ],
)
def test_the_interval_of_a_difference_is_that_of_newcombes_examples(counts, interval):
    # Newcombe, Stat. Med. 17 (1998), Table II, method 10
    assert newcombe(*counts) == pytest.approx(interval, abs=5e-5)


def test_the_interval_of_a_difference_by_hand_and_of_the_difference_the_other_way_round():
    (low, high), (other_low, other_high) = wilson(7, 10), wilson(4, 20)
    expected = 0.5 - math.hypot(0.7 - low, other_high - 0.2), 0.5 + math.hypot(high - 0.7, 0.2 - other_low)
    assert newcombe(7, 10, 4, 20) == pytest.approx(expected)
    assert newcombe(4, 20, 7, 10) == pytest.approx((-expected[1], -expected[0]))


def test_the_interval_of_a_difference_holds_it_in_95_of_100_cases():
    n, m, p, q = 40, 60, 0.6, 0.35
    held = sum(
        stats.binom.pmf(k, n, p) * stats.binom.pmf(j, m, q)
        for k in range(n + 1)
        for j in range(m + 1)
        if (ends := newcombe(k, n, j, m)) and ends[0] <= p - q <= ends[1]
    )
    assert held == pytest.approx(0.95, abs=0.01)


@pytest.mark.parametrize("counts", [(1, 0, 1, 2), (1, 2, 3, 2), (-1, 2, 1, 2)])
def test_a_difference_of_no_proportions_has_no_interval(counts):
    with pytest.raises(UsageError, match="An interval was asked for"):
        newcombe(*counts)


@pytest.mark.parametrize("n", [1, 3, 17, 1000])
def test_the_interval_holds_the_share_and_stays_within_0_and_1(n):
    for k in range(0, n + 1, max(1, n // 50)):
        low, high = wilson(k, n)
        assert 0 <= low <= k / n <= high <= 1
    assert wilson(0, n)[0] == 0.0
    assert wilson(n, n)[1] == 1.0


@pytest.mark.parametrize(("k", "n"), [(0, 0), (-1, 5), (6, 5), (0, -1)])
def test_an_interval_of_nothing_is_refused(k, n):
    with pytest.raises(UsageError, match=f"asked for {k} of {n}"):
        wilson(k, n)


def test_rows_come_back_as_they_were_written(tmp_path):
    path = tmp_path / "new" / "results.jsonl"
    append(path, [row(0.1), row(0.2, low=None, high=None)])
    append(path, [row(1 / 3)])
    assert read(path) == ([row(0.1), row(0.2, low=None, high=None), row(1 / 3)], 0)
    assert len(path.read_bytes().splitlines()) == 3


def test_writing_no_rows_changes_nothing(tmp_path):
    path = tmp_path / "results.jsonl"
    append(path, [row()])
    before = path.read_bytes()
    append(path, [])
    assert path.read_bytes() == before


def test_a_line_torn_by_a_kill_costs_that_line_only(tmp_path):
    path = tmp_path / "results.jsonl"
    append(path, [row(0.1), row(0.2)])
    whole = path.read_bytes()
    for length in range(len(whole) - 2, len(whole) // 2 + 10, -37):
        path.write_bytes(whole[:length])
        append(path, [row(0.3)])
        assert read(path) == ([row(0.1), row(0.3)], 1)


def test_lines_of_other_kinds_are_passed_over_and_counted(tmp_path):
    path = tmp_path / "results.jsonl"
    append(path, [row()])
    known = dataclasses.asdict(row())
    other = [
        json.dumps(known | {"newer": 1}),
        json.dumps({"run": "r"}),
        "[1, 2]",
        "3",
        "null",
        '"text"',
        "{",
        "\udcff",
        "[" * 100_000,
    ]
    with path.open("a", errors="surrogateescape") as file:
        file.write("\n".join(["", *other, "", ""]))
    append(path, [row(0.9)])
    assert read(path) == ([row(), row(0.9)], len(other))


def test_rows_whose_fields_are_of_other_kinds_are_passed_over_and_counted(tmp_path):
    path = tmp_path / "results.jsonl"
    append(path, [row(1)])
    other = {"value": "x", "n": 1.5, "low": [], "settings": [1], "what": None, "seconds": math.nan, "forwards": True}
    with path.open("a") as file:
        file.writelines(json.dumps(dataclasses.asdict(row()) | {name: value}) + "\n" for name, value in other.items())
    assert read(path) == ([row(1.0)], len(other))


def test_an_empty_file_has_no_rows(tmp_path):
    path = tmp_path / "results.jsonl"
    path.touch()
    assert read(path) == ([], 0)


def test_a_file_that_cannot_be_written_is_reported(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FailedError, match="results could not be written to"):
        append(tmp_path / "file" / "results.jsonl", [row()])
    with pytest.raises(FailedError, match="results could not be written to"):
        append(tmp_path, [row()])
