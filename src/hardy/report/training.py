"""The section on training: what each run was, on what, how long it took, what it cost, and how it went."""

from collections.abc import Sequence
from typing import Any

from hardy.report.collect import Kept
from hardy.report.document import Block, Drawn, Folded, Paragraph, Section, grid
from hardy.report.figures import Figure
from hardy.report.subjects import Subject

_ABOUT = (
    "started",
    "origin",
    "labels",
    "id",
    "hardy",
    "commit",
    "torch",
    "python",
    "machine",
    "device",
    "threads",
    "precision",
)


def training(subjects: Sequence[Subject], curves: Sequence[Figure]) -> Section | None:
    """Every run once. curves: accuracy over the epochs of those of the same images. None where there is no run."""
    runs = {subject.kept.place: subject for subject in subjects if subject.kept.told}
    if not runs:
        return None
    kept = {name_of(subject): subject.kept for subject in runs.values()}
    blocks: list[Block] = [grid("", ("run", "recipe", "data", "network", "steps", "time", "forwards", "backwards"), [
        (name, *_line(run)) for name, run in kept.items()], left=4)]  # fmt: skip
    blocks.append(Paragraph(
        "Time is that of all training, validation and saving included, on the machine that each run names; forwards and "
        "backwards are passes of single images, without validation. A dash: the run does not tell."
    ))  # fmt: skip
    blocks += [Drawn(figure, f"Training curves: {figure.title}.") for figure in curves]
    blocks += [_settings(name, run) for name, run in kept.items()]
    return Section("training", "Training", tuple(blocks))


def name_of(subject: Subject) -> str:
    """The run's name, without which of its weights."""
    return subject.name.removesuffix(f", {subject.which}")


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")


def _line(run: Kept) -> tuple[str, ...]:
    """What the table says of a run."""
    settings = run.told["run"]
    seconds = [row["seconds"] for row in run.costs if _number(row.get("seconds"))]
    passes = [
        f"{sum(row[name] for row in run.costs if _number(row.get(name))):,}" if run.costs else "–"
        for name in ("forwards", "backwards")
    ]
    planned, made = run.told.get("steps"), steps_made(run)
    done = f"{made:,}" if isinstance(made, int) else "–"
    unfinished = isinstance(made, int) and isinstance(planned, int) and made < planned
    return (
        str(settings.get("name", "–")),
        _kind(settings.get("data")),
        _kind(settings.get("model")),
        f"{done} of {planned:,}" if unfinished else done,
        duration(sum(seconds)) if seconds else "–",
        *passes,
    )


def steps_made(run: Kept) -> int | None:
    """How many steps a run has made, by what it logged and saved; all of them, of a published network."""
    told = [run.steps.get("last"), *(row.get("step") for row in (*run.metrics[-1:], *run.costs[-1:]))]
    if not run.folder:
        told.append(run.told.get("steps"))
    return max((step for step in told if isinstance(step, int)), default=None)


def _kind(settings: Any) -> str:
    """A part of the settings in a few words: its class, and its numbers."""
    if not isinstance(settings, dict):
        return "–"
    told = {
        name: value
        for name, value in settings.items()
        if isinstance(value, int | str) and value != "" and name != "type"
    }
    plain = [f"{name} {value}" for name, value in told.items()]
    return str(settings.get("type", "–")) + (f" ({', '.join(plain[:3])})" if plain else "")


def duration(seconds: float) -> str:
    """A time as people say it: 42 s, 3 min 20 s, 2 h 05 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _settings(name: str, run: Kept) -> Folded:
    """All settings and versions of a run."""
    told = [(key, str(run.told[key])) for key in _ABOUT if run.told.get(key) is not None]
    tables = [grid("", ("setting", "value"), [(key, text(value)) for key, value in leaves(run.told["run"])], left=2)]
    return Folded(f"{name}: every setting, versions and machine", (*tables, grid("", ("run.json", ""), told, left=2)))


def leaves(value: Any, name: str = "") -> list[tuple[str, Any]]:
    """Every plain setting by its dotted name."""
    if isinstance(value, dict):
        inside = [leaf for key, item in value.items() for leaf in leaves(item, f"{name}.{key}" if name else key)]
        return [(key.removesuffix(".type"), item) for key, item in inside if key != "type"]
    return [(name, value)]


def text(value: Any) -> str:
    """A setting in words."""
    return "none" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else str(value)
