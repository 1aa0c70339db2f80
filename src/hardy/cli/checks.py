"""What commands check before any work is done: that a device can be used, that a file can be made."""

import os
import tempfile
from pathlib import Path

import torch

from hardy.errors import UsageError
from hardy.parallel import this_group


def device(name: str | None) -> torch.device:
    """The device of that name; without one, a GPU where there is one. Of several processes each has a GPU of its own.

    Raises: UsageError, saying what is there, for a device that is not, or that cannot be used.
    """
    gpus = [f"cuda:{i}" for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    known = ["cpu", *(["cuda", *gpus] if gpus else [])]
    here, name = this_group(), name or ("cuda" if gpus else "cpu")
    if here.size > 1 and name in gpus:
        raise UsageError(
            f"device is {name!r}, for {here.size} processes; each takes a GPU of its own: say cuda, or leave it out."
        )
    if here.size > 1 and name == "cuda" and gpus:
        name = f"cuda:{here.local}"
    if name not in known:
        raise UsageError(
            f"device is {name!r}; it must be {' or '.join(known)}{'' if gpus else ': there is no GPU here'}."
        )
    try:
        torch.empty(0, device=name)
    except RuntimeError as error:  # one that another process has for itself, or that is broken
        raise UsageError(f"The device {name!r} cannot be used: {str(error).splitlines()[0]}") from error
    return torch.device(name)


def new_file(path: Path, flag: str, names: str = "a new file") -> None:
    """Check that a file is not there and can be made, before hours go into what it is to hold.

    flag: of the command line; names: what its value is.

    Raises: UsageError if something is there, a symbolic link that leads nowhere included, or nothing can be put there.
    """
    if os.path.lexists(path):
        raise UsageError(f"{path} exists already; {flag} names {names}, so that nothing is overwritten.")
    _try(path, path.absolute().parent, f"{flag} names {names}")


def writable(path: Path, flag: str) -> None:
    """Check that files can be put into a folder, which need not be there yet.

    Raises: UsageError if they cannot.
    """
    _try(path, path.absolute(), f"{flag} names a folder for files")


def _try(path: Path, folder: Path, remedy: str) -> None:
    """Raises UsageError unless a file can be made in the folder, or in the nearest one above that is there."""
    there = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
    try:
        tempfile.TemporaryFile(dir=there).close()
    except OSError as error:
        raise UsageError(f"{path} cannot be written; {there}: {error.strerror}. {remedy}.") from error
