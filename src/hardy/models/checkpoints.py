"""Weights files: safetensors that say in their header which network they belong to."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from hardy.describe import describe, rebuild
from hardy.errors import UsageError
from hardy.files import write_bytes
from hardy.models.classifier import Architecture, Classifier

Which = Literal["best", "last"]


def save_weights(
    path: Path,
    tensors: Mapping[str, Tensor],
    architecture: Architecture,
    classes: int,
    channels: int,
    about: Mapping[str, Any],
) -> None:
    """Write a network's state with all that `load` needs, atomically. about: what else the file should say of itself."""
    header = {"model": describe(architecture), "classes": classes, "channels": channels, **about}
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    # as bytes first: what safetensors raises where a disk is full is no OSError. One entry in the header and no more: it
    # writes several in any order, and equal weights would make different files
    write_bytes(path, save(plain, {"hardy": json.dumps(header)}))


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """(tensors, what the file says of itself).

    Raises: UsageError if the file is missing, truncated, not safetensors, or not written by this library.
    """
    if not path.is_file():
        raise UsageError(f"There is no weights file {path}.")
    try:
        with safe_open(path, "pt") as file:
            said = (file.metadata() or {}).get("hardy")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError, ValueError) as error:
        raise UsageError(f"{path} is damaged or not a safetensors file ({error}).") from error
    try:
        header = json.loads(said or "")
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict) or not {"model", "classes", "channels"} <= header.keys():
        raise UsageError(f"{path} does not say which network its weights belong to; it was not written by hardy.")
    return tensors, header


def find_weights(source: Path, which: Which | None = None) -> tuple[Path, Which | None]:
    """(file, which weights of a run it holds) for a run's folder or a weights file; by default a run's best, else its last."""
    if not source.is_dir():
        return source, None
    wanted: tuple[Which, ...] = (which,) if which else ("best", "last")
    for choice in wanted:
        if (source / f"{choice}.safetensors").is_file():
            return source / f"{choice}.safetensors", choice
    present = [name for name in ("best", "last") if (source / f"{name}.safetensors").is_file()]
    raise UsageError(
        f"{source} has no {' or '.join(f'{w}.safetensors' for w in wanted)}; "
        + (f"it has {present[0]} weights." if present else "it is not the folder of a run that has saved any weights.")
    )


def load(source: Path | str, which: Which | None = None) -> Classifier:
    """The network of a run's folder or of a weights file, in evaluation mode, on the CPU, in float32.

    which: "best" or "last" of a run; left out, the best where the run chose one on held-out images, else the last.

    Raises: UsageError if there are none, or they are damaged, hold NaN, or do not fit the network they name.
    """
    path, _ = find_weights(Path(source), which)
    tensors, header = read_weights(path)
    classes, channels = header["classes"], header["channels"]
    if type(classes) is not int or type(channels) is not int or classes < 2 or channels < 1:
        given = f"{classes!r} classes and {channels!r} channels"
        raise UsageError(f"{path} gives {given}; they must be integers, at least 2 and at least 1.")
    try:
        architecture = rebuild(header["model"], Architecture)  # type: ignore[type-abstract]
        with torch.device("meta"):  # takes no memory, whatever sizes a damaged file asks for
            outline = architecture.empty(classes, channels)
        model = outline if _misfit(outline, tensors) else architecture.build(classes, channels)
    except (UsageError, RuntimeError, TypeError, OverflowError) as error:  # other than the first: impossible sizes
        raise UsageError(f"{path} names a network that cannot be built: {error}") from error
    fill(model, tensors, str(path))
    return model.eval()


def fill(model: Classifier, tensors: Mapping[str, Tensor], place: str) -> None:
    """Put tensors into a network.

    Raises: UsageError if a name, shape or kind does not fit, or a value is NaN or infinite.
    """
    misfit = _misfit(model, tensors)
    if misfit:
        raise UsageError(f"The weights in {place} belong to another architecture: tensors are {misfit}.")
    for name, value in tensors.items():
        if value.is_floating_point() and not bool(value.float().isfinite().all()):
            raise UsageError(f"The weights in {place} hold NaN or infinite values, in {name}.")
    model.load_state_dict(dict(tensors))


def _misfit(model: Classifier, tensors: Mapping[str, Tensor]) -> str:
    """How names, shapes and kinds (floating-point or not) differ from the network's; empty where they do not."""
    wanted = model.state_dict()
    both = sorted(wanted.keys() & tensors.keys())
    trouble = {
        "missing": sorted(wanted.keys() - tensors.keys()),
        "unknown": sorted(tensors.keys() - wanted.keys()),
        "of another shape": [n for n in both if wanted[n].shape != tensors[n].shape],
        "of another kind": [n for n in both if wanted[n].is_floating_point() != tensors[n].is_floating_point()],
    }
    return ", ".join(f"{len(names)} {what} (such as {names[0]})" for what, names in trouble.items() if names)
