"""What the commands print: results on standard output, progress on standard error."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from hardy.attacks.balls import fraction
from hardy.results import Measurement

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def both_forms(value: float) -> str:
    """A number as a fraction of 255 and as a decimal, where these differ: 8/255 = 0.031373."""
    short = fraction(value)
    return f"{short} = {value:.6g}" if "/" in short else short


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
        Console(file=sys.stdout, width=200, highlight=False).print(made)


def measurement_row(row: Measurement) -> tuple[str, ...]:
    """A measured accuracy as cells: name, value with interval, n, eps, judge, seconds."""
    eps = row.settings.get("attack", {}).get("ball", {}).get("eps")
    return (
        row.what,
        percent(row.value, row.low, row.high),
        str(row.n),
        "" if eps is None else fraction(eps),
        str(row.settings.get("judge", "")),
        f"{row.seconds:.0f} s",
    )


@contextmanager
def progress() -> Iterator[Progress]:
    """A progress display on standard error, with time left; silent where standard error is no terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"),
               TextColumn("{task.fields[note]}"), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())  # fmt: skip
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as display:
        yield display
