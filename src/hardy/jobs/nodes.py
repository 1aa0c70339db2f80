"""What is checked of a cluster's machines before the first job: that they see the same files, and have the same hardy."""

import importlib.metadata
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hardy.errors import UsageError
from hardy.files import WriteError, make_folder
from hardy.jobs.beside import LAG, comes

_PATIENCE = (
    180.0  # seconds until a machine answers; it starts a Python process, and may start it from a network file system
)
_SKEW = 20.0  # seconds between a machine's clock and the file system's; signs of life are told by the difference

Look = Callable[[str, str, str | None], dict[str, Any]]


@dataclass(frozen=True)
class Node:
    """A machine of the cluster. identity: Ray's. host: what it is called in sentences."""

    identity: str
    host: str
    cpus: float
    gpus: float


def check_nodes(
    nodes: Sequence[Node], folder: Path, data_root: Path | None, ask: Callable[[Node, Look, tuple[str, str, str | None]], Any],
    answers: Callable[[list[Any], float], list[dict[str, Any] | None]], note: Callable[[str], None],
) -> None:  # fmt: skip
    """Let every machine read a file in the queue's folder and leave one beside it, and tell its code and its clock.

    ask: submits a look to a machine. answers: what came of the looks within so many seconds, None where nothing did.

    Raises: UsageError naming every machine on which jobs cannot run, and why; WriteError if nothing can be written here.
    """
    make_folder(folder)
    try:
        shared = Path(tempfile.mkdtemp(prefix=".seen-", dir=folder))
        (shared / "token").write_text(shared.name, encoding="utf-8")
    except OSError as error:
        raise WriteError(f"{folder} could not be written: {error.strerror or error}.") from error
    try:
        look, root = looker(), None if data_root is None else str(data_root)
        here = look(str(shared), "here", root)
        asked = [ask(node, look, (str(shared), node.identity, root)) for node in nodes]
        wrong = []
        for node, said in zip(nodes, answers(asked, _PATIENCE), strict=True):
            left = said is not None and not said["wrong"] and comes(partial(_is_left, shared, node.identity), LAG)
            wrong += _wrong(node, said, here, folder, data_root, left=left)
            if said and said["torch"] and said["torch"] != here["torch"]:
                note(
                    f"{node.host} has torch {said['torch']}, and this machine {here['torch']}: last digits may differ."
                )
        if wrong:
            raise UsageError(" ".join(wrong))
    finally:
        shutil.rmtree(shared, ignore_errors=True)


def looker() -> Look:
    """The function that looks; it stands inside another, for Ray sends such by value: hardy may be missing over there."""

    def look(folder: str, name: str, data_root: str | None) -> dict[str, Any]:
        import hashlib
        import importlib.metadata
        import importlib.util
        import pathlib
        import time

        def version(package: str) -> str | None:
            try:
                return importlib.metadata.version(package) if importlib.util.find_spec(package) else None
            except importlib.metadata.PackageNotFoundError:
                return "without a version"

        said: dict[str, Any] = {"wrong": None, "skew": 0.0, "hardy": version("hardy"), "torch": version("torch")}
        said["data"] = data_root is None or pathlib.Path(data_root).is_dir()
        code, spec = hashlib.sha256(), importlib.util.find_spec("hardy")
        if spec is not None and spec.origin is not None:
            package = pathlib.Path(spec.origin).parent
            for file in sorted(package.rglob("*.py")):
                code.update(file.relative_to(package).as_posix().encode() + file.read_bytes())
        said["code"] = code.hexdigest()
        shared = pathlib.Path(folder)
        try:
            seen = (shared / "token").read_text(encoding="utf-8") == shared.name
            (shared / name).write_text("seen", encoding="utf-8")
            said["skew"] = abs(time.time() - (shared / name).stat().st_mtime)
        except FileNotFoundError:
            seen = False
        except OSError as error:
            seen, said["wrong"] = True, f"cannot write there: {error.strerror or error}"
        said["wrong"] = said["wrong"] if seen else "does not see it"
        return said

    return look


def _wrong(
    node: Node, said: dict[str, Any] | None, here: dict[str, Any], folder: Path, data_root: Path | None, *, left: bool
) -> list[str]:
    """Sentences on what keeps a machine from doing jobs."""
    if said is None:
        return [f"{node.host} did not answer within {_PATIENCE:.0f} seconds."]
    found = []
    if said["wrong"] or not left:
        why = said["wrong"] or "writes what is not seen here"
        found.append(f"--out must lie on a file system that all machines see: {folder} is here, and {node.host} {why}.")
    if not said["data"]:
        found.append(f"{node.host} does not see the data folder {data_root}.")
    if said["hardy"] is None or said["torch"] is None:
        lacks = " and ".join(name for name in ("hardy", "torch") if said[name] is None)
        found.append(f"{node.host} has no {lacks}; install hardy {importlib.metadata.version('hardy')} there.")
    elif said["code"] != here["code"]:
        found.append(f"{node.host} has another hardy than this machine ({said['hardy']} there, {here['hardy']} here).")
    if said["skew"] > _SKEW:
        found.append(f"The clock of {node.host} and that of the file system differ by {said['skew']:.0f} seconds.")
    return found


def _is_left(shared: Path, name: str) -> bool:
    return name in [file.name for file in shared.iterdir()]  # a listing is fresh where a look at one name may not be
