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
from hardy.report.collect import Diagnosed, Found, collect
from hardy.report.subjects import images, newest, same_images, verdict_on
from hardy.results import Measurement


@dataclass(frozen=True)
class Known:
    """file: of the weights, None of a network made by code. ours: whether hardy wrote it. run: what run.json tells, nothing
    where there is none. data: the settings of the data that judges it. ball: the adversary's in training, None without one or
    where nothing tells. rows: accuracies of these weights, one for each measurement. diagnosis: of these weights.
    """

    file: Path | None
    ours: bool
    run: Mapping[str, Any]
    data: Mapping[str, Any]
    ball: Ball | None
    rows: tuple[Measurement, ...]
    diagnosis: Diagnosed | None


def known(source: Path, flags: Flags, it: Subject, more: Sequence[Path]) -> Known:
    """What is told by the weights, beside them, and in files and folders that the user names.

    it: what the source stands for. Raises: UsageError where a file named holds no results.
    """
    code = it.about["weights"] == "code"
    file = None if code else find_weights(source, flags.weights)[0]
    ours = file is not None and not foreign_files.is_foreign(file)
    header = read_weights(file)[1] if file is not None and ours else {}
    beside = _beside(source, file) if ours else None
    found = collect([*([beside] if beside else []), *more]) if beside or more else Found()
    for problem in found.problems:
        err.print(problem)
    judge = same_images(it.test.origin)
    rows = [row for kept in found.runs for row in kept.rows if images(row) == judge]
    place = beside[0] if isinstance(beside, tuple) else str(beside or "")
    own = (kept.told for kept in found.runs if kept.place == place)
    data = header.get("data") if flags.data is None else describe(flags.data)
    assert isinstance(data, dict)
    return Known(
        file,
        ours,
        next((told for told in own if told.get("id", header.get("id")) == header.get("id")), {}),
        data,
        rebuild(header["ball"], Ball) if header.get("ball") else None,  # type: ignore[type-abstract]
        tuple(newest(of_weights(rows, it.about))),
        verdict_on(it.about["weights sha256"], {judge}, found),
    )


def _beside(source: Path, file: Path | None) -> Path | tuple[str, Mapping[str, Any]] | None:
    """Where the weights' own run is told of: its folder, or what a published network comes with."""
    if not source.exists() and str(source) in published():
        return str(source), about(str(source))
    folder = source if source.is_dir() or file is None else file.parent
    return folder if (folder / "run.json").is_file() else None
