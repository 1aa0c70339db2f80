"""Settings to JSON and back, by an allow-list of the library's own classes."""

import builtins
import dataclasses
import hashlib
import json
import types
import typing
from typing import Any, TypeVar, dataclass_transform

from hardy.errors import UsageError

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
T = TypeVar("T")

_ALLOWED: dict[str, type] = {}


@dataclass_transform(frozen_default=True)
def settings(cls: type[T]) -> type[T]:
    """Class decorator: a frozen dataclass that may be rebuilt from JSON.

    Only classes so decorated can come out of a file; their names are unique in the library.

    Raises: TypeError if another class of this name exists already.
    """
    made = dataclasses.dataclass(frozen=True)(cls)
    other = _ALLOWED.setdefault(made.__name__, made)
    if other.__module__ != made.__module__:
        raise TypeError(f"Two settings classes are named {made.__name__}: in {other.__module__} and {made.__module__}.")
    _ALLOWED[made.__name__] = made
    return made


def describe(value: Any) -> Json:
    """The settings as plain JSON values; each object carries its class name under "type".

    Raises: TypeError for a value that is neither settings nor plain.
    """
    if type(value).__name__ in _ALLOWED and dataclasses.is_dataclass(value):
        hints = typing.get_type_hints(type(value))
        fields = {f.name: _as_typed(describe(getattr(value, f.name)), hints[f.name]) for f in dataclasses.fields(value)}
        return {"type": type(value).__name__, **fields}
    if isinstance(value, list | tuple):
        return [describe(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{type(value).__name__} is not a settings class and has no JSON form.")


def _as_typed(value: Json, hint: Any) -> Json:
    """A whole number in a field for floats as a float, so that equal settings have one description."""
    if isinstance(value, int) and not isinstance(value, bool) and float in (hint, *typing.get_args(hint)):
        return float(value)
    return value


def rebuild(data: Json, expected: type[T]) -> T:
    """The settings that `describe` wrote, as an object of class `expected`.

    Raises: UsageError for an unknown class, an unknown or missing field, or a value of the wrong kind.
    """
    value = _rebuild(data, "settings")
    if not isinstance(value, expected):
        raise UsageError(f"The settings describe a {type(value).__name__}; a {expected.__name__} was expected.")
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
    hints = typing.get_type_hints(cls)
    given = {key: _rebuild(item, f"{place}.{key}") for key, item in data.items() if key != "type"}
    for key, item in given.items():
        if key not in fields:
            raise UsageError(f"{place} ({name}) has no field {key!r}; it has {', '.join(fields) or 'none'}.")
        if not _fits(item, hints[key]):
            raise UsageError(f"{place}.{key} is {item!r}; it must be {hints[key]}.")
    missing = [
        f.name
        for f in fields.values()
        if f.name not in given and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise UsageError(f"{place} ({name}) lacks {', '.join(missing)}.")
    return cls(**given)


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value read from JSON may stand in a field of this type."""
    options = typing.get_args(hint)
    match typing.get_origin(hint):
        case typing.Annotated:
            return _fits(value, options[0])
        case types.UnionType | typing.Union:
            return any(_fits(value, option) for option in options)
        case typing.Literal:
            return value in options
        case builtins.tuple:
            inner = [option for option in options if option is not Ellipsis]
            return isinstance(value, tuple) and all(any(_fits(v, option) for option in inner) for v in value)
        case _:
            # JSON has no way to tell 1 from 1.0, and for Python True is an integer
            kinds = (int, float) if hint is float else hint or type(None)
            return isinstance(value, kinds) and (hint is bool or not isinstance(value, bool))


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


def named_settings() -> list[type]:
    """Every settings class there is, by name: what may be rebuilt from JSON or named on the command line."""
    return [_ALLOWED[name] for name in sorted(_ALLOWED)]
