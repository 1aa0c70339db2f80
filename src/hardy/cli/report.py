"""hardy report: one page on runs and what was measured of them, with the same tables as Markdown and LaTeX."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from hardy.attacks.attack import Attack
from hardy.cli.analyse import ANALYSES
from hardy.cli.checks import new_file
from hardy.cli.console import err, out
from hardy.cli.curves import by_images, figure
from hardy.cli.flags import parse
from hardy.describe import fingerprint, rebuild, require
from hardy.errors import UsageError
from hardy.files import write_text
from hardy.jobs.measures import Accuracy
from hardy.models.published import about, published
from hardy.recipes import tables
from hardy.report.accuracy import PaperNumber, Papers
from hardy.report.collect import Kept, collect
from hardy.report.figures import Bands
from hardy.report.page import html
from hardy.report.plain import latex, markdown
from hardy.report.sections import report
from hardy.training.curves import learning_curves
from hardy.training.run import Run

_OURS = {
    ".html": '<meta name="generator" content="hardy report">',
    ".md": "<!-- hardy report -->",
    ".tex": "% hardy report",
}

_OF_DATA = ("corrupted", "shuffle")  # analyses that look at no network


@dataclass(frozen=True)
class Options:
    """One page on runs, their numbers, verdicts and analyses, and what is missing. It reads result files, never a network.

    Beside the page are the same tables for other places: .md, and .tex, for booktabs. Files that an earlier report wrote are
    written anew; any other file is left alone.
    """

    sources: Annotated[
        tuple[Path, ...],
        tyro.conf.Positional,
        tyro.conf.arg(
            metavar="RUN|FOLDER|FILE|NAME ...",
            help="runs' folders, folders with runs and results, result files, published networks",
            help_behavior_hint="",
        ),
    ] = ()
    out: Path | None = None  # the page; left out, report.html in the one folder named, else here

    def __post_init__(self) -> None:
        require(bool(self.sources), "sources", self.sources, "at least one run's folder, or one with results")
        require(self.out is None or self.out.suffix == ".html", "out", str(self.out), "a name that ends in .html")

    @property
    def page(self) -> Path:
        """Where the page goes."""
        if self.out is not None:
            return self.out
        alone = self.sources[0] if len(self.sources) == 1 and self.sources[0].is_dir() else Path()
        return alone / "report.html"


def main(args: list[str]) -> None:
    """Run `hardy report RUN_OR_FOLDER... [--out FILE]`."""
    options = parse(Options, args, "hardy report")
    for file in written(options.sources, options.page):
        out.print(f"{file}")


def written(sources: Sequence[Path], page: Path) -> list[Path]:
    """Write the report of these sources; the page and the files beside it.

    Raises: UsageError for a source that is none, or where another file is in the way.
    """
    files = {ending: page.with_suffix(ending) for ending in _OURS}
    for ending, file in files.items():
        _check_place(file, _OURS[ending])
    found = collect([_source(source) for source in sources])
    analyses = {name: what for name, (what, _) in ANALYSES.items() if name not in _OF_DATA}
    made = report(found, _papers(found.runs), analyses, _curves(found.runs))
    for problem in found.problems:
        err.print(problem)
    for file, text in zip(files.values(), (html(made), markdown(made), latex(made)), strict=True):
        marked = text if file.suffix == ".html" else f"{_OURS[file.suffix]}\n{text}"
        write_text(file, marked)
    return list(files.values())


def _source(source: Path) -> Path | tuple[str, Mapping[str, Any]]:
    """A path, or what is told of the published network of that name."""
    name = str(source)
    return (name, about(name)) if not source.exists() and name in published() else source


def _check_place(file: Path, mark: str) -> None:
    """Raises UsageError where a file is that no report wrote, or none can be written."""
    if not file.exists():
        new_file(file, "--out")
    elif not file.is_file() or mark not in file.read_text(encoding="utf-8", errors="replace")[:2000]:
        raise UsageError(f"{file} exists already and is no report of hardy; --out names another page.")


def _curves(runs: Sequence[Kept]) -> list[Bands]:
    """The training curves of the runs that have kept them, a figure for those of the same images."""
    found = {}
    for kept in runs:
        with contextlib.suppress(UsageError):  # no folder, settings of another version, nothing logged yet
            found[kept.place] = learning_curves(kept.place)
    return [figure(group) for group in by_images(found)]


def _papers(runs: Sequence[Kept]) -> Papers:
    """The papers' numbers for runs whose settings, but for the seed, are those of a table's row."""
    numbers: dict[str, list[PaperNumber]] = {}
    told = {kept.place: _without_seed(kept.told.get("run")) for kept in runs}
    for table in tables().values():
        for scale, setting in table.settings.items():
            other = f"Measured at scale {scale}, not in the paper's setting: {setting.says}."
            if table.cells and table.ball(scale) != table.ball("paper"):
                other += f" The paper's numbers are of {table.ball('paper')}: no difference is taken."
            note = "" if scale == "paper" else other
            for title, (part, row) in setting.rows.items():
                if row.of != "each":
                    continue  # which of several seeds it is, a run alone does not tell
                found = [
                    PaperNumber(
                        table.title, column.title, printed, *_described(column.measure.attack), note, table.weights
                    )
                    for column in part.columns
                    if isinstance(column.measure, Accuracy)
                    and (printed := table.printed(scale, title, column.title)) is not None
                ]
                same = fingerprint(replace(row.run, seed=0)) if found else ""
                for place, settings in told.items():
                    if found and settings == same:
                        numbers.setdefault(place, []).extend(found)
    return numbers


def _described(attack: Attack | None) -> tuple[Any, str | None]:
    """(attack, judge) as the rows of `hardy table` and, by default, of `hardy evaluate` have them."""
    return (None, None) if attack is None else (attack.described, "any" if attack.stops_at_success else "last")


def _without_seed(told: Any) -> str | None:
    """What two runs share that differ in their seed alone; None for settings that this version cannot read."""
    try:
        return fingerprint(replace(rebuild(told, Run), seed=0))
    except UsageError:
        return None
