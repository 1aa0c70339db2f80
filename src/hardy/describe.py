"""Settings to JSON and back, by an allow-list of the library's own classes."""

import builtins
import dataclasses
import functools
import hashlib
import json
import types
import typing
from collections.abc import Callable
from typing import Any, TypeVar, dataclass_transform

import numpy as np

from hardy.errors import UsageError

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
T = TypeVar("T")

_ALLOWED: dict[str, type] = {}


@dataclass_transform(frozen_default=True)
def settings(cls: type[T]) -> type[T]:
    """Class decorator: a frozen dataclass that may be rebuilt from JSON, and whose fields hold what their types say.

    Every field is checked, and made of its type exactly, as in `fitted`; then comes the class's own __post_init__. Only
    classes so decorated can come out of a file; their names are unique in the library.

    Raises: TypeError if another class of this name exists already.
    """
    own: Callable[[Any], None] | None = getattr(cls, "__post_init__", None)

    def check(self: Any) -> None:
        for name, hint in _hints(self.__class__).items():
            object.__setattr__(self, name, fitted(getattr(self, name), hint, name))
        if own is not None:
            own(self)

    cls.__post_init__ = check  # type: ignore[attr-defined]
    made = dataclasses.dataclass(frozen=True)(cls)
    other = _ALLOWED.setdefault(made.__name__, made)
    if other.__module__ != made.__module__:
        raise TypeError(f"Two settings classes are named {made.__name__}: in {other.__module__} and {made.__module__}.")
    _ALLOWED[made.__name__] = made
    return made


@functools.cache
def _hints(cls: Any) -> dict[str, Any]:
    """The type of each field."""
    hints = typing.get_type_hints(cls)
    return {f.name: hints[f.name] for f in dataclasses.fields(cls)}


def describe(value: Any) -> Json:
    """The settings as plain JSON values; each object carries its class name under "type".

    Raises: UsageError for a value that is neither settings nor plain.
    """
    known = _ALLOWED.get(type(value).__name__)
    if known is not None and known.__module__ == type(value).__module__:
        fields = {f.name: describe(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"type": type(value).__name__, **fields}
    if isinstance(value, list | tuple):
        return [describe(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise UsageError(
        f"{type(value).__name__} in {type(value).__module__} is not a settings class and has no JSON form; "
        "the decorator hardy.describe.settings makes one."
    )


def rebuild(data: Json, expected: type[T]) -> T:
    """The settings that `describe` wrote, as an object of class `expected`.

    Raises: UsageError for an unknown class, an unknown or missing field, or a value of the wrong kind.
    """
    value = _rebuild(data, "settings")
    if not isinstance(value, expected):
        raise UsageError(
            f"The settings describe {with_article(type(value).__name__)}; {with_article(expected.__name__)} was expected."
        )
    return value


def _rebuild(data: Json, place: str) -> Any:
    if isinstance(data, list):
        return tuple(_rebuild(item, f"{place}[{i}]") for i, item in enumerate(data))
    if not isinstance(data, dict):
        return data
    name = data.get("type")
    cls = _ALLOWED.get(name) if isinstance(name, str) else None
    if cls is None:
        raise UsageError(f"{place} names the class {name!r}, which is not one of this library's settings.")
    fields = {f.name: f for f in dataclasses.fields(cls)}
    given = {key: _rebuild(item, f"{place}.{key}") for key, item in data.items() if key != "type"}
    for key in given:
        if key not in fields:
            raise UsageError(f"{place} ({name}) has no field {key!r}; it has {', '.join(fields) or 'none'}.")
    missing = [
        f.name
        for f in fields.values()
        if f.name not in given and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise UsageError(f"{place} ({name}) lacks {', '.join(missing)}.")
    try:
        return cls(**given)
    except UsageError as error:
        raise UsageError(f"{place} ({name}): {error}") from error


def fitted(value: Any, hint: Any, name: str) -> Any:
    """The value as one of the type `hint`: numpy's numbers as Python's, whole numbers as floats, lists as tuples.

    hint: what the fields of settings have: bool, int (of 64 bits), float (finite in 32 bits), str, Literal of strings, a
    class, None, a union or a tuple[..., ...] of these. name: what the value is called.

    Raises: UsageError for a value of another type.
    """
    made = _as(hint, value)
    require(made is not _MISFIT, name, value, _in_words(hint))
    return made


_MISFIT = object()  # what no value becomes, None being one
_LARGEST = float(np.finfo(np.float32).max)  # what tensors hold; more is infinite there
_WORDS = {
    bool: "True or False", int: "an integer (64 bits)", float: "a finite number (32 bits)", str: "text", type(None): "None",
}  # fmt: skip


def _as(hint: Any, value: Any) -> Any:
    """The value as one of this type, or _MISFIT."""
    if isinstance(value, np.generic):
        value = value.item()
    options = typing.get_args(hint)
    match typing.get_origin(hint) or hint:
        case types.UnionType | typing.Union:
            return next((made for option in options if (made := _as(option, value)) is not _MISFIT), _MISFIT)
        case typing.Literal:
            fits = isinstance(value, str) and value in options
        case builtins.tuple:
            value = tuple(_as(options[0], item) for item in value) if isinstance(value, list | tuple) else _MISFIT
            fits = value is not _MISFIT and all(item is not _MISFIT for item in value)
        case builtins.int:  # for Python, True is an integer
            fits = isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63
        case builtins.float:
            number = isinstance(value, int | float) and not isinstance(value, bool)
            fits = number and abs(value) <= _LARGEST  # not for NaN
            value = float(value) if fits else value
        case _:
            fits = isinstance(value, hint)
    return value if fits else _MISFIT


def _in_words(hint: Any) -> str:
    """What a value of this type is, as messages say it."""
    options = typing.get_args(hint)
    match typing.get_origin(hint):
        case types.UnionType | typing.Union:
            return " or ".join(map(_in_words, options))
        case typing.Literal:
            return " or ".join(map(repr, options))
        case builtins.tuple:
            return f"a tuple, each item {_in_words(options[0])}"
        case _:
            return _WORDS.get(hint, with_article(hint.__name__))


def fingerprint(value: Any) -> str:
    """Twelve hexadecimal digits that two equal descriptions share: a run's id."""
    return hashlib.sha256(json.dumps(describe(value), sort_keys=True).encode()).hexdigest()[:12]


def leaves(value: Any, name: str = "") -> dict[str, Json]:
    """Every plain setting by its dotted name, as the command line spells it: {"objective.attack.steps": 10, ...}."""
    if dataclasses.is_dataclass(value):
        found: dict[str, Json] = {}
        for f in dataclasses.fields(value):
            found |= leaves(getattr(value, f.name), f"{name}.{f.name}" if name else f.name)
        return found
    return {name: describe(value)}


def require(condition: bool, setting: str, given: object, allowed: str) -> None:
    """Raises UsageError naming the setting, what was given and what is allowed, unless the condition holds."""
    if not condition:
        raise UsageError(f"{setting} is {given!r}; it must be {allowed}.")


def with_article(name: str) -> str:
    """A name with its article, for messages: "an int", "a Tensor"."""
    return f"a{'n' * (name[0] in 'AEIOaeio')} {name}"


def counted(n: int, noun: str) -> str:
    """So many of something, for messages: "1 image", "1,000 images"."""
    return f"{n:,} {noun}{'s' * (n != 1)}"


def first_line(error: Exception) -> str:
    """What an error of another library says, for a sentence of ours: torch adds pages of C++ frames."""
    return str(error).partition("\n")[0].rstrip(".")


def named_settings() -> list[type]:
    """Every settings class there is, by name: what may be rebuilt from JSON or named on the command line."""
    return [_ALLOWED[name] for name in sorted(_ALLOWED)]
