"""A run's record: run.json, which describes it, and the rows of metrics.jsonl and costs.jsonl."""

import contextlib
import json
import platform
import subprocess
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from hardy.data.split import Split
from hardy.describe import describe, fingerprint, leaves, rebuild
from hardy.errors import UsageError
from hardy.files import PARTIAL, WriteError, locked, make_folder, write_text
from hardy.training.precision import Precision
from hardy.training.run import Run

_LOCK = ".lock"


@contextlib.contextmanager
def claimed(path: Path) -> Iterator[None]:
    """The folder `path`, made where it is not there, for this process alone.

    Raises: UsageError if it is no folder, holds something that is no run or a damaged one, or another process trains in it;
    WriteError if it cannot be written.
    """
    if _content(path):
        read_run(path)  # a damaged run is refused before a lock is put beside it
    make_folder(path)
    busy = f"Another process is training in {path}; wait for it, stop it, or name another folder."
    with locked(path / _LOCK, busy):
        yield


def _content(path: Path) -> set[str]:
    """Names of what is in a run's folder, but for its lock and what a kill left half-written.

    Raises: UsageError if it is no folder, or holds something that is no run.
    """
    if path.exists() and not path.is_dir():
        raise UsageError(f"{path} is a file; name a new or empty folder.")
    left = {_LOCK, *(file.name for file in path.glob(f".run.json.*{PARTIAL}"))}
    there = {file.name for file in path.iterdir()} - left if path.is_dir() else set()
    if there and "run.json" not in there:
        raise UsageError(
            f"{path} holds files but no run.json; name a new or empty folder, so that nothing is overwritten."
        )
    return there


def open_folder(path: Path, run: Run, about: Mapping[str, Any]) -> None:
    """Make `path` the folder of this run, or find that it is.

    about: what run.json says beside settings and versions. A folder whose run never came to its first row is given to the new
    one: what stopped it may have been its settings.

    Raises: UsageError if the folder holds a run with other settings, or anything else.
    """
    there = _content(path)
    if there:
        found = read_run(path)
        if there != {"run.json"} or describe(found) == describe(run):
            _refuse_other_settings(path, found, run)
            return
    write_text(path / "run.json", json.dumps(_description(run, about), indent=1) + "\n")


def _description(run: Run, about: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "run": describe(run),
        "id": fingerprint(run),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "hardy": version("hardy"),
        "commit": _commit(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
        **about,
    }


def read_run(path: Path) -> Run:
    """The settings of the run in a folder. Raises: UsageError if there is none or it cannot be read."""
    told = read_description(path)["run"]
    try:
        return rebuild(told, Run)
    except (UsageError, RecursionError) as error:
        raise UsageError(f"{path / 'run.json'} does not describe a run that this version knows: {error}") from error


def read_precision(path: Path) -> Precision:
    """The precision a run began in, which it keeps wherever it goes on; "auto" where its run.json does not say."""
    found = read_description(path).get("precision")
    return found if found in ("float32", "bfloat16") else "auto"


def read_id(path: Path) -> str:
    """A run's id, as it was when the run began: a version with more settings has another for the same ones."""
    found = read_description(path).get("id")
    return found if isinstance(found, str) else fingerprint(read_run(path))


def refuse_other_labels(path: Path, part: Split) -> None:
    """Raises UsageError where the run in a folder began with other classes, or with other images in them."""
    # runs of before the entry was written go on
    if read_description(path).get("labels", part.marking) != part.marking:
        raise UsageError(
            f"{path} holds a run that began with other classes, or other numbers of images in them, than {part.origin}. "
            "Give it the same images to go on with it, or another --out."
        )


def read_description(path: Path) -> dict[str, Any]:
    """All that run.json says. Raises: UsageError if there is none, or it is damaged."""
    file = path / "run.json"
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UsageError(f"{path} has no run.json; it is not the folder of a run.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{file} is damaged ({error}).") from error
    if not isinstance(data, dict) or "run" not in data:
        raise UsageError(f"{file} is damaged: it has no entry 'run', which holds a run's settings.")
    return data


def append_metrics(path: Path, row: Mapping[str, Any]) -> None:
    """Add a row to a run's metrics.jsonl. Raises: WriteError if it cannot be written."""
    _append(path / "metrics.jsonl", row)


def append_costs(path: Path, row: Mapping[str, Any]) -> None:
    """Add a row to a run's costs.jsonl. Raises: WriteError if it cannot be written."""
    _append(path / "costs.jsonl", row)


def _append(file: Path, row: Mapping[str, Any]) -> None:
    try:
        with file.open("a", encoding="utf-8") as out:
            out.write(json.dumps(row) + "\n")
    except OSError as error:
        raise WriteError(f"{file} could not be written: {error.strerror or error}.") from error


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The whole rows of a run's metrics.jsonl, in order; a torn one is passed over."""
    return read_whole_metrics(path)[0]


def read_whole_metrics(path: Path) -> tuple[list[dict[str, Any]], int]:
    """(the whole rows of a run's metrics.jsonl in order, how many lines were passed over because they are torn)."""
    rows, passed_over = [], 0
    for line in (path / "metrics.jsonl").read_text(encoding="utf-8", errors="replace").splitlines():
        row = None
        with contextlib.suppress(ValueError, RecursionError):
            row = json.loads(line)
        if isinstance(row, dict) and isinstance(row.get("step"), int):
            rows.append(row)
        elif line.strip():
            passed_over += 1
    return rows, passed_over


def trim_metrics(path: Path, step: int | None) -> None:
    """Drop the rows after `step` (all where it is None) and a torn last one, as if the run had stopped there."""
    if (path / "metrics.jsonl").exists():
        kept = [row for row in read_metrics(path) if step is not None and row["step"] <= step]
        write_text(path / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in kept))


def _refuse_other_settings(path: Path, there: Run, given: Run) -> None:
    """Raises UsageError naming the settings in which two runs differ, if they do."""
    if describe(there) == describe(given):  # a list in place of a tuple is no other setting
        return
    old, new = leaves(there), leaves(given)
    differing = [
        f"{name} ({old.get(name)!r} there, {new.get(name)!r} given)"
        for name in sorted(old | new)
        if old.get(name) != new.get(name)
    ]
    shown = "; ".join(differing[:6]) + (f"; and {len(differing) - 6} more" if len(differing) > 6 else "")
    raise UsageError(
        f"{path} holds a run with other settings: {shown or 'other classes of settings'}. "
        "Give the same settings to go on with it, or another --out."
    )


def _commit() -> str | None:
    """The commit of this library's source, where it is a git checkout; with a note if it was changed since."""
    here = Path(__file__)

    def git(*args: str) -> str:
        asked = subprocess.run(
            ["git", "-C", str(here.parent), *args], capture_output=True, text=True, timeout=5, check=True
        )
        return asked.stdout.strip()

    with contextlib.suppress(OSError, subprocess.SubprocessError):
        # installed inside another project's checkout, it is not that project's
        git("ls-files", "--error-unmatch", here.name)
        changed = ", changed" if git("status", "--porcelain", "--", str(here.parent.parent)) else ""
        return git("rev-parse", "HEAD") + changed
    return None
