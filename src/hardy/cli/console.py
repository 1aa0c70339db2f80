"""What the commands print: results on standard output, progress on standard error."""

import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from rich.console import Console
from rich.progress import BarColumn, Progress, Task, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from hardy.attacks.balls import fraction
from hardy.results import Measurement

# paths, names and usage lines hold brackets, which are no markup
_plain = partial(Console, highlight=False, markup=False, emoji=False)
out = _plain(soft_wrap=True)
err = _plain(stderr=True, soft_wrap=True)

_RADII = ("eps", "step_size")  # settings that people give in 255ths


def both_forms(value: float) -> str:
    """A radius as a fraction of 255 and as a decimal, where these differ: 8/255 = 0.0313725."""
    short = fraction(value)
    return f"{short} = {value:.6g}" if "/" in short else short


def shown(name: str, value: object) -> str:
    """The value of a setting as it is echoed: radii and step sizes in both forms, other numbers with all their digits."""
    if not isinstance(value, float):
        return str(value)
    if name.rpartition(".")[2] in _RADII:
        return both_forms(value)
    short = f"{value:.6g}"
    return short if float(short) == value else repr(value)


def percent(value: float, low: float | None = None, high: float | None = None) -> str:
    """A fraction as per cent, with its interval where there is one: 52.9 [49.8, 56.0]."""
    interval = f" [{100 * low:.1f}, {100 * high:.1f}]" if low is not None and high is not None else ""
    return f"{100 * value:.1f}{interval}"


def table(title: str | None, columns: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> None:
    """A table on standard output; the first `left` columns are text, the others numbers."""
    made = Table(title=title, title_justify="left", title_style="bold", header_style="bold", box=None, pad_edge=False)
    for i, column in enumerate(columns):
        made.add_column(column, justify="left" if i < left else "right", overflow="fold")
    for row in rows:
        made.add_row(*row)
    if out.is_terminal:
        out.print(made)
    else:  # in a file or pipe a line is as long as it needs to be
        wide = _plain(file=io.StringIO(), width=10_000)
        with wide.capture() as printed:
            wide.print(made)
        out.print("\n".join(line.rstrip() for line in printed.get().splitlines()))


def measurement_row(row: Measurement) -> tuple[str, ...]:
    """A measured accuracy as cells: name, value with interval, n, eps, judge, seconds."""
    eps = _radius(row.settings.get("attack"))
    return (
        row.what,
        percent(row.value, row.low, row.high),
        str(row.n),
        "" if eps is None else fraction(eps),
        str(row.settings.get("judge", "")),
        f"{row.seconds:.0f} s",
    )


def _radius(attack: object) -> float | None:
    """The radius in a described attack, which may hold other attacks."""
    if isinstance(attack, list):
        return next((eps for eps in map(_radius, attack) if eps is not None), None)
    if not isinstance(attack, dict):
        return None
    ball = attack.get("ball")
    return ball.get("eps") if isinstance(ball, dict) else _radius(list(attack.values()))


class _Count(TextColumn):
    """How much is done of how much, as soon as that is known."""

    def render(self, task: Task) -> Text:
        return Text() if task.total is None else super().render(task)


@contextmanager
def progress() -> Iterator[Progress]:
    """A progress display on standard error, with time left; silent where standard error is no terminal."""
    text = partial(TextColumn, markup=False)
    columns = (text("{task.description}"), BarColumn(), _Count("{task.completed}/{task.total}", markup=False),
               text("{task.fields[note]}"), TimeElapsedColumn(), text("left"), TimeRemainingColumn())  # fmt: skip
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as display:
        yield display
