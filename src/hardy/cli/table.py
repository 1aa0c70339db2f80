"""hardy table: a table or figure of a paper, trained and measured here, beside the paper's numbers."""

import dataclasses
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from hardy.cli.asked import Asked
from hardy.cli.checks import device, writable
from hardy.cli.console import err, out, table
from hardy.cli.drawn import figure
from hardy.cli.flags import parse
from hardy.cli.hours import print_hours
from hardy.describe import require
from hardy.errors import FailedError, UsageError
from hardy.files import write_text
from hardy.jobs import Failure, Job, Place, run_jobs, state_of
from hardy.jobs.beside import Beside
from hardy.jobs.cluster import check_address, on_ray
from hardy.jobs.runner import on_each_gpu
from hardy.jobs.timing import HARDWARE
from hardy.models.checkpoints import Which
from hardy.recipes import tables
from hardy.recipes.table import Also, Scale, find
from hardy.report.analysis import Analysis, Tabular, write
from hardy.report.plots import draw
from hardy.report.tables import HEADS, Line, markdown, over_seeds, wide
from hardy.training.precision import Precision

Verdicts = Mapping[tuple[str, int], dict[str, Any]]  # by row and seed

_FILES = ("table.md", "results.jsonl", "figure.json", "figure.png")
_WEIGHTS: dict[Which, str] = {
    "last": "the weights of their last step",
    "best": "the weights of the epoch that is best under attack on held-out training images",
}


@dataclass(frozen=True)
class Options:
    """Train and measure all of a paper's table, here or on a cluster; killed, the same command goes on.

    A number belongs to its scale; those of different scales never stand in one table.
    """

    name: Annotated[str, tyro.conf.Positional]  # of the table, as in `hardy list tables`
    scale: Scale = "small"  # smoke: every part, in seconds; small: for two CPU cores; paper: the paper's settings
    seeds: int = 1  # networks of each method, with the seeds 0, 1, ...
    also: tuple[
        Also, ...
    ] = ()  # spaces between; beside the paper's columns: AutoAttack, the verdict on masked gradients
    rows: tuple[str, ...] | None = None  # only these methods, by their titles; all where left out
    out: Path = Path("runs/tables")  # folder of all tables' runs, in which tables share what they can
    precision: Precision = (
        "float32"  # while crafting where each break is verified (AutoAttack, NATTACK, diagnoses); the rest is float32
    )
    on: str = (
        "here"  # here: this machine; ray: the Ray cluster that runs here or that $RAY_ADDRESS names; ray://HOST:PORT
    )
    dry_run: bool = False  # list the jobs with their estimated hours on this machine, and stop
    status: bool = False  # list the jobs and how they stand, and stop
    data_root: Path | None = None  # folder of the data set's files; else $HARDY_DATA, then the user's cache
    offline: bool = False  # open no connection
    device: str | None = None  # cpu, cuda, cuda:1; a GPU where there is one, a job on each where there are several

    def __post_init__(self) -> None:
        require(self.seeds >= 1, "seeds", self.seeds, "at least 1")
        require(self.rows != (), "rows", self.rows, "titles of rows, or left out for all")
        check_address(self.on)


def main(args: list[str]) -> None:
    """Run `hardy table NAME [options]`."""
    options = parse(Options, args, "hardy table")
    asked = Asked(
        find(options.name, tables()), options.scale, options.seeds, options.rows, options.also, options.precision, _out(options)
    )  # fmt: skip
    jobs, folder = asked.jobs(), asked.folder / "jobs"
    if options.device is not None and options.on == "here":
        device(options.device)
    place = Place(options.data_root, options.offline, options.device)
    err.print(f"{asked.table.title}; scale {asked.scale}: {asked.setting.says}")
    if options.status:
        _status(jobs, folder)
        return
    if options.dry_run:
        print_hours(jobs, place.on)
        return
    _check_outputs(asked.folder / asked.table.name)
    failures = _run(options.on, jobs, folder, place)
    _show(asked, shlex.join(["hardy", "table", *args]))
    if failures:
        logs = "; ".join(f"{f.job}: {f.said} (log: {f.log})" for f in failures if f.log)
        raise FailedError(f"{len(failures)} of {len(jobs)} jobs failed, or need one that did. {logs}")


def _out(options: Options) -> Path:
    """Other machines do not stand where this command does."""
    return options.out if options.on == "here" else options.out.expanduser().absolute()


def _run(on: str, jobs: Sequence[Job], folder: Path, place: Place) -> list[Failure]:
    if on == "here":
        return run_jobs(jobs, folder, on_each_gpu(place), err.print)
    with on_ray(on, place, folder, len(jobs), err.print) as runners:
        return run_jobs(jobs, folder, runners, err.print)


def _status(jobs: Sequence[Job], folder: Path) -> None:
    """List how the jobs stand, and where those run that do, from what lies in the folder: at any machine that sees it."""
    states = [state_of(job, folder) for job in jobs]
    where = [
        Beside.of(job, folder).runner() or "" if state == "running" else ""
        for job, state in zip(jobs, states, strict=True)
    ]
    table(None, ("job", "state", "where"), list(zip([job.name for job in jobs], states, where, strict=True)), left=3)
    done, running, failed, left = (states.count(state) for state in ("done", "running", "failed", "waiting"))
    err.print(f"{done} of {len(jobs)} jobs are done, {running} running, {failed} failed, {left} left.")


def _check_outputs(folder: Path) -> None:
    """Raises UsageError where the table's files could not be written, before hours go into what they are to hold."""
    writable(folder, "--out")
    for name in _FILES:
        if (folder / name).is_dir():
            raise UsageError(
                f"{folder / name} is a folder; a file of that name is to be written. --out names another place."
            )


def _show(asked: Asked, command: str) -> None:
    """Print the table, and write it with its rows, and the figure that it stands for, into the folder <out>/<scale>/<table>.

    All is written anew each time, from what the jobs have left.
    """
    lines = asked.lines()
    verdicts = asked.verdicts(lines)
    title, folder = f"{asked.table.title} (scale {asked.scale})", asked.folder / asked.table.name
    shown, remarks = _tables(asked, lines, verdicts), _remarks(asked, lines)
    drawn = figure(asked, lines)
    picture = "" if drawn is None else f"\n![{title}](figure.png)\n"
    write_text(folder / "table.md", markdown(title, shown, remarks) + picture)
    write_text(folder / "results.jsonl", "".join(json.dumps(row) + "\n" for row in _rows(asked, lines, verdicts)))
    err.print(f"{folder / 'table.md'} and results.jsonl beside it are written.")
    for one in shown:
        table(one.title or title, one.heads, one.rows, one.left)
        out.print()
    out.print("\n".join(remarks))
    if drawn is not None:
        measured = tuple(line.measured for line in lines if line.measured is not None)
        says = " ".join((*asked.table.notes, f"Scale {asked.scale}: {asked.setting.says}."))
        told = [dataclasses.replace(one, title=one.title or title) for one in shown]
        write(
            folder / "figure.json",
            Analysis(asked.table.name, title, says, command, tuple(told), drawn, measured, tuple(remarks)),
        )
        draw(folder / "figure.png", drawn)
        out.print(f"\n{folder / 'figure.png'}")


def _tables(asked: Asked, lines: list[Line], verdicts: Verdicts) -> list[Tabular]:
    """A line for each of the paper's numbers, or for each method where there is no paper; what several seeds say; verdicts."""
    several = over_seeds(lines, asked.table.ranked_by)
    beside = [several] if several else []
    if not asked.table.cells:
        words = {place: said["verdict"] for place, said in verdicts.items()} if asked.diagnosed else None
        return [wide(lines, words), *beside]
    if verdicts:
        rows = tuple((row, str(seed), said["verdict"], said["why"]) for (row, seed), said in verdicts.items())
        beside.append(Tabular("Signs of masked gradients", ("method", "seed", "verdict", "why"), rows, left=4))
    return [Tabular("", HEADS, tuple(line.cells() for line in lines), left=3), *beside]


def _remarks(asked: Asked, lines: Sequence[Line]) -> list[str]:
    scale, setting = asked.scale, asked.setting
    of_paper = "These are the paper's settings." if scale == "paper" else "These are not the paper's settings."
    remarks = [
        f"Scale {scale}: {setting.says}.{f' {of_paper}' if 'paper' in asked.table.settings else ''}",
        *asked.table.notes,
    ]
    if asked.table.drawn is not None:
        remarks.append("The paper draws these numbers and does not print them: none is read off its picture.")
    found = [line.measured for line in lines if line.measured is not None]
    shares = [row for row in found if row.unit == "fraction"]
    if asked.judges and any({"attack", "attacks"} & row.settings.keys() for row in shares):
        verified = f", those that stop at a success there: each success is verified in float32, and crafted in {asked.precision}"
        remarks.append(f"Attacks are judged at the last iterate{verified if asked.stops else ''}.")
    if asked.judges:
        remarks.append(
            f"{'Accuracy in %. ' if shares else ''}Networks have {_WEIGHTS[asked.table.weights]}. Intervals (95 %) are of test "
            "sampling and say nothing about other seeds."
        )
    timed = sorted({str(row.settings[HARDWARE]) for row in found if HARDWARE in row.settings})
    if timed:
        remarks.append(f"Steps were timed on {' or '.join(timed)}.")
    chosen = asked.chosen_of
    if chosen:
        of = "; ".join(f"{row}: {n}" for row, n in chosen.items())
        remarks.append(f"How many networks were measured, of which one is shown: {of}.")
    images = sorted({row.n for row in found})
    if not asked.table.cells and asked.judges and (len(images) == 1 or len(setting.parts) > 1):
        remarks.append(f"Images: {' or '.join(f'{n:,}' for n in images)}.")
    printed = [line.paper for line in lines if line.paper]
    if any(not paper.same_ball for paper in printed):
        of = f"The paper's numbers are of {asked.table.ball('paper')}, those measured here of {asked.table.ball(scale)}"
        remarks.append(f"{of}: no difference is taken.")
    elif any(line.paper and line.measured and line.paper.unit == line.measured.unit for line in lines):
        of_paper = "" if scale == "paper" else "; at this scale it says nothing about the paper"
        remarks.append(f"The difference is measured minus paper, in points where it is one of accuracies{of_paper}.")
    if asked.diagnosed:
        images_of = setting.parts[0].beside.plan.images
        remarks.append(
            f"The verdict is `hardy diagnose`'s on masked gradients, with {images_of} test images, crafted in {asked.precision}."
        )
    return remarks


def _rows(asked: Asked, lines: Sequence[Line], verdicts: Verdicts) -> list[dict[str, Any]]:
    """What results.jsonl holds: a row for each number, and for each verdict."""
    about = {"table": asked.table.name, "scale": asked.scale}
    rows: list[dict[str, Any]] = []
    for line in lines:
        if line.measured is not None:
            told = about | {"row": line.row, "column": line.column, "seed": line.seed}
            paper = line.paper
            told |= {"paper": paper and paper.value, "place": paper.place if paper else "not printed in the paper"}
            told |= {"paper unit": paper.unit, "digits": paper.digits, "same ball": paper.same_ball} if paper else {}
            rows.append(told | dataclasses.asdict(line.measured))
    for (row, seed), said in verdicts.items():
        signs = {sign["name"]: sign["result"] for sign in said["signs"]}
        told = {"verdict": said["verdict"], "why": said["why"], "n": said["n"], "signs": signs}
        rows.append(about | {"row": row, "column": "verdict", "seed": seed} | told)
    return rows
