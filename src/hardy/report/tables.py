"""Tables: the paper's number, the measured one, its interval and their difference, as lines of cells and as Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass

from hardy.results import Measurement

HEADS = ("method", "seed", "attack", "paper", "measured", "95 % interval", "difference", "images")


@dataclass(frozen=True)
class Line:
    """A number of a table: what the paper says (a fraction, None where it says nothing), and what was measured here.

    place: where in the paper it stands.
    """

    row: str
    column: str
    seed: int
    paper: float | None
    place: str
    measured: Measurement | None

    def cells(self) -> tuple[str, ...]:
        """The line in per cent, under HEADS; a dash where there is no number."""
        row = self.measured
        paper = "–" if self.paper is None else f"{100 * self.paper:.2f}"
        if row is None:
            return self.row, str(self.seed), self.column, paper, "–", "–", "–", "–"
        interval = "–" if row.low is None or row.high is None else f"[{_percent(row.low)}, {_percent(row.high)}]"
        difference = "–" if self.paper is None else f"{100 * (row.value - self.paper):+.1f}"
        return self.row, str(self.seed), self.column, paper, _percent(row.value), interval, difference, f"{row.n:,}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


def markdown(title: str, remarks: Sequence[str], lines: Sequence[Line]) -> str:
    """A page with the table and, below it, the remarks."""
    rows = [HEADS, tuple("---" for _ in HEADS), *(line.cells() for line in lines)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return "\n\n".join([f"# {title}", table, *remarks]) + "\n"
