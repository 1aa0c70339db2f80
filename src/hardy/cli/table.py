"""hardy table: a paper's table, trained and measured here, beside the paper's numbers."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro

from hardy.cli.checks import device
from hardy.cli.console import err, out, table
from hardy.cli.flags import parse
from hardy.cli.train import duration
from hardy.describe import require
from hardy.errors import FailedError, UsageError
from hardy.files import write_text
from hardy.jobs import Diagnose, Evaluate, Job, Place, Train, run_jobs, state_of
from hardy.jobs.queue import on_each_gpu
from hardy.recipes import tables
from hardy.recipes.table import Column, Row, Scale, Table, find
from hardy.report.tables import HEADS, Line, markdown, wide
from hardy.training.estimate import seconds_per_pass, seconds_per_step
from hardy.training.precision import Precision
from hardy.training.run import Run


@dataclass(frozen=True)
class Options:
    """Train and measure all of a paper's table on this machine; killed, the same command goes on.

    A number belongs to its scale; those of different scales never stand in one table.
    """

    name: Annotated[str, tyro.conf.Positional]  # of the table, as in `hardy list tables`
    scale: Scale = "small"  # smoke: every part, in seconds; small: for two CPU cores; paper: the paper's settings
    seeds: int = 1  # networks of each method, with the seeds 0, 1, ...
    rows: tuple[str, ...] | None = None  # only these methods, by their titles; all where left out
    out: Path = Path("runs/tables")  # folder of all tables' runs, in which tables share what they can
    precision: Precision = (
        "float32"  # while crafting where each break is verified (AutoAttack, NATTACK, diagnoses); the rest is float32
    )
    dry_run: bool = False  # list the jobs with their estimated hours on this machine, and stop
    status: bool = False  # list the jobs and how they stand, and stop
    data_root: Path | None = None  # folder of the data set's files; else $HARDY_DATA, then the user's cache
    offline: bool = False  # open no connection
    device: str | None = None  # cpu, cuda, cuda:1; a GPU where there is one, a job on each where there are several

    def __post_init__(self) -> None:
        require(self.seeds >= 1, "seeds", self.seeds, "at least 1")
        require(self.rows != (), "rows", self.rows, "titles of rows, or left out for all")


@dataclass(frozen=True)
class _Wanted:
    """A cell of the table to be filled, and the job that fills it."""

    row: Row
    column: Column
    run: Run
    job: Evaluate


def main(args: list[str]) -> None:
    """Run `hardy table NAME [options]`."""
    options = parse(Options, args, "hardy table")
    asked = find(options.name, tables())
    if options.scale not in asked.scales:
        raise UsageError(f"{asked.name} has no scale {options.scale!r}; it has {', '.join(asked.scales)}.")
    wanted = _wanted(asked, options)
    trainings = list(dict.fromkeys(cell.job.train for cell in wanted))
    jobs: list[Job] = [
        job
        for training in trainings
        for job in (training, *_of(training, wanted), *_diagnosis(asked, options, training))
    ]
    folder = options.out / options.scale / "jobs"
    if options.device is not None:
        device(options.device)
    place = Place(options.data_root, options.offline, options.device)
    err.print(f"{asked.title}; scale {options.scale}: {asked.scales[options.scale]}")
    if options.status:
        table(None, ("job", "state"), [(job.name, state_of(job, folder)) for job in jobs], left=2)
        return
    if options.dry_run:
        _dry_run(trainings, wanted, jobs, place)
        return
    failures = run_jobs(jobs, folder, on_each_gpu(place), err.print)
    lines = _lines(asked, options, wanted)
    heads, rows = _shape(asked, options, lines)
    _write(asked, options, lines, heads, rows)
    table(_title(asked, options), heads, rows, left=3 if asked.cells else 1)
    out.print("\n" + "\n".join(_remarks(asked, options)))
    if failures:
        logs = "; ".join(f"{f.job}: {f.said} (log: {f.log})" for f in failures if f.log)
        raise FailedError(f"{len(failures)} of {len(jobs)} jobs failed, or need one that did. {logs}")


def _wanted(asked: Table, options: Options) -> list[_Wanted]:
    """The cells that were asked for."""
    titles = [row.title for row in asked.rows]
    for title in options.rows or ():
        if title not in titles:
            raise UsageError(f"{asked.name} has no row {title!r}; it has {', '.join(titles)}.")
    rows = [row for row in asked.rows if not options.rows or row.title in options.rows]
    return [cell for row in rows for seed in range(options.seeds) for cell in _cells(asked, row, seed, options)]


def _cells(asked: Table, row: Row, seed: int, options: Options) -> list[_Wanted]:
    run = dataclasses.replace(row.runs[options.scale], seed=seed)
    training = Train(run, str(options.out / options.scale))
    found = []
    for column in asked.columns:
        attack, n = column.attacks[options.scale], column.images[options.scale]
        verified = attack is not None and attack.stops_at_success
        precision = options.precision if verified else "float32"
        found.append(_Wanted(row, column, run, Evaluate(training, column.name, attack, n, precision)))
    return found


def _of(training: Train, wanted: list[_Wanted]) -> list[Evaluate]:
    return [cell.job for cell in wanted if cell.job.train == training]


def _diagnosis(asked: Table, options: Options, training: Train) -> list[Diagnose]:
    """The job that finds the verdict beside a row, where the table has one."""
    wanted = asked.diagnoses.get(options.scale)
    return [] if wanted is None else [Diagnose(training, wanted.ball, wanted.plan, options.precision)]


def _shape(asked: Table, options: Options, lines: list[Line]) -> tuple[Sequence[str], list[tuple[str, ...]]]:
    """(heads, rows) of the table: a line for each of the paper's numbers, or for each method where there is no paper."""
    if asked.cells:
        return HEADS, [line.cells() for line in lines]
    found = _diagnoses(asked, options, lines)
    return wide(lines, {place: said["verdict"] for place, said in found.items()})


def _diagnoses(asked: Table, options: Options, lines: list[Line]) -> dict[tuple[str, int], dict[str, Any]]:
    """What was found by the diagnosis of each row and seed, where it is there."""
    found = {}
    for row in asked.rows:
        for seed in sorted({line.seed for line in lines if line.row == row.title}):
            training = _cells(asked, row, seed, options)[0].job.train
            for said in (job.result() for job in _diagnosis(asked, options, training)):
                if said is not None:
                    found[row.title, seed] = said
    return found


def _lines(asked: Table, options: Options, wanted: list[_Wanted]) -> list[Line]:
    """What was asked for, and what was measured before of other rows and seeds."""
    lines = []
    for row in asked.rows:
        for seed in count():
            cells = _cells(asked, row, seed, options)
            results = [cell.job.result() for cell in cells]
            if not any(results) and not any(cell.job == cells[0].job for cell in wanted):
                break
            for cell, result in zip(cells, results, strict=True):
                paper = asked.cells.get((row.title, cell.column.title))
                value, place = (paper.value, paper.place) if paper else (None, "not in the paper")
                lines.append(Line(row.title, cell.column.title, seed, value, place, result))
    return lines


def _title(asked: Table, options: Options) -> str:
    return f"{asked.title} (scale {options.scale})"


def _remarks(asked: Table, options: Options) -> list[str]:
    scale = options.scale
    setting = "These are the paper's settings." if scale == "paper" else "These are not the paper's settings."
    remarks = [
        f"Scale {scale}: {asked.scales[scale]}.{f' {setting}' if asked.cells else ''}",
        "Accuracy in %, last weights; attacks are judged at the last iterate, those that stop at a success there: each success is"
        f" verified in float32, and crafted in {options.precision}. Intervals (95 %) are of test sampling and say nothing about "
        "other seeds.",
    ]
    if asked.cells:
        remarks.append("The difference is measured minus paper, in points.")
    if scale in asked.diagnoses:
        remarks.append(
            f"The verdict is `hardy diagnose`'s on masked gradients, with {asked.diagnoses[scale].plan.images} test images."
        )
    return remarks


def _write(
    asked: Table, options: Options, lines: list[Line], heads: Sequence[str], shown: list[tuple[str, ...]]
) -> None:
    """The table as Markdown and its rows, in the folder <out>/<scale>/<table>; written anew each time, from the runs' rows."""
    folder = options.out / options.scale / asked.name
    rows = [
        {
            "table": asked.name, "scale": options.scale, "row": line.row, "column": line.column, "seed": line.seed,
            "paper": line.paper, "place": line.place, **dataclasses.asdict(line.measured),
        }
        for line in lines if line.measured is not None
    ]  # fmt: skip
    for (row, seed), said in _diagnoses(asked, options, lines).items():
        signs = {sign["name"]: sign["result"] for sign in said["signs"]}
        told = {"verdict": said["verdict"], "why": said["why"], "n": said["n"], "signs": signs}
        rows.append(
            {"table": asked.name, "scale": options.scale, "row": row, "column": "verdict", "seed": seed, **told}
        )
    write_text(folder / "table.md", markdown(_title(asked, options), _remarks(asked, options), heads, shown))
    write_text(folder / "results.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    err.print(f"{folder / 'table.md'} and results.jsonl beside it are written.")


def _dry_run(trainings: list[Train], wanted: list[_Wanted], jobs: list[Job], place: Place) -> None:
    """List the jobs with the time that they would take, from a few passes measured now."""
    on = place.on
    seconds: dict[str, float] = {}
    for training in trainings:
        run = training.run
        err.print(f"timing {run.name}")
        images = (run.data.training_images or 0) - max(0, run.validation.images - run.data.unused_images)
        seconds[training.name] = run.length(images) * seconds_per_step(run, on)
        forward, backward = seconds_per_pass(run, on)
        for measuring in _of(training, wanted):
            seconds[measuring.name] = measuring.n * _cost(measuring, forward, backward)
    rows = []
    for job in jobs:
        told = duration(seconds[job.name]) if job.name in seconds else "not estimated"
        rows.append((job.name, "done" if job.done() else told))
    table(None, ("job", "at most"), rows)
    total = sum(seconds.get(job.name, 0.0) for job in jobs if not job.done())
    where = torch.cuda.get_device_name(on) if on.type == "cuda" else f"{torch.get_num_threads()} CPU threads"
    out.print(
        f"\nabout {duration(total)} ({total / 3600:.1f} hours) one after another on {where}; validation comes on top"
    )


def _cost(job: Evaluate, forward: float, backward: float) -> float:
    """Seconds an image, if no attack ends early."""
    attack = job.attack
    if attack is None:
        return forward
    return sum(
        stage.iterations * (stage.copies * forward if stage.copies > 1 else forward + backward)
        for stage in attack.stages
    )
