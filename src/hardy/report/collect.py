"""What lies in folders: runs with what was measured of them, analyses, diagnoses, tables; and what could not be read."""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from hardy.describe import counted
from hardy.errors import UsageError
from hardy.report import analysis
from hardy.report.analysis import Analysis
from hardy.results import Measurement, of_json, read

_DEPTH = 4  # folders below the one named; deeper ones are not a user's results
_NO_RESULTS = {"checkpoints", "jobs", "tensorboard", "outcomes"}  # folders inside runs and tables


@dataclass(frozen=True)
class Diagnosed:
    """A diagnosis as `hardy diagnose --json` and the job of a table write it."""

    verdict: str
    why: str
    ball: str
    n: int
    signs: tuple[Mapping[str, Any], ...]
    weights: str | None  # SHA-256 of the weights that it is of
    rows: tuple[Measurement, ...]


@dataclass(frozen=True)
class Kept:
    """What a run's folder holds; or what is told of a published network, or a file of rows, which have less.

    place: what commands call it: a folder, or a name. told: run.json. metrics, costs: rows of these files, in order. steps: after
    how many the weights were saved that lie in the folder, "last" and "best". folder: whether it is one, of a run.
    """

    place: str
    told: Mapping[str, Any] = field(default_factory=dict)
    metrics: tuple[Mapping[str, Any], ...] = ()
    costs: tuple[Mapping[str, Any], ...] = ()
    rows: tuple[Measurement, ...] = ()
    steps: Mapping[str, int] = field(default_factory=dict)
    folder: bool = False


@dataclass
class Found:
    """Everything that was found. table_rows: of the results.jsonl of tables. problems: sentences on what was passed over."""

    runs: list[Kept] = field(default_factory=list)
    analyses: list[tuple[Path, Analysis]] = field(default_factory=list)
    diagnoses: list[Diagnosed] = field(default_factory=list)
    table_rows: list[Mapping[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    _places: set[str] = field(default_factory=set)

    def passes_over(self, path: Path, why: object) -> None:
        """Tell that a file or folder cannot be read."""
        self.problems.append(f"{path} cannot be read ({why}) and is passed over.")

    def seen_before(self, path: Path) -> bool:
        """Whether this folder or file was asked about already, by whatever way to it."""
        place, known = os.path.realpath(path), len(self._places)
        self._places.add(place)
        return len(self._places) == known

    def __bool__(self) -> bool:
        return bool(self.runs or self.analyses or self.diagnoses or self.table_rows)


def collect(sources: Sequence[Path | tuple[str, Mapping[str, Any]]]) -> Found:
    """What the sources hold: folders (of a run, or with runs and results below), result files, or (name, what is told of it).

    What is reached twice, by two sources or by a link, is there once; so are rows that were written to a file beside a run's own.

    Raises: UsageError for a source that does not exist, or where nothing is found at all.
    """
    found = Found()
    for source in sources:
        if isinstance(source, tuple):
            if source[0] not in [kept.place for kept in found.runs]:
                _published(*source, found)
        elif source.is_dir():
            _folder(source, found, _DEPTH)
        elif source.is_file():
            _file(source, found, named=True)
        else:
            raise UsageError(
                f"There is no folder or file {source}; name a run's folder, one with results, or a published network."
            )
    _drop_copies(found)
    if not found:
        names = ", ".join(str(source[0] if isinstance(source, tuple) else source) for source in sources)
        said = "".join(f" {problem}" for problem in found.problems)
        raise UsageError(f"{names}: there is no run and no result of hardy in it.{said}")
    return found


def _drop_copies(found: Found) -> None:
    """Rows that a run has itself, in other files; a file with no other rows is no network of its own."""
    own = [row for kept in found.runs if kept.told for row in kept.rows]
    copies = {id(kept): tuple(row for row in kept.rows if row not in own) for kept in found.runs if not kept.told}
    left = [replace(kept, rows=copies.get(id(kept), kept.rows)) for kept in found.runs]
    found.runs = [kept for kept in left if kept.told or kept.rows]


def _folder(path: Path, found: Found, depth: int) -> None:
    if found.seen_before(path):
        return
    try:
        there = sorted(path.iterdir())
    except OSError as error:
        found.passes_over(path, error.strerror)
        return
    if (path / "run.json").is_file():
        _run(path, found)
    elif (path / "results.jsonl").is_file():
        _file(path / "results.jsonl", found, named=False)
    for file in there:
        if file.suffix == ".json" and file.name != "run.json" and file.is_file():
            _file(file, found, named=False)
    for inside in there:
        if inside.is_dir() and inside.name not in _NO_RESULTS and not inside.name.startswith(".") and depth:
            _folder(inside, found, depth - 1)


def _run(path: Path, found: Found) -> None:
    told = _content(path / "run.json", found)
    if not isinstance(told, dict) or not isinstance(told.get("run"), dict):
        found.problems.append(
            f"{path / 'run.json'} is damaged: it does not tell a run's settings. The run is passed over."
        )
        return
    rows: list[Measurement] = []
    if (path / "results.jsonl").is_file():
        torn = 0
        try:
            rows, torn = read(path / "results.jsonl")
        except OSError as error:
            found.passes_over(path / "results.jsonl", error.strerror)
        if torn:
            some = f"{counted(torn, 'line')} of {path / 'results.jsonl'}"
            found.problems.append(
                f"{some} {'is' if torn == 1 else 'are'} torn, damaged or of another version, and passed over."
            )
    kept = {name: tuple(_json_lines(path / f"{name}.jsonl", found)) for name in ("metrics", "costs")}
    found.runs.append(Kept(str(path), told, kept["metrics"], kept["costs"], tuple(rows), _steps(path), folder=True))


def _steps(path: Path) -> dict[str, int]:
    """After how many steps the weights in a run's folder were saved, by what their files say; those that do not are left out."""
    found: dict[str, int] = {}
    for which in ("last", "best"):
        with (
            contextlib.suppress(OSError, ValueError, TypeError, KeyError, SafetensorError),
            safe_open(path / f"{which}.safetensors", "numpy") as file,
        ):
            found[which] = int(json.loads(file.metadata()["hardy"])["step"])
    return found


def _published(name: str, told: Mapping[str, Any], found: Found) -> None:
    about = {"run": told["run"], **told.get("trained", {})}
    found.runs.append(Kept(name, about, rows=tuple(_rows(told["measured"], name, found))))


def _file(file: Path, found: Found, *, named: bool) -> None:
    """A file of results, by its ending and by what is in it. named: it was asked for, and must be one."""
    if found.seen_before(file):
        return
    if file.suffix == ".jsonl":
        lines = list(_json_lines(file, found))
        found.table_rows += [row for row in lines if isinstance(row.get("table"), str)]
        rows = tuple(_rows([row for row in lines if "table" not in row], str(file), found))
        found.runs += [Kept(str(file), rows=rows)] if rows else []
        return
    told = _content(file, found)
    match told:
        case {"kind": "analysis"}:
            try:
                found.analyses.append((file, analysis.read(told, str(file))))
            except UsageError as error:
                found.problems.append(f"{error} It is passed over.")
        case {"verdict": str(), "signs": list()}:
            _diagnosis(file, told, found)
        case {"run": dict(), "trained": dict(), "measured": list(), "sha256": str()}:
            _published(file.stem, told, found)
        case [{"what": _, "value": _}, *_]:
            found.runs.append(Kept(str(file), rows=tuple(_rows(told, str(file), found))))
        case _ if named:
            raise UsageError(
                f"{file} is no result file of hardy: no rows, analysis, diagnosis or published network is in it."
            )


def _diagnosis(file: Path, told: Mapping[str, Any], found: Found) -> None:
    measured = told.get("rows", [])
    rows = tuple(_rows(measured, str(file), found)) if isinstance(measured, list) else ()
    digests = (told.get("weights sha256"), *(row.settings.get("weights sha256") for row in rows))
    named = {digest for digest in digests if isinstance(digest, str)}
    weights = next(iter(named)) if len(named) == 1 else None
    texts = [told.get(name) for name in ("verdict", "why", "ball")]
    signs = told["signs"]
    whole = all(isinstance(sign, dict) and _is_sign(sign) for sign in signs)
    if not all(isinstance(text, str) for text in texts) or not isinstance(told.get("n"), int) or not whole:
        found.problems.append(f"{file} is a damaged diagnosis, or one of another version, and passed over.")
        return
    verdict, why, ball = map(str, texts)
    found.diagnoses.append(Diagnosed(verdict, why, ball, told["n"], tuple(signs), weights, rows))


def _is_sign(sign: Mapping[str, Any]) -> bool:
    numbers = sign.get("numbers")
    return (
        all(isinstance(sign.get(name), str) for name in ("name", "weight", "result", "why"))
        and isinstance(numbers, dict)
        and all(isinstance(value, int | float) for value in numbers.values())
    )


def _rows(told: Sequence[Any], place: str, found: Found) -> Iterator[Measurement]:
    damaged = 0
    for row in told:
        try:
            yield of_json(row)
        except (TypeError, ValueError):
            damaged += 1
    if damaged:
        found.problems.append(
            f"{counted(damaged, 'row')} of {place} could not be read by this version, and passed over."
        )


def _content(file: Path, found: Found) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        found.passes_over(file, error)
        return None


def _json_lines(file: Path, found: Found) -> Iterator[dict[str, Any]]:
    """The whole rows of a file, where it is there."""
    if not file.is_file():
        return
    torn = 0
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        found.passes_over(file, error.strerror)
        return
    for line in text.splitlines():
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if isinstance(row, dict):
            yield row
        else:
            torn += bool(line.strip())
    if torn:
        found.problems.append(
            f"{counted(torn, 'line')} of {file} {'is' if torn == 1 else 'are'} torn, and passed over."
        )
