"""Settings from the command line: every leaf is a typed flag, every part can be swapped by name."""

import dataclasses
import functools
import inspect
import math
import sys
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import tyro

from hardy import models
from hardy.attacks.balls import fraction
from hardy.describe import named_settings
from hardy.errors import UsageError, unknown
from hardy.models.classifier import Architecture
from hardy.models.own import OwnNetwork, own

T = TypeVar("T")

_WORDS = {
    "data": "data set",
    "model": "network",
    "inner": "objective",
}  # what a field is called where its name says too little


def number(text: str) -> float:
    """A number as people write it: 0.031, 8/255, 1e-3.

    Raises: UsageError for anything else, infinity and NaN included.
    """
    above, slash, below = text.partition("/")
    try:
        value = float(above) / float(below) if slash else float(above)
    except (ValueError, ZeroDivisionError) as error:
        raise UsageError(f"{text!r} is not a number; write it as in 0.031, 8/255 or 1e-3.") from error
    if not math.isfinite(value):
        raise UsageError(f"{text!r} is not a finite number; write one as in 0.031, 8/255 or 1e-3.")
    return value


def _written(value: float) -> str:
    """The shortest text that `number` reads as exactly this: 0.4, and not 102/255, but 8/255."""
    return min((text for text in (fraction(value), repr(value)) if number(text) == value), key=len)


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
    there = _as_it_stands(default)
    return tyro.cli(type(there), args=list(args), prog=prog, registry=_registry, default=there, config=config)


def _as_it_stands(default: T) -> T:
    """The same settings, where a part that may be left out is declared as the class that stands there: tyro looks for the
    fields of an abstract class in a union no further, and would have no flags for them.
    """
    if not dataclasses.is_dataclass(default) or isinstance(default, type):
        return default
    hints = typing.get_type_hints(type(default))
    values = {f.name: getattr(default, f.name) for f in dataclasses.fields(default) if f.init}
    parts = [(n, type(v)) for n, v in values.items() if dataclasses.is_dataclass(v) and _may_lack(hints[n])]
    if not parts:
        return default
    kind = dataclasses.make_dataclass(type(default).__name__, parts, bases=(type(default),), frozen=True, kw_only=True)
    kind.__doc__, kind.__module__ = (
        type(default).__doc__,
        type(default).__module__,
    )  # where the flags' comments are read
    return typing.cast(T, kind(**values))


def _may_lack(hint: Any) -> bool:
    return type(None) in typing.get_args(hint)


def swap(default: T, args: Sequence[str]) -> tuple[T, list[str]]:
    """(the settings with whole parts replaced as asked, the arguments left).

    `--optimizer sgd`, `--optimizer.schedule cosine`, `--average none`, `--model mypackage.mymodule:build`: the
    part is then made anew, with the defaults of its class, and its own leaves are flags; one without a default, as
    the path in `--data folder --data.path IMAGES`, must be among them.

    Raises: UsageError for a name that cannot stand there, or a leaf that lacks.
    """
    left, rest = [], list(args)
    while rest:
        arg = rest.pop(0)
        path, equals, value = arg.removeprefix("--").partition("=")
        part = path.replace("-", "_").split(".")
        if arg.startswith("--") and _is_part(default, part):
            name = value if equals or not rest else rest.pop(0)
            default = _replace(default, part, _made(default, part, name, args))
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


def classes(kind: type) -> dict[str, type]:
    """The settings classes of a kind, such as all data sets, by the names that the command line has for them."""
    return {made.__name__.lower(): made for made in named_settings() if issubclass(made, kind)}


def builders() -> dict[str, Callable[[], Architecture]]:
    """The functions in hardy.models that make the settings of a network without being told anything, by name."""
    functions = {
        name: value for name, value in vars(models).items() if inspect.isfunction(value) and not _needed(value)
    }
    hints = {name: typing.get_type_hints(function).get("return") for name, function in functions.items()}
    return {
        name: functions[name]
        for name, made in hints.items()
        if isinstance(made, type) and issubclass(made, Architecture)
    }


def _is_part(value: Any, path: list[str]) -> bool:
    """Whether the path leads to a field whose type is settings, rather than a plain value."""
    for depth, name in enumerate(path):
        if not dataclasses.is_dataclass(value) or name not in {f.name for f in dataclasses.fields(value)}:
            return False
        if depth == len(path) - 1:
            return bool(_choices(type(value), name))
        value = getattr(value, name)
    return False


def _choices(owner: Any, name: str) -> dict[str, Callable[..., Any] | None]:
    """What makes that which may stand in a field, by name: settings classes, builders, None where it may be left out."""
    hint = typing.get_type_hints(owner)[name]
    options = typing.get_args(hint) or (hint,)
    found: dict[str, Callable[..., Any] | None] = {}
    for option in options:
        if isinstance(option, type) and option is not type(None):
            found |= classes(option)
            found |= builders() if option is Architecture else {}
    return found | ({"none": None} if found and type(None) in options else {})


def _made(default: Any, path: list[str], name: str, args: Sequence[str]) -> Any:
    """The part that goes by that name, for the place `path` of the settings."""
    *above, head = path
    choices = _choices(type(functools.reduce(getattr, above, default)), head)
    if ":" in name and OwnNetwork in choices.values():
        return admit(name)
    if name.lower() not in choices:
        raise unknown(_WORDS.get(head, head), name, choices)
    maker = choices[name.lower()]
    if maker is None:
        return None
    given = []
    for needed in _needed(maker):
        flag = "--" + ".".join([*path, needed]).replace("_", "-")
        value = _value(args, flag)
        if value is None:
            raise UsageError(f"--{'.'.join(path)} {name} needs {flag} too.")
        given.append(f"--{needed.replace('_', '-')}={value}")
    # only classes need anything
    return parse(maker, given, "hardy") if given and isinstance(maker, type) else maker()


def _needed(maker: Callable[..., Any]) -> list[str]:
    """The arguments that have no default."""
    return [p.name for p in inspect.signature(maker).parameters.values() if p.default is p.empty]


def _value(args: Sequence[str], flag: str) -> str | None:
    """What is given for a flag, as --flag VALUE or --flag=VALUE; None where it is not."""
    for arg, after in zip(args, [*args[1:], None], strict=True):
        name, equals, value = arg.partition("=")
        if name.replace("_", "-") == flag:
            return value if equals else after
    return None


def _replace(value: Any, path: list[str], part: Any) -> Any:
    """The settings with another part at the place `path`."""
    head, *rest = path
    return dataclasses.replace(value, **{head: _replace(getattr(value, head), rest, part) if rest else part})
