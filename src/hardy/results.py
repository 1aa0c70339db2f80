"""Measurement: one measured number with all that is needed to judge it; rows in results.jsonl."""

import dataclasses
import json
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_type_hints

from hardy.describe import fitted
from hardy.errors import FailedError, UsageError

_Z = 1.959963984540054  # two-sided 95 %


@dataclass(frozen=True)
class Measurement:
    """A row of results.jsonl.

    run: name of what was measured. what: the quantity, e.g. "accuracy under pgd-20". value, low, high: in `unit`, with a
    95 % interval of test sampling (NaN-free; None where there is none). n: images. settings: everything else that
    determines the value. seconds: wall-clock. forwards, backwards: passes of single images through the network.
    """

    run: str
    what: str
    value: float
    unit: str
    n: int
    low: float | None
    high: float | None
    settings: dict[str, Any]
    seconds: float
    forwards: int
    backwards: int
    device: str
    hardy: str = field(default_factory=partial(version, "hardy"))
    torch: str = field(default_factory=partial(version, "torch"))


_KINDS = {**get_type_hints(Measurement), "settings": dict}


def wilson(successes: int, n: int) -> tuple[float, float]:
    """95 % Wilson score interval of a proportion: the uncertainty from having tested n images and no others.

    Source: Wilson, J. Am. Stat. Assoc. 22 (1927). Raises: UsageError unless 0 <= successes <= n and n > 0.
    """
    if not 0 <= successes <= n or n == 0:
        raise UsageError(f"An interval was asked for {successes} of {n}; n must be positive and at least as large.")
    share, spread = successes / n, _Z * _Z / n
    centre = (share + spread / 2) / (1 + spread)
    half = math.sqrt(share * (1 - share) * spread + spread * spread / 4) / (1 + spread)
    # at the ends the two terms are equal but for rounding
    return (0.0 if successes == 0 else max(0.0, centre - half), 1.0 if successes == n else min(1.0, centre + half))


def newcombe(successes: int, n: int, other_successes: int, other_n: int) -> tuple[float, float]:
    """95 % interval of the difference of two proportions of independent samples, the first minus the other, of Wilson's of each.

    Source: Newcombe, Stat. Med. 17 (1998), 873-890, method 10. Raises: as `wilson`.
    """
    low, high = wilson(successes, n)
    other_low, other_high = wilson(other_successes, other_n)
    share, other = successes / n, other_successes / other_n
    return (
        share - other - math.hypot(share - low, other_high - other),
        share - other + math.hypot(high - share, other - other_low),
    )


def append(path: Path, rows: Iterable[Measurement]) -> None:
    """Add rows to a results file in one write; a torn last line, left by a kill, is ended first.

    Raises: FailedError if the file cannot be written.
    """
    text = "".join(json.dumps(dataclasses.asdict(row)) + "\n" for row in rows)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as file:
            if file.tell() and not path.read_bytes().endswith(b"\n"):
                text = "\n" + text
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise FailedError(f"The results could not be written to {path}: {error.strerror or error}.") from error


def read(path: Path) -> tuple[list[Measurement], int]:
    """(rows, how many lines were passed over because they are torn, damaged or of another version)."""
    rows, passed_over = [], 0
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if not line.strip():
            continue
        try:
            rows.append(of_json(json.loads(line)))
        except (TypeError, ValueError, RecursionError):
            passed_over += 1
    return rows, passed_over


def of_json(told: Any) -> Measurement:
    """The row that JSON tells. Raises: TypeError or ValueError where it tells none, or one of another version."""
    row = Measurement(**told)
    return dataclasses.replace(row, **{name: fitted(getattr(row, name), kind, name) for name, kind in _KINDS.items()})
