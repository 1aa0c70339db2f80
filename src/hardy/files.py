"""Files written whole or not at all."""

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from hardy.errors import FailedError

PARTIAL = ".partial"  # ending of a file that is being written


def write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a file under a temporary name, and give it its own name once it is on the disk.

    Raises: FailedError if it cannot be written; nothing half-written is left, and what was there before stays.
    """
    partial: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(suffix=PARTIAL, prefix=f".{path.name}.", dir=path.parent)
        os.close(handle)
        partial = Path(name)
        write(partial)
        partial.chmod(0o666 & ~_umask())
        _sync(partial)
        partial.replace(path)
        _sync(path.parent)
    except OSError as error:
        raise FailedError(f"{path} could not be written: {error.strerror or error}.") from error
    finally:
        if partial is not None:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """`write_whole` for bytes."""

    def write(partial: Path) -> None:
        partial.write_bytes(content)

    write_whole(path, write)


def write_text(path: Path, text: str) -> None:
    """`write_whole` for text."""
    write_bytes(path, text.encode())


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
