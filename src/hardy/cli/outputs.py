"""Outputs: the new files that an analysis goes into, and what is printed of it."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hardy.cli.checks import new_file
from hardy.cli.console import out, table
from hardy.describe import require
from hardy.report.analysis import Analysis, write
from hardy.report.plots import FORMATS, draw


@dataclass(frozen=True)
class Outputs:
    """The flags that say where an analysis is written."""

    out: Path = Path("analysis")  # folder for new files: NAME.json, which `hardy report` reads, and the figure
    picture: str = "png"  # the figure's format: png, svg, pdf, ...

    def __post_init__(self) -> None:
        require(self.picture in FORMATS, "picture", self.picture, f"one of {', '.join(FORMATS)}")

    def files(self, name: str) -> tuple[Path, Path]:
        """(the analysis, its figure)"""
        return self.out / f"{name}.json", self.out / f"{name}.{self.picture}"


def check_new(made: Outputs, name: str) -> None:
    """Raises UsageError where one of the files is there already, or cannot be written."""
    for file in made.files(name):
        new_file(file, "--out", "a folder for new files")


def command(name: str, args: Sequence[str]) -> str:
    """The command that makes an analysis again."""
    return shlex.join(["hardy", "analyse", name, *args])


def kept(made: Outputs, analysis: Analysis) -> None:
    """Print the tables and remarks, write the analysis and its figure, and say where."""
    for shown in analysis.tables:
        out.print(f"\n{shown.title}")
        table(None, shown.heads, shown.rows, shown.left)
    for remark in analysis.remarks:
        out.print(f"\n{remark}")
    file, picture = made.files(analysis.name)
    write(file, analysis)
    out.print()
    if analysis.figure is not None:
        draw(picture, analysis.figure)
        out.print(f"{picture}")
    out.print(f"{file}: {len(analysis.rows)} rows" if analysis.rows else f"{file}")
