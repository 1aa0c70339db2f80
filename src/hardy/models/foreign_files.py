"""Weights files of other projects, read without running their code: one network's tensors, by the file's names."""

import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from hardy.describe import first_line, fitted
from hardy.errors import UsageError, unknown

# Under which key a file that holds more keeps the network; averaged weights, where there are any, are what their authors
# evaluate. "model_state_dict" of files that have "unaveraged_model_state_dict" too is the average.
_ENTRIES = (
    "ema_state_dict", "ema_model_state_dict", "state_dict_ema", "model_ema", "ema_model", "ema",
    "model_state_dict", "state_dict", "rmodel", "model", "net", "network", "module", "unaveraged_model_state_dict",
)  # fmt: skip
_TOLD = 3  # names in a message


@dataclass(frozen=True)
class State:
    """The tensors of one network, by the names that they have in the file.

    notes: sentences on what was chosen or passed over.
    """

    path: Path
    tensors: Mapping[str, Tensor]
    notes: tuple[str, ...]


def is_foreign(path: Path) -> bool:
    """Whether a weights file is another project's: anything but safetensors, or safetensors without this library's header."""
    try:
        with safe_open(path, "pt") as file:
            return "hardy" not in (file.metadata() or {})
    except (SafetensorError, OSError, ValueError):
        return path.suffix != ".safetensors"  # a damaged one is told of by whoever reads it


def read(path: Path | str, entry: str | None = None) -> State:
    """What a file of safetensors or of torch.save has of a network.

    entry: the key of the weights in a file that holds several; left out, averaged ones before others.

    A file of torch.save is read with weights_only: nothing in it is run.

    Raises: UsageError for a file that is missing, damaged, this library's own, without a network, or with objects other than
    tensors and plain values; for an entry that is not there.
    """
    path, entry, notes = Path(path), fitted(entry, str | None, "entry"), list[str]()
    tensors = _chosen(_content(path), entry, path, notes)
    return State(path, tensors, tuple(notes))


def _content(path: Path) -> Any:
    """What a file holds, as tensors and plain values."""
    if not path.is_file():
        raise UsageError(f"There is no weights file {path}.")
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}.") from error
    if path.suffix == ".safetensors" or start[8:] == b"{":
        return _safetensors(path)
    if start.startswith((b"<", b"version ")):
        what = "a web page" if start.startswith(b"<") else "a pointer to a file in large-file storage"
        raise UsageError(f"{path} is {what}, not the weights; fetch the file itself.")
    return _pickled(path)


def _safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, "pt") as file:
            if "hardy" in (file.metadata() or {}):
                raise UsageError(f"{path} was written by hardy and says itself which network it is; name none.")
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        raise UsageError(f"{path} is damaged or not a safetensors file ({first_line(error)}).") from error


def _pickled(path: Path) -> Any:
    remedy = (
        "If you trust it, open it with the project that wrote it, and save the network's state_dict() alone, as safetensors "
        "or by torch.save."
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on pickle protocols: what matters of them comes as an error
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle may raise anything
        asked = re.search(r"GLOBAL ([\w.]+)", str(error))
        if asked:
            raise UsageError(
                f"{path} holds more than tensors and plain values: it asks for {asked[1]}, and a file that has its way in that "
                f"can run any code. {remedy}"
            ) from error
        if "TorchScript" in str(error):
            raise UsageError(f"{path} is a TorchScript archive, a program rather than weights. {remedy}") from error
        raise UsageError(
            f"{path} is truncated, damaged, or not weights that torch.save wrote ({type(error).__name__})."
        ) from error


def _chosen(content: Any, entry: str | None, path: Path, notes: list[str]) -> dict[str, Tensor]:
    """The state of one network out of all that a file holds."""
    if entry is not None and (not isinstance(content, Mapping) or entry not in content):
        raise unknown(f"entry of {path}", entry, map(str, content) if isinstance(content, Mapping) else ())
    while True:
        if not isinstance(content, Mapping):
            raise UsageError(f"{path} holds a {type(content).__name__}; the named tensors of a network are needed.")
        networks = [key for key in content if isinstance(content[key], Mapping) and _has_tensors(content[key])]
        known = [key for key in _ENTRIES if key in networks]
        key = entry or (known[0] if known else None)
        if key is None:
            break
        others = [str(other) for other in content if other != key]
        aside = f"; passed over {are(len(others))} {few(others)}" if others else ""
        notes.append(f"The weights are the file's entry {key!r}{aside}.")
        content, entry = content[key], None
    if {"state", "param_groups"} <= content.keys():
        raise UsageError(f"{path} holds the state of an optimizer, not of a network; name the file that goes with it.")
    tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if not tensors:
        said = f"its entries are {few(map(str, content))}" if content else "it is empty"
        raise UsageError(f"{path} holds no network under a key that is known ({', '.join(_ENTRIES)}): {said}.")
    others = [str(name) for name in content if str(name) not in tensors]
    if others:
        notes.append(f"What is no tensor was passed over: {few(others)}.")
    return tensors


def _has_tensors(value: Mapping[Any, Any]) -> bool:
    """Whether there are tensors in it, or in what it has under a key that is known."""
    return any(
        isinstance(item, Tensor) or (key in _ENTRIES and isinstance(item, Mapping) and _has_tensors(item))
        for key, item in value.items()
    )


def are(count: int) -> str:
    """The verb of so many."""
    return "is" if count == 1 else "are"


def few(names: Iterable[str]) -> str:
    """The first few, with commas between, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - _TOLD} more" if len(names) > _TOLD else ""
    return ", ".join(names[:_TOLD]) + more
