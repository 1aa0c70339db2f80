"""Document: a report before it has a form: sections of headings, paragraphs, tables, figures, commands and parts that unfold."""

from collections.abc import Sequence
from dataclasses import dataclass

from hardy.report.analysis import Tabular
from hardy.report.figures import Figure


@dataclass(frozen=True)
class Paragraph:
    """Sentences. warning: they should not be missed."""

    text: str
    warning: bool = False


@dataclass(frozen=True)
class Heading:
    """The title of what follows within a section."""

    text: str


@dataclass(frozen=True)
class Items:
    """Sentences as a list."""

    texts: tuple[str, ...]


@dataclass(frozen=True)
class Grid:
    """A table that a reader may sort."""

    table: Tabular


@dataclass(frozen=True)
class Drawn:
    """A figure. text: what it shows, for those who do not see it."""

    figure: Figure
    text: str


@dataclass(frozen=True)
class Commands:
    """Lines for a shell."""

    lines: tuple[str, ...]


@dataclass(frozen=True)
class Folded:
    """What is shown when its title is clicked."""

    title: str
    blocks: "tuple[Block, ...]"


Block = Heading | Paragraph | Items | Grid | Drawn | Commands | Folded


@dataclass(frozen=True)
class Section:
    """name: its place in addresses."""

    name: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Document:
    """lead: sentences below the title."""

    title: str
    lead: str
    sections: tuple[Section, ...]


def grid(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> Grid:
    """A table from lists."""
    return Grid(Tabular(title, tuple(heads), tuple(map(tuple, rows)), left))
