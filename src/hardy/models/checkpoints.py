"""Weights files: safetensors that say in their header which network they belong to."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from hardy.describe import describe, first_line, fitted, rebuild
from hardy.errors import UsageError
from hardy.files import write_bytes
from hardy.models.classifier import Architecture, Classifier, outside_inference
from hardy.models.published import find, published

Which = Literal["best", "last"]

_PLAIN = "standard-cifar10-small"  # published: trained plainly on CIFAR-10


def save_weights(
    path: Path,
    tensors: Mapping[str, Tensor],
    architecture: Architecture,
    classes: int,
    channels: int,
    about: Mapping[str, Any],
) -> None:
    """Write a network's state with all that `load` needs, and a digest of both, atomically; equal states make equal files.

    about: what else the file should say of itself.
    """
    header = {"model": describe(architecture), "classes": classes, "channels": channels, **about}
    header = json.loads(json.dumps(header))  # as it will be read: keys of other kinds become text
    # copies: weights of several names may be one tensor, which safetensors refuses
    layout = torch.contiguous_format
    plain = {name: v.detach().to("cpu", copy=True, memory_format=layout) for name, v in tensors.items()}
    header["sha256"] = digest_of(plain, header)
    # as bytes first: what safetensors raises where a disk is full is no OSError. One entry in the header and no more: it
    # writes several in any order, and equal weights would make different files
    write_bytes(path, save(plain, {"hardy": json.dumps(header)}))


def digest_of(tensors: Mapping[str, Tensor], header: Mapping[str, Any] | None = None) -> str:
    """SHA-256 of the header and of all tensors by name: kind, shape and bytes."""
    made = hashlib.sha256(json.dumps(header or {}, sort_keys=True).encode())
    for name, value in sorted(tensors.items()):
        made.update(json.dumps([name, str(value.dtype), list(value.shape)]).encode())
        made.update(value.detach().cpu().flatten().view(torch.uint8).numpy().data)
    return made.hexdigest()


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """(tensors, what the file says of itself), held against its digest where it has one.

    Raises: UsageError if the file is missing, truncated or otherwise altered, not safetensors, or not written by this
    library.
    """
    if not path.is_file():
        names = get_close_matches(str(path), published(), n=3, cutoff=0.5) if path.name == str(path) else []
        hint = f" Of the published networks, did you mean {' or '.join(names)}?" if names else ""
        raise UsageError(f"There is no weights file {path}, nor a folder of that name.{hint}")
    try:
        with safe_open(path, "pt") as file:
            said = (file.metadata() or {}).get("hardy")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError, ValueError) as error:
        raise UsageError(f"{path} is damaged or not a safetensors file ({first_line(error)}).") from error
    try:
        header = json.loads(said or "")
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict) or not {"model", "classes", "channels"} <= header.keys():
        raise UsageError(f"{path} does not say which network its weights belong to; it was not written by hardy.")
    told = header.pop("sha256", None)  # files of earlier versions have none
    if told is not None and told != digest_of(tensors, header):
        raise UsageError(f"{path} is damaged: it is not what was written, by its own digest. Fetch or train it anew.")
    return tensors, header


def find_weights(source: Path, which: Which | None = None) -> tuple[Path, Which | None]:
    """(file, which weights of a run it holds) for a run's folder, a weights file or a published name.

    By default a run's best weights, else its last.

    Raises: UsageError if there is nothing of that name, the run has no such weights, or `which` is asked of a file.
    """
    which = fitted(which, Which | None, "which")
    if not source.is_dir():
        file = source if source.exists() or str(source) not in published() else find(str(source))
        if which and file.is_file():
            raise UsageError(
                f"The {which} weights were asked for, and {source} is a single file; only a run's folder has a choice."
            )
        return file, None
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
    """The network of a run's folder, a weights file or a published name, in evaluation mode, on the CPU, in float32.

    which: "best" or "last" of a run; left out, the best where the run chose one on held-out images, else the last.

    Raises: UsageError if there are none, or they are damaged, hold NaN, or do not fit the network they name, or for `which`
    with a file.
    """
    path, _ = find_weights(Path(source), which)
    tensors, header = read_weights(path)
    classes, channels = header["classes"], header["channels"]
    try:
        with outside_inference():
            architecture = rebuild(header["model"], Architecture)  # type: ignore[type-abstract]
            outline = architecture.outline(classes, channels)  # takes no memory, whatever sizes a damaged file asks for
            model = outline if _misfit(outline, tensors) else architecture.build(classes, channels).float()
    except UsageError as error:
        raise UsageError(f"{path} names a network that cannot be built: {error}") from error
    fill(model, tensors, str(path))
    return model.eval()


def surrogate_for(shape: Sequence[int], classes: Sequence[str]) -> str | None:
    """The name of a published network that was trained plainly on such images, to test transfer from; None without one."""
    _, header = read_weights(find(_PLAIN))
    fits = (list(shape), list(classes)) == (header["shape"], header["class names"])
    return _PLAIN if fits else None


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
