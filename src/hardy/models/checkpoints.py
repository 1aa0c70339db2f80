"""Weights files: safetensors that say in their header which network they belong to."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from hardy.describe import describe, rebuild
from hardy.errors import UsageError
from hardy.files import write_whole
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
    write_whole(path, lambda partial: save_file(plain, partial, {"format": "pt", "hardy": json.dumps(header)}))


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
    except ValueError:
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
    model = rebuild(header["model"], Architecture).build(int(header["classes"]), int(header["channels"]))  # type: ignore[type-abstract]
    fill(model, tensors, str(path))
    return model.eval()


def fill(model: Classifier, tensors: Mapping[str, Tensor], place: str) -> None:
    """Put tensors into a network.

    Raises: UsageError if a name or shape does not fit, or a value is NaN or infinite.
    """
    wanted = model.state_dict()
    missing, unknown = sorted(wanted.keys() - tensors.keys()), sorted(tensors.keys() - wanted.keys())
    misfit = [n for n in wanted if n in tensors and wanted[n].shape != tensors[n].shape]
    if missing or unknown or misfit:
        trouble = [
            f"{len(names)} {what} (such as {names[0]})"
            for names, what in ((missing, "missing"), (unknown, "unknown"), (misfit, "of another shape"))
            if names
        ]
        raise UsageError(f"The weights in {place} belong to another architecture: tensors are {', '.join(trouble)}.")
    damaged = [
        name for name, value in tensors.items() if value.is_floating_point() and not bool(torch.isfinite(value).all())
    ]
    if damaged:
        raise UsageError(f"The weights in {place} hold NaN or infinite values, in {damaged[0]}.")
    model.load_state_dict(dict(tensors))
