"""Notices of overfitting, from the rows of metrics.jsonl, while there is time to stop."""

from collections.abc import Mapping, Sequence
from typing import Any

MARGIN = 0.05  # robust accuracy lost since its best, in the newest two measurements both, before it is said
GAP = 0.2  # accuracy under one step above that under many; honest networks stay within some 0.05


def notices(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the newest validation row shows for the first time, in sentences; mostly nothing.

    rows: a run's validation rows in order, with `epoch`, and `robust` and `single_step` accuracies as fractions.

    Robust overfitting: Rice, Wong, Kolter, ICML 2020. Catastrophic overfitting: Wong, Rice, Kolter, ICLR 2020.
    """
    return [says(rows) for shows, says in _KINDS if shows(rows) and not any(shows(rows[:n]) for n in range(len(rows)))]


def _overfits(rows: Sequence[Mapping[str, Any]]) -> bool:
    if len(rows) < 3:
        return False
    best = max(row["robust"] for row in rows)
    return all(row["robust"] <= best - MARGIN for row in rows[-2:])


def _says_overfits(rows: Sequence[Mapping[str, Any]]) -> str:
    best = max(rows, key=lambda row: row["robust"])
    return (
        f"Robust overfitting: accuracy under attack on held-out images was {_percent(best)} at epoch {best['epoch']:g} and is "
        f"{_percent(rows[-1])} now, more than {100 * MARGIN:g} points below in two measurements running. The weights of epoch "
        f"{best['epoch']:g} are kept as the best; stopping here loses nothing."
    )


def _collapses(rows: Sequence[Mapping[str, Any]]) -> bool:
    return bool(rows) and rows[-1].get("single_step", 0.0) > rows[-1]["robust"] + GAP


def _says_collapses(rows: Sequence[Mapping[str, Any]]) -> str:
    return (
        f"Catastrophic overfitting: on held-out images accuracy is {100 * rows[-1]['single_step']:.1f} % under a single step but "
        f"{_percent(rows[-1])} under many, more than {100 * GAP:g} points apart. The network has learnt to fool weak attacks; "
        "more or smaller steps in training usually help."
    )


def _percent(row: Mapping[str, Any]) -> str:
    return f"{100 * row['robust']:.1f} %"


_KINDS = ((_overfits, _says_overfits), (_collapses, _says_collapses))
