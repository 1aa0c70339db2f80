"""What mkdocstrings is told of the sources: docstrings as Markdown, fields of settings with the comments behind them."""

import functools
import io
import re
import sys
import tokenize
from pathlib import Path
from typing import Any

import griffe

sys.path.insert(0, str(Path(__file__).parent))  # mkdocstrings loads this file alone

from house_style import markdown, plain


@functools.cache
def _comments(file: Path) -> dict[int, str]:
    """The comment on each line that has one."""
    with tokenize.open(file) as opened:
        tokens = tokenize.generate_tokens(io.StringIO(opened.read()).readline)
        found = {token.start[0]: token.string for token in tokens if token.type == tokenize.COMMENT}
    return {line: text.lstrip("# ") for line, text in found.items() if not re.match(r"# (noqa|type:|fmt:)", text)}


def _is_settings(made: griffe.Class) -> bool:
    return any(decorator.callable_path.rpartition(".")[2] in ("settings", "dataclass") for decorator in made.decorators)


def _fields(made: griffe.Class) -> dict[str, griffe.Attribute]:
    """The fields of settings in the order of the constructor, those of the classes that it is made from first."""
    found: dict[str, griffe.Attribute] = {}
    for base in [*reversed(made.mro()), made]:
        if _is_settings(base):
            found |= {name: member for name, member in base.members.items() if _is_field(member)}
    return found


def _is_field(member: griffe.Object | griffe.Alias) -> bool:
    own = isinstance(member, griffe.Attribute) and member.annotation is not None
    return own and "property" not in member.labels and not member.name.startswith("_")


def _field(field: griffe.Attribute) -> str:
    """A field with its type, what it is where nothing is given, and the comment behind it."""
    lines = range(field.lineno or 0, (field.endlineno or 0) + 1)
    comments = _comments(Path(str(field.filepath)))
    said = " ".join(comments[line] for line in lines if line in comments)
    default = "" if field.value is None else f" = {field.value}"
    return f"- `{field.name}: {field.annotation}{default}`" + (f"<br>{plain(said)}" if said else "")


class HouseStyle(griffe.Extension):
    """Every docstring of the package becomes Markdown, and settings get the list of their fields."""

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        del kwargs
        self._walk(pkg)

    def _walk(self, made: griffe.Object) -> None:
        for member in made.members.values():
            if not member.is_alias:
                self._walk(member)  # type: ignore[arg-type]
        names = [p.name for p in made.parameters] if isinstance(made, griffe.Function) else []
        if isinstance(made, griffe.Class):
            names = list(made.members)
        fields = _fields(made) if isinstance(made, griffe.Class) and _is_settings(made) else {}
        if made.docstring:
            listed = "\n".join(map(_field, fields.values()))
            told = f"\n\n**Fields:**\n\n{listed}" if listed else ""
            made.docstring.value = markdown(made.docstring.value, {*names, *fields}) + told
