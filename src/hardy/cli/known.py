"""Known: what is known of a network beside its weights: its run's record, and what was measured of these very weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hardy.attacks.balls import Ball
from hardy.cli.console import err
from hardy.cli.subject import Flags, Subject
from hardy.describe import describe, rebuild
from hardy.jobs.measure import of_weights
from hardy.models import foreign_files
from hardy.models.checkpoints import find_weights, read_weights
from hardy.models.published import about, published
from hardy.report.collect import Diagnosed, Found, Kept, collect
from hardy.report.subjects import images, newest, same_images, verdict_on
from hardy.report.training import steps_made
from hardy.results import Measurement


@dataclass(frozen=True)
class Known:
    """file: of the weights, None of a network made by code. ours: whether hardy wrote it. run: what run.json tells, nothing
    where there is none. data: the settings of the data that judges it. ball: the adversary's in training, None without one or
    where nothing tells. rows: accuracies of these weights, one for each measurement. diagnoses: of these weights, one for each
    ball. steps: after how many the weights were saved, and how many their run was to make; None where nothing tells.
    unfinished: a sentence on a run that was not trained to its end, "" of others.
    """

    file: Path | None
    ours: bool
    run: Mapping[str, Any]
    data: Mapping[str, Any]
    ball: Ball | None
    rows: tuple[Measurement, ...]
    diagnoses: tuple[Diagnosed, ...]
    steps: tuple[int, int] | None
    unfinished: str


def known(source: Path, flags: Flags, it: Subject, more: Sequence[Path]) -> Known:
    """What is told by the weights, beside them, and in files and folders that the user names.

    it: what the source stands for. Raises: UsageError where a file or folder named holds no results.
    """
    code = it.about["weights"] == "code"
    file = None if code else find_weights(source, flags.weights)[0]
    ours = file is not None and not foreign_files.is_foreign(file)
    header = read_weights(file)[1] if file is not None and ours else {}
    beside = _beside(source, file) if ours else None
    found = collect([*([beside] if beside else []), *more]) if beside or more else Found()
    for problem in found.problems:
        err.print(problem)
    for path in more:
        if not any(_measured(it, collect([path]))):
            err.print(f"{path}: nothing in it was measured of these weights on {it.test.origin}; it is left out.")
    rows, diagnoses = _measured(it, found)
    place = beside[0] if isinstance(beside, tuple) else str(beside or "")
    mine = (kept for kept in found.runs if kept.place == place)
    own = next((kept for kept in mine if kept.told.get("id", header.get("id")) == header.get("id")), Kept(place))
    data = header.get("data") if flags.data is None else describe(flags.data)
    assert isinstance(data, dict)
    steps = _steps(header)
    return Known(
        file,
        ours,
        own.told,
        data,
        rebuild(header["ball"], Ball) if header.get("ball") else None,  # type: ignore[type-abstract]
        rows,
        diagnoses,
        steps,
        _unfinished(own, steps),
    )


def _beside(source: Path, file: Path | None) -> Path | tuple[str, Mapping[str, Any]] | None:
    """Where the weights' own run is told of: its folder, or what a published network comes with."""
    if not source.exists() and str(source) in published():
        return str(source), about(str(source))
    folder = source if source.is_dir() or file is None else file.parent
    return folder if (folder / "run.json").is_file() else None


def _measured(it: Subject, found: Found) -> tuple[tuple[Measurement, ...], tuple[Diagnosed, ...]]:
    """The rows of these weights on these images, and the verdict on them in each ball."""
    judge = same_images(it.test.origin)
    rows = [row for kept in found.runs for row in kept.rows if images(row) == judge]
    balls = dict.fromkeys(diagnosed.ball for diagnosed in found.diagnoses)
    kinds = [Found(diagnoses=[each for each in found.diagnoses if each.ball == ball]) for ball in balls]
    verdicts = (verdict_on(it.about["weights sha256"], {judge}, kind) for kind in kinds)
    return tuple(newest(of_weights(rows, it.about))), tuple(verdict for verdict in verdicts if verdict is not None)


def _steps(header: Mapping[str, Any]) -> tuple[int, int] | None:
    made, planned = header.get("step"), header.get("steps")
    return (made, planned) if isinstance(made, int) and isinstance(planned, int) else None


def _unfinished(run: Kept, steps: tuple[int, int] | None) -> str:
    """By what the run logged; a file alone may be the best weights of a run that went on."""
    planned, made = run.told.get("steps"), steps_made(run)
    if run.told and isinstance(planned, int) and made is not None and made < planned:
        return f"Its run was not trained to the end: it made {made:,} of {planned:,} steps."
    if not run.told and steps is not None and steps[0] < steps[1]:
        return f"These are weights after {steps[0]:,} of {steps[1]:,} steps of their run."
    return ""
