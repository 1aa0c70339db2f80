"""The docstrings' house style as Markdown: labels, equations, and what is said of arguments and fields.

A docstring is plain text. `Source:`, `Differs:` and `Raises:` begin a thing of their own; what is indented after an empty line is
an equation or an example; `name: ...` explains an argument or a field.
"""

import re
from collections.abc import Collection, Iterator

_LABEL = re.compile(r"(?:^|(?<=[.)] )|(?<=\n))(Source|Differs|Raises(?: \([^)]*\))?):\s+")


def markdown(docstring: str, names: Collection[str] = ()) -> str:
    """The docstring as Markdown. names: the arguments or fields that it may explain."""
    return "\n\n".join(
        _code(part) if _is_code(part) else "\n\n".join(_paragraphs(part, names)) for part in _parts(docstring)
    )


def _parts(docstring: str) -> list[str]:
    return re.split(r"\n\s*\n", docstring.strip("\n"))


def _is_code(part: str) -> bool:
    return part.startswith(("    ", "minimise "))


def _code(part: str) -> str:
    return "\n".join(["```{ .text .equation }", *(line.removeprefix("    ") for line in part.splitlines()), "```"])


def _paragraphs(part: str, names: Collection[str]) -> Iterator[str]:
    """A paragraph of the docstring, cut where a label begins, and where a value is explained."""
    before, *labelled = _LABEL.split(part)
    text = plain(before)
    if text:
        yield from _explained(text, names)
    for label, said in zip(labelled[::2], labelled[1::2], strict=True):
        yield f"**{label}:** {plain(said)}"


def plain(text: str) -> str:
    """One line, in which nothing is markup but code in backticks."""
    pieces = re.split(r"(`[^`]*`)", " ".join(text.split()))
    return "".join(piece if piece.startswith("`") else _escaped(piece) for piece in pieces)


def _escaped(text: str) -> str:
    return re.sub(r"([*_\[\]#|])", r"\\\1", text.replace("&", "&amp;").replace("<", "&lt;"))


def _explained(text: str, names: Collection[str]) -> Iterator[str]:
    """Sentences, and a list where arguments or fields are explained, as in "attack: ... steps, radius: ...\""""
    known = "|".join(re.escape(_escaped(name)) for name in sorted(names, key=len, reverse=True))
    if not known:
        yield text
        return
    before, *told = re.split(rf"(?:^|(?<=[.;)] ))((?:{known})(?:, (?:{known}))*(?: and (?:{known}))?): ", text)
    if before.strip():
        yield before.strip()
    if told:
        pairs = zip(told[::2], told[1::2], strict=True)
        yield "\n".join(f"- **{name}**: {said.strip()}" for name, said in pairs)
