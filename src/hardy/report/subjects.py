"""Subject: one network of a report, weights of a run, with the newest of each measurement."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hardy.describe import counted
from hardy.report.collect import Diagnosed, Found, Kept
from hardy.results import Measurement

_CRAFTED = "crafted on"


@dataclass(frozen=True)
class Subject:
    """name: in tables. which: "last", "best", or another word for the weights. rows: one for each measurement.

    numbers: of a paper, for settings that are those of one of its recipes.
    """

    name: str
    kept: Kept
    which: str
    weights: str | None
    rows: tuple[Measurement, ...]
    diagnosis: Diagnosed | None

    @property
    def data(self) -> str:
        """The images that judged it; "" where nothing did."""
        return images(self.rows[0]) if self.rows else ""


def subjects(found: Found) -> tuple[list[Subject], list[str]]:
    """(the networks, sentences on rows that were left out): each run once for each of its weights that were measured."""
    names, made, problems = _names([kept.place for kept in found.runs]), [], []
    for kept, name in zip(found.runs, names, strict=True):
        groups: dict[tuple[str, str], list[Measurement]] = {} if kept.rows else {("last", ""): []}
        for row in kept.rows:
            key = str(row.settings.get("weights", "file")), images(row)
            groups.setdefault(key, []).append(row)
        for (which, _), rows in groups.items():
            digest = rows[-1].settings.get("weights sha256") if rows else None
            own = [row for row in rows if row.settings.get("weights sha256") == digest]
            if len(own) < len(rows):
                older = counted(len(rows) - len(own), "row")
                problems.append(f"{older} of {kept.place} are of {which} weights that it had before, and left out.")
            alone = which != "best" and len({weights for weights, _ in groups}) == 1
            label = name if alone else f"{name}, {which}"
            diagnosis = next(
                (it for it in reversed(found.diagnoses) if digest is not None and it.weights == digest), None
            )
            made.append(Subject(label, kept, which, digest, tuple(newest(own)), diagnosis))
    return made, problems


def images(row: Measurement) -> str:
    """Which images a row is of, wherever they lay."""
    return placeless(str(row.settings.get("data", "")))


def placeless(origin: str) -> str:
    """Where images come from, without where they lay."""
    return re.sub(r" from [^;]*(?=;|$)", "", origin)


def measured_as(row: Mapping[str, Any]) -> str:
    """What two rows' settings must share to be the same measurement, of the same or of other networks."""
    return repr([row.get(name) for name in ("attack", "judge", _CRAFTED)])


def newest(rows: Sequence[Measurement]) -> list[Measurement]:
    """Of each measurement the row of most images, and of these the newest; in the order of their first appearance."""
    found: dict[tuple[str, str], Measurement] = {}
    for row in rows:
        key = row.what, measured_as(row.settings)
        if key not in found or row.n >= found[key].n:
            found[key] = row
    return list(found.values())


def _names(places: Sequence[str]) -> list[str]:
    """The last part of each place, with as many before it as tell it from the others."""
    parts = [Path(place).parts for place in places]
    names = []
    for own in parts:
        depth = 1
        while depth < len(own) and sum(other[-depth:] == own[-depth:] for other in parts) > 1:
            depth += 1
        names.append(str(Path(*own[-depth:])))
    return names
