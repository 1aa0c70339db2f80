"""The section of accuracies: each network under each attack, verdicts beside them; and the paper's numbers beside ours."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hardy.describe import counted
from hardy.report.collect import Found
from hardy.report.document import Block, Items, Paragraph, Section, grid
from hardy.report.subjects import Subject, measured_as
from hardy.report.tables import HEADS, Line, Printed, percent
from hardy.results import Measurement, of_json

_UNDER = "accuracy under "
_UPPER = (
    "Accuracies in %, each with the 95 % interval of having tested these images and no others; seeds differ too, and are not in "
    "it. What PGD, CW and NATTACK leave is an upper bound of robustness; AutoAttack's number is the one to quote."
)

_APART = "Networks judged by different images stand in different tables: their numbers are not compared."


@dataclass(frozen=True)
class PaperNumber:
    """A number that a paper has for the settings of a run. attack, judge: as rows describe them; None for clean accuracy.

    note: what differs from the paper's setting, "" where nothing does. weights: the run's that it is beside.
    """

    table: str
    column: str
    printed: Printed
    attack: Any
    judge: str | None
    note: str
    weights: str = "last"


Papers = Mapping[str, Sequence[PaperNumber]]  # by a run's place


def accuracy(subjects: Sequence[Subject]) -> Section | None:
    """A table for each set of images; networks in the order of their most telling accuracy. None where nothing was measured."""
    shares = {id(subject): [row for row in subject.rows if is_accuracy(row)] for subject in subjects}
    groups: dict[str, list[Subject]] = {}
    for subject in subjects:
        if shares[id(subject)]:
            groups.setdefault(subject.data, []).append(subject)
    if not groups:
        return None
    blocks: list[Block] = [Paragraph(_UPPER)]
    if len(groups) > 1:
        blocks.append(Paragraph(_APART, warning=True))
    for data, group in groups.items():
        blocks += _compared(data, group, shares)
    return Section("accuracy", "Accuracy", tuple(blocks))


def is_accuracy(row: Measurement) -> bool:
    """Whether a row is of the table of accuracies: clean, or under an attack."""
    return row.what == "clean accuracy" or (row.what.startswith(_UNDER) and row.settings.get("attack") is not None)


def _compared(data: str, group: Sequence[Subject], shares: Mapping[int, Sequence[Measurement]]) -> list[Block]:
    """The table of networks judged by the same images, and what its columns are."""
    columns: dict[str, list[Measurement]] = {}
    for subject in group:
        for row in shares[id(subject)]:
            columns.setdefault(measured_as(row), []).append(row)
    order = sorted(columns, key=lambda column: _rank(_name(columns[column])))
    heads, told = _heads([columns[column] for column in order])
    same = {column: len({row.n for row in columns[column]}) == 1 for column in order}
    # a head is broken before its bracket only
    heads = [
        f"{head} (n\u00a0=\u00a0{columns[c][0].n:,})" if same[c] else head for head, c in zip(heads, order, strict=True)
    ]
    last = order[-1]

    def number(subject: Subject, column: str) -> Measurement | None:
        return next((row for row in shares[id(subject)] if measured_as(row) == column), None)

    ranked = sorted(group, key=lambda subject: -(row.value if (row := number(subject, last)) else -1.0))
    lines = [
        (
            subject.name,
            *(_cell(number(subject, column), with_n=not same[column]) for column in order),
            subject.diagnosis.verdict if subject.diagnosis else "–",
        )
        for subject in ranked
    ]
    made: list[Block] = [grid(data, ("network", *heads, "masked gradients"), lines)]
    return [*made, Items(tuple(told))] if told else made


def _name(rows: Sequence[Measurement]) -> str:
    """What a column is called: clean, or the attack as its first row has it."""
    return rows[0].what.removeprefix(_UNDER).removesuffix(" accuracy")


def _rank(name: str) -> int:
    """Clean accuracy first, AutoAttack last."""
    return 0 if name == "clean" else 2 if "autoattack" in name else 1


def _heads(columns: Sequence[Sequence[Measurement]]) -> tuple[list[str], list[str]]:
    """(a head for each column, a sentence on each attack). Different attacks of one name get a letter."""
    heads, told, names = [], [], list(map(_name, columns))
    for number, (name, rows) in enumerate(zip(names, columns, strict=True)):
        head = name if names.count(name) == 1 else f"{name} [{chr(ord('a') + names[:number].count(name))}]"
        heads.append(head)
        settings = rows[0].settings
        if settings.get("attack") is not None:
            crafted = "; crafted on another network" if "crafted on" in settings else ""
            judged = f"; judged at {'the last iterate' if settings.get('judge') == 'last' else 'any iterate'}"
            told.append(f"{head}: {settings.get('summary', '')}{judged}{crafted}")
    return heads, told


def _cell(row: Measurement | None, *, with_n: bool) -> str:
    if row is None:
        return "–"
    interval = f" [{percent(row.low)}, {percent(row.high)}]" if row.low is not None and row.high is not None else ""
    return f"{percent(row.value)}{interval}{f' (n = {row.n:,})' if with_n else ''}"


def beside_papers(subjects: Sequence[Subject], papers: Papers, found: Found) -> Section | None:
    """The papers' numbers and ours: of runs whose settings are a recipe's, and of tables. None where there are none."""
    lines: dict[str, list[Line]] = {}
    notes: dict[str, list[str]] = {}
    for subject in subjects:
        for paper in papers.get(subject.kept.place, ()):
            fits = _as_in_papers(subject, paper.weights)
            row = next((row for row in subject.rows if _is_of(row, paper)), None) if fits else None
            if row is None:
                continue  # what is missing has a section of its own
            seed = subject.kept.told.get("run", {}).get("seed", 0)
            lines.setdefault(paper.table, []).append(Line(subject.name, paper.column, seed, paper.printed, row))
            if paper.note and paper.note not in notes.setdefault(paper.table, []):
                notes[paper.table].append(paper.note)
    blocks: list[Block] = []
    for title, own in lines.items():
        blocks += [grid(title, HEADS, [line.cells() for line in own], left=3), *map(Paragraph, notes.get(title, ()))]
    blocks += _of_tables(found)
    return Section("papers", "Beside the papers", tuple(blocks)) if blocks else None


def _as_in_papers(subject: Subject, which: str) -> bool:
    """Whether they are those weights of a run that came to its end, judged by the images of its own data set."""
    planned = subject.kept.told.get("steps")
    steps = [row.settings.get("step", planned) for row in subject.rows]
    ended = all(step == planned for step in (steps if which == "last" else [subject.kept.steps.get("last")]))
    own = not any("data set" in row.settings for row in subject.rows)
    return subject.which == which and own and ended


def _is_of(row: Measurement, paper: PaperNumber) -> bool:
    """Whether a row is of the paper's attack, made on the network itself."""
    if paper.attack is None:
        return row.what == "clean accuracy"
    same = (row.settings.get("attack"), row.settings.get("judge")) == (paper.attack, paper.judge)
    return same and "crafted on" not in row.settings


def _of_tables(found: Found) -> list[Block]:
    """What `hardy table` measured, a table for each of its tables and scales."""
    groups: dict[tuple[str, str], list[Line]] = {}
    for row in found.table_rows:
        texts = all(isinstance(row.get(name), str) for name in ("scale", "row", "column"))
        numbers = isinstance(row.get("seed", 0), int) and isinstance(row.get("paper"), float | int | None)
        if isinstance(row.get("value"), float) and texts and numbers:
            told = {name: value for name, value in row.items() if name in Measurement.__dataclass_fields__}
            try:
                measured = of_json(told)
            except (TypeError, ValueError):
                found.problems.append(
                    f"A row of table {row['table']} could not be read by this version, and is passed over."
                )
                continue
            line = Line(row["row"], row["column"], row.get("seed", 0), _printed(row), measured)
            groups.setdefault((row["table"], row["scale"]), []).append(line)
    made: list[Block] = []
    for (table, scale), lines in groups.items():
        if any(line.paper is not None for line in lines):
            cells = [line.cells() for line in lines]
            made.append(grid(f"{table} at scale {scale}, {counted(len(lines), 'number')}", HEADS, cells, left=3))
    return made


def _printed(row: Mapping[str, Any]) -> Printed | None:
    """The paper's number beside a row of a table; of an older version it is a fraction."""
    if row.get("paper") is None:
        return None
    unit, digits, same_ball = row.get("paper unit", "fraction"), row.get("digits", 2), row.get("same ball", True)
    whole = digits if isinstance(digits, int) else 2
    return Printed(row["paper"], str(row.get("place", "")), str(unit), whole, bool(same_ball))
