"""Settings from the command line: every leaf is a typed flag, every part can be swapped by name."""

import dataclasses
import sys
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import tyro

from hardy.attacks.balls import fraction
from hardy.describe import named_settings
from hardy.errors import UsageError, unknown
from hardy.models.own import OwnNetwork, own

T = TypeVar("T")


def number(text: str) -> float:
    """A number as people write it: 0.031, 8/255, 1e-3.

    Raises: UsageError for anything else.
    """
    above, slash, below = text.partition("/")
    try:
        return float(above) / float(below) if slash else float(above)
    except (ValueError, ZeroDivisionError) as error:
        raise UsageError(f"{text!r} is not a number; write it as in 0.031, 8/255 or 1e-3.") from error


def _written(value: float) -> str:
    """A number such that `number` reads the same one back: as 8/255 where that is exact."""
    short = fraction(value)
    return short if number(short) == value else repr(value)


_registry = tyro.constructors.ConstructorRegistry()


@_registry.primitive_rule
def _fractions(info: tyro.constructors.PrimitiveTypeInfo) -> tyro.constructors.PrimitiveConstructorSpec[Any] | None:
    """Floats are read by `number`, so that 8/255 is one."""
    if info.type is not float:
        return None
    return tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="NUMBER",
        instance_from_str=lambda texts: number(texts[0]),
        is_instance=lambda value: isinstance(value, float | int),
        str_from_instance=lambda value: [_written(value)],
    )


def parse(kind: type[T], args: Sequence[str], prog: str, default: T | None = None) -> T:
    """Settings of class `kind` from flags; a wrong flag or value ends the program with a sentence and exit code 2."""
    if default is None:
        return tyro.cli(kind, args=list(args), prog=prog, registry=_registry)
    # without subcommands a part that may be left out has flags only once `swap` has put it there
    config = (tyro.conf.AvoidSubcommands,)
    return tyro.cli(kind, args=list(args), prog=prog, registry=_registry, default=default, config=config)


def swap(default: T, args: Sequence[str]) -> tuple[T, list[str]]:
    """(the settings with whole parts replaced as asked, the arguments left).

    `--optimizer sgd`, `--optimizer.schedule cosine`, `--average none`, `--model mypackage.mymodule:build`: the
    part is then made anew, with the defaults of its class, and its own leaves are flags.

    Raises: UsageError for a name that cannot stand there.
    """
    left, rest = [], list(args)
    while rest:
        arg = rest.pop(0)
        path, equals, value = arg.removeprefix("--").partition("=")
        part = path.replace("-", "_").split(".")
        if arg.startswith("--") and _is_part(default, part):
            default = _replace(default, part, value if equals or not rest else rest.pop(0))
        else:
            left.append(arg)
    return default, left


def admit(name: str) -> OwnNetwork:
    """The user's own network, module:function; modules in the current folder are found too, as `python -m` finds them.

    Raises: UsageError if there is no such function.
    """
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    return own(name)


def _is_part(value: Any, path: list[str]) -> bool:
    """Whether the path leads to a field whose type is settings, rather than a plain value."""
    for depth, name in enumerate(path):
        if not dataclasses.is_dataclass(value) or name not in {f.name for f in dataclasses.fields(value)}:
            return False
        if depth == len(path) - 1:
            return bool(_choices(type(value), name))
        value = getattr(value, name)
    return False


def _choices(owner: Any, name: str) -> dict[str, type | None]:
    """What may stand in a field: the settings classes of its type, and None where it may be left out."""
    hint = typing.get_type_hints(owner)[name]
    options = typing.get_args(hint) or (hint,)
    found: dict[str, type | None] = {}
    for option in options:
        if isinstance(option, type) and option is not type(None):
            found |= {cls.__name__.lower(): cls for cls in named_settings() if issubclass(cls, option)}
    return found | ({"none": None} if found and type(None) in options else {})


def _replace(value: Any, path: list[str], name: str) -> Any:
    head, *rest = path
    if rest:
        return dataclasses.replace(value, **{head: _replace(getattr(value, head), rest, name)})
    choices = _choices(type(value), head)
    if ":" in name and OwnNetwork in choices.values():
        return dataclasses.replace(value, **{head: admit(name)})
    if name.lower() not in choices:
        raise unknown(head, name, choices)
    cls = choices[name.lower()]
    try:
        return dataclasses.replace(value, **{head: None if cls is None else cls()})
    except TypeError as error:
        raise UsageError(f"{name} cannot stand for {head} without further settings ({error}).") from error
