"""The report, section by section, from what was found."""

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from hardy.describe import counted
from hardy.report.accuracy import Papers, accuracy, beside_papers, is_accuracy
from hardy.report.analysis import Analysis
from hardy.report.collect import Diagnosed, Found
from hardy.report.document import (
    Block,
    Commands,
    Document,
    Drawn,
    Folded,
    Grid,
    Heading,
    Items,
    Paragraph,
    Section,
    grid,
)
from hardy.report.figures import Figure
from hardy.report.subjects import Subject, digest_of, subjects
from hardy.report.training import steps_made, training
from hardy.results import Measurement

_ORDER = ("seen", "not seen", "not enough images", "not tested")  # as people read them


def report(found: Found, papers: Papers, analyses: Mapping[str, str], curves: Sequence[Figure] = ()) -> Document:
    """The whole report.

    papers: numbers for runs, by their place. analyses: what there is, and what each shows. curves: of training, a figure for
    the runs of the same images.
    """
    networks, left_out = subjects(found)
    made = [
        accuracy(networks),
        _diagnoses(networks, found.diagnoses),
        beside_papers(networks, papers, found),
        _analysed(networks, found),
        training(networks, curves),
        _other_numbers(networks),
        _missing(networks, found, analyses),
        _passed_over([*found.problems, *left_out]),
    ]
    parts = [
        counted(len({subject.kept.place for subject in networks}), "network"),
        counted(sum(len(subject.rows) for subject in networks), "measurement"),
        f"{len(found.diagnoses)} diagnos{'is' if len(found.diagnoses) == 1 else 'es'}",
        f"{len(found.analyses)} analys{'is' if len(found.analyses) == 1 else 'es'}",
    ]
    versions = sorted(
        {row.hardy for subject in networks for row in subject.rows} | {it.hardy for _, it in found.analyses}
    )
    lead = f"{', '.join(parts)}. Measured with hardy {', '.join(versions)}." if versions else f"{', '.join(parts)}."
    return Document("Robustness report", lead, tuple(section for section in made if section is not None))


def _diagnoses(networks: Sequence[Subject], all_of_them: Sequence[Diagnosed]) -> Section | None:
    """Each diagnosis with its evidence; those of weights that are not among the networks, or have another verdict, too."""
    titled = [(subject.name, subject.diagnosis) for subject in networks if subject.diagnosis is not None]
    shown = {id(diagnosis) for _, diagnosis in titled}
    known: dict[str | None, str] = {it.weights: it.name for it in networks if it.weights is not None}
    titled += [
        (known.get(it.weights or "") or next((row.run for row in it.rows), "a network"), it)
        for it in all_of_them
        if id(it) not in shown
    ]
    if not titled:
        return None
    blocks: list[Block] = [Paragraph(
        "Is a network robust, or is its gradient masked, so that attacks fail for want of direction? Each sign is an exact test "
        "over images at the 1 % level; a strong sign or two hints make `masked`, one hint `suspicious`."
    )]  # fmt: skip
    for name, it in titled:
        blocks.append(
            Paragraph(
                f"{name}: {it.verdict}. {it.why} {it.ball}, {counted(it.n, 'image')}.", warning=it.verdict != "no sign"
            )
        )
        signs = sorted(it.signs, key=lambda sign: _ORDER.index(sign["result"]) if sign["result"] in _ORDER else 9)
        lines = [
            (
                str(sign["name"]),
                str(sign["weight"]),
                str(sign["result"]),
                _p(sign.get("p")),
                _numbers(sign.get("numbers")),
            )
            for sign in signs
        ]
        why = Items(tuple(f"{sign['name']}: {sign['why']}" for sign in signs))
        blocks.append(
            Folded(f"{name}: the evidence", (grid("", ("sign", "weight", "result", "p", "numbers"), lines, 5), why))
        )
    return Section("diagnosis", "Masked gradients", tuple(blocks))


def _p(value: object) -> str:
    return f"{value:.2g}" if isinstance(value, float | int) else ""


def _numbers(told: object) -> str:
    """A sign's numbers; accuracies as per cent, counts and radii as they are."""
    if not isinstance(told, dict):
        return ""
    return ", ".join(f"{name} {_number(name, value)}" for name, value in told.items())


def _number(name: str, value: float) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if name == "eps" else f"{100 * value:.1f} %"


def _analysed(networks: Sequence[Subject], found: Found) -> Section | None:
    blocks: list[Block] = []
    for path, it in found.analyses:
        blocks += _analysis(str(path), it, _of_others(networks, it))
    return Section("analyses", "Analyses", tuple(blocks)) if blocks else None


def _of_others(networks: Sequence[Subject], it: Analysis) -> list[str]:
    """What the analysis is of by name, but not by the weights that were measured."""
    measured = {subject.weights for subject in networks}
    known = {name for subject in networks if subject.weights is not None for name in subject.names}
    return sorted({row.run for row in it.rows if row.run in known and digest_of(row) not in {None, *measured}})


def _analysis(path: str, it: Analysis, others: Sequence[str]) -> Iterator[Block]:
    yield Heading(it.title)
    if others:
        yield Paragraph(f"Of other weights than those measured above: {', '.join(others)}.", warning=True)
    yield Paragraph(it.says)
    if it.figure is not None:
        yield Drawn(it.figure, f"{it.title}: {it.figure.title}. The numbers are in the table below.")
    tables = tuple(Grid(table) for table in it.tables)
    if tables:
        yield from tables if it.figure is None else (Folded(f"{it.title}: the numbers", tables),)
    if it.remarks:
        yield Items(it.remarks)
    yield Folded(f"{it.title}: how it was made", (Commands((it.command,)), Paragraph(path)))


def _other_numbers(networks: Sequence[Subject]) -> Section | None:
    """What is no accuracy, and not in the table of accuracies."""
    lines = [
        (subject.name, row.what, f"{row.value:.4g}", _interval(row), row.unit, f"{row.n:,}")
        for subject in networks
        for row in subject.rows
        if not is_accuracy(row)
    ]
    heads = ("network", "what", "value", "95 % interval", "unit", "images")
    return Section("others", "Other measurements", (grid("", heads, lines, left=2),)) if lines else None


def _interval(row: Measurement) -> str:
    return "–" if row.low is None or row.high is None else f"[{row.low:.4g}, {row.high:.4g}]"


def _missing(networks: Sequence[Subject], found: Found, analyses: Mapping[str, str]) -> Section | None:
    """What would make the report whole, as commands."""
    places = {subject.kept.place: subject for subject in networks if subject.kept.told}
    blocks: list[Block] = []

    def add(text: str, lines: list[str]) -> None:
        if lines:
            blocks.extend((Paragraph(text), Commands(tuple(lines))))

    def without(has: Callable[[Subject], bool]) -> list[str]:
        return [place for place in places if not any(has(it) for it in networks if it.kept.place == place)]

    def each(command: str, which: Sequence[str]) -> list[str]:
        beside = {
            place: f"{place}/diagnosis.json" if places[place].kept.folder else f"diagnosis-{place}.json"
            for place in which
        }
        return [command.format(place=shlex.quote(place), beside=shlex.quote(beside[place])) for place in which]

    unfinished = [
        f"hardy train {shlex.quote(str(it.kept.told['run'].get('name')))} --out {shlex.quote(place)}"
        for place, it in places.items()
        if _unfinished(it)
    ]
    add("Not trained to the end; the command that began it goes on, with all its settings:", unfinished)
    add("No number at all:", each("hardy evaluate {place}", without(lambda it: bool(it.rows))))
    add(
        "AutoAttack, without which a claim of robustness is not taken seriously:",
        each("hardy evaluate {place} --attacks autoattack", without(_has_autoattack)),
    )
    undiagnosed = without(lambda it: it.diagnosis is not None)
    add("The verdict on masked gradients:", each("hardy diagnose {place} --json {beside}", undiagnosed))
    wanted = {name: what for name, what in analyses.items() if without(partial(_made, name, found=found))}
    everything = " ".join(map(shlex.quote, places))
    if wanted:
        lines = tuple(f"hardy analyse {name} {everything}   # {what}" for name, what in wanted.items())
        blocks.append(Folded("Analyses that were not made", (Commands(lines),)))
    return Section("missing", "What is missing", tuple(blocks)) if blocks else None


def _made(name: str, subject: Subject, *, found: Found) -> bool:
    """Whether that analysis is there of this network."""
    return any(subject.is_of(row) for _, it in found.analyses if it.name == name for row in it.rows)


def _has_autoattack(subject: Subject) -> bool:
    return any(row.what.startswith("accuracy under autoattack") for row in subject.rows)


def _unfinished(subject: Subject) -> bool:
    planned, made = subject.kept.told.get("steps"), steps_made(subject.kept)
    return isinstance(planned, int) and made is not None and made < planned


def _passed_over(problems: Sequence[str]) -> Section | None:
    if not problems:
        return None
    said = Paragraph("What could not be read, or is not shown:", warning=True)
    return Section("problems", "Passed over", (said, Items(tuple(problems))))
