"""Analysis: what an analysis found, as a file that tells it all: tables, figure, rows, and the command that made it."""

import dataclasses
import json
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hardy.describe import describe, fitted, rebuild, settings
from hardy.errors import UsageError
from hardy.files import write_text
from hardy.report.figures import Figure
from hardy.results import Measurement, of_json


@settings
class Tabular:
    """A table of words and numbers as they are printed. The first `left` columns are text, the others numbers."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: int = 1

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.heads):
                raise UsageError(
                    f"A row of the table {self.title!r} has {len(row)} cells; it must be {len(self.heads)}."
                )


@dataclass(frozen=True)
class Analysis:
    """name: as in `hardy analyse NAME`. title: its subject in a few words. says: what is measured, how to read it, and where
    in a paper it comes from, in sentences. rows: every number, with what determines it. command: what made it.
    """

    name: str
    title: str
    says: str
    command: str
    tables: tuple[Tabular, ...]
    figure: Figure | None
    rows: tuple[Measurement, ...]
    remarks: tuple[str, ...] = ()
    hardy: str = field(default_factory=partial(version, "hardy"))


_TEXTS = ("name", "title", "says", "command", "hardy")


def write(path: Path, analysis: Analysis) -> None:
    """Write the file whole. Raises: WriteError if it cannot be written."""
    told = {
        **{name: getattr(analysis, name) for name in _TEXTS},
        "remarks": list(analysis.remarks),
        "tables": describe(analysis.tables),
        "figure": describe(analysis.figure),
        "rows": [dataclasses.asdict(row) for row in analysis.rows],
    }
    write_text(path, json.dumps({"kind": "analysis", **told}, indent=1) + "\n")


def read(told: Any, place: str) -> Analysis:
    """The analysis that `write` wrote. told: the file's content, as JSON has it; place: the file, for messages.

    Raises: UsageError where something is missing or of another version.
    """
    try:
        texts = {name: fitted(told[name], str, name) for name in _TEXTS}
        figure = None if told["figure"] is None else rebuild(told["figure"], Figure)
        tables = tuple(rebuild(table, Tabular) for table in told["tables"])
        rows, remarks = tuple(map(of_json, told["rows"])), fitted(told["remarks"], tuple[str, ...], "remarks")
    except (KeyError, TypeError, ValueError, UsageError) as error:
        raise UsageError(f"{place} is damaged, or was written by another version ({error!r}).") from error
    return Analysis(**texts, tables=tables, figure=figure, rows=rows, remarks=remarks)
