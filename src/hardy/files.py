"""Files and folders written whole or not at all, and files that lock a folder."""

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from hardy.errors import FailedError, UsageError

PARTIAL = ".partial"  # ending of a file that is being written


class WriteError(FailedError):
    """A file could not be written: the disk is full, the folder read-only, ..."""


def write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a file under a temporary name, and give it its own name once it is on the disk.

    A link stays one: what it points to is replaced.

    Raises: WriteError if it cannot be written; nothing half-written is left, and what was there before stays.
    """
    path = Path(os.path.realpath(path))
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
        raise WriteError(f"{path} could not be written: {error.strerror or error}.") from error
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


def make_folder(path: Path) -> None:
    """Make a folder where there is none. Raises: WriteError if it cannot be made, or a file is in its place."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(f"The folder {path} could not be made: {error.strerror or error}.") from error


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder to fill under a temporary name; it gets its own name at the end. Where that is not reached, nothing is left.

    Raises: WriteError if it cannot be made; UsageError if something has its name by then.
    """
    partial: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(suffix=PARTIAL, prefix=f".{path.name}.", dir=path.parent))
        yield partial
        if os.path.lexists(path):
            raise UsageError(f"{path} was made meanwhile by something else; nothing is overwritten.")
        partial.chmod(0o777 & ~_umask())
        partial.rename(path)
        _sync(path.parent)
    except OSError as error:
        raise WriteError(f"The folder {path} could not be made: {error.strerror or error}.") from error
    finally:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)


@contextlib.contextmanager
def locked(path: Path, busy: str) -> Iterator[None]:
    """Hold the lock file `path`, which no other process can until this one lets go or ends, however it ends.

    Raises: UsageError(busy) if another process holds it; WriteError if the file cannot be made.
    """
    lock = FileLock(path, timeout=0, is_singleton=False)
    try:
        lock.acquire()
    except Timeout as error:
        raise UsageError(busy) from error
    except OSError as error:
        raise WriteError(f"{path} could not be written: {error.strerror or error}.") from error
    try:
        yield
    finally:
        lock.release()


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
