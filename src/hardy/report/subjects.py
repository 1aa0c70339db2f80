"""Subject: one network of a report, weights of a run, with the newest of each measurement."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

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
    def names(self) -> set[str]:
        """What rows may call it."""
        place = self.kept.place
        return {place, str(self.kept.told.get("run", {}).get("name", place))}

    def is_of(self, row: Measurement) -> bool:
        """Whether a row is of this network: by its weights, or by name where these are not known."""
        digest = digest_of(row)
        return row.run in self.names if None in (digest, self.weights) else digest == self.weights

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
            digest = digest_of(rows[-1]) if rows else None
            now = kept.steps.get(which)
            own = [
                row
                for row in rows
                if row.settings.get("weights sha256") == digest
                and (now is None or row.settings.get("step") in (None, now))
            ]
            if len(own) < len(rows):
                older = counted(len(rows) - len(own), "row")
                problems.append(f"{older} of {kept.place} are of {which} weights that it had before, and left out.")
            digest = digest if own else None
            alone = which != "best" and len({weights for weights, _ in groups}) == 1
            label = name if alone else f"{name}, {which}"
            made.append(
                Subject(
                    label, kept, which, digest, tuple(newest(own)), verdict_on(digest, set(map(images, own)), found)
                )
            )
    return made, problems


def digest_of(row: Measurement) -> str | None:
    """SHA-256 of the weights that a row is of; None where it does not say."""
    found = row.settings.get("weights sha256")
    return found if isinstance(found, str) else None


def verdict_on(digest: str | None, seen: set[str], found: Found) -> Diagnosed | None:
    """The diagnosis of these weights on the images seen; of several that of the most images, and of these the last."""
    fitting = [
        it for it in found.diagnoses
        if digest is not None and it.weights == digest and {images(row) for row in it.rows} <= seen
    ]  # fmt: skip
    return max(reversed(fitting), key=lambda it: it.n, default=None)


def images(row: Measurement) -> str:
    """Which images a row is of."""
    return same_images(str(row.settings.get("data", "")))


def same_images(data: str) -> str:
    """Which images these are, wherever their release lay; a user's own folder is what tells its images from others."""
    if data.startswith(("folder ", "digits ")):
        return data
    # a release whose checksum was compared when it was downloaded and one that was found on disk are held to be the same
    return re.sub(
        r" from [^;]*(?=;|$)|; (downloaded, checksum verified|read as found on disk, checksum not compared)", "", data
    )


def measured_as(row: Measurement) -> str:
    """What two rows must share to be the same measurement, of one network or of two: of an attack whatever it was called."""
    attack = row.settings.get("attack")
    return row.what if attack is None else repr((attack, row.settings.get("judge"), row.settings.get(_CRAFTED)))


def newest(rows: Sequence[Measurement]) -> list[Measurement]:
    """Of each measurement the row of most images, and of these the newest; in the order of their first appearance."""
    found: dict[str, Measurement] = {}
    for row in rows:
        key = measured_as(row)
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
