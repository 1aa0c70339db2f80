"""A report's tables as Markdown and as LaTeX (booktabs)."""

from collections.abc import Iterator, Sequence

from hardy.report.analysis import Tabular
from hardy.report.document import Block, Commands, Document, Drawn, Folded, Grid, Heading, Items, Paragraph

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "–": "--", "±": r"$\pm$", "<": r"\textless{}", ">": r"\textgreater{}",
}  # fmt: skip


def markdown(document: Document) -> str:
    """The whole report; figures by what they show."""
    lines = [f"# {document.title}", document.lead]
    for section in document.sections:
        lines += [f"## {section.title}", *(text for block in section.blocks for text in _in_markdown(block))]
    return "\n\n".join(lines) + "\n"


def _in_markdown(block: Block) -> Iterator[str]:
    match block:
        case Heading():
            yield f"### {block.text}"
        case Paragraph():
            yield f"**{block.text}**" if block.warning else block.text
        case Items():
            yield "\n".join(f"- {text}" for text in block.texts)
        case Grid():
            yield from _markdown_table(block.table)
        case Commands():
            yield "\n".join(("```sh", *block.lines, "```"))
        case Drawn():
            yield f"*{block.text}*"
        case Folded():
            yield f"### {block.title}"
            for inside in block.blocks:
                yield from _in_markdown(inside)


def _markdown_table(table: Tabular) -> Iterator[str]:
    if table.title:
        yield f"**{table.title}**"
    rule = ["---" if i < table.left else "---:" for i in range(len(table.heads))]
    cells = ([cell.replace("|", r"\|") for cell in row] for row in (table.heads, rule, *table.rows))
    yield "\n".join(f"| {' | '.join(row)} |" for row in cells)


def latex(document: Document) -> str:
    """The tables with what stands beside them, one after another, to be put into a paper; they need the package booktabs."""
    made = [f"% {document.title}: {document.lead}", r"% needs \usepackage{booktabs}"]
    for section in document.sections:
        if any(True for _ in _tables(section.blocks)):
            made += ["", f"% {section.title}"]
            made += [text for block in section.blocks for text in _in_latex(block)]
    return "\n".join(made) + "\n"


def _in_latex(block: Block) -> Iterator[str]:
    """A table, or sentences that belong to one; nothing of what a page folds but an analysis' own numbers."""
    match block:
        case Grid():
            yield from ("", *([f"% {block.table.title}"] if block.table.title else []), _latex_table(block.table))
        case Heading() | Paragraph():
            yield from ("", _escaped(block.text))
        case Items():
            yield from ("", *(rf"{_escaped(text)}\\" for text in block.texts))
        case Folded() if block.title.endswith("the numbers"):
            for inside in block.blocks:
                yield from _in_latex(inside)
        case _:
            return


def _tables(blocks: Sequence[Block]) -> Iterator[Tabular]:
    """All tables, but those of settings and evidence that a page folds: an analysis' own numbers are wanted in a paper."""
    for block in blocks:
        if isinstance(block, Grid):
            yield block.table
        elif isinstance(block, Folded) and block.title.endswith("the numbers"):
            yield from _tables(block.blocks)


def _latex_table(table: Tabular) -> str:
    columns = "l" * table.left + "r" * (len(table.heads) - table.left)
    lines = [" & ".join(map(_escaped, row)) + r" \\" for row in (table.heads, *table.rows)]
    head = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", lines[0], r"\midrule"]
    return "\n".join([*head, *lines[1:], r"\bottomrule", r"\end{tabular}"])


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in text)
