"""A run's folder: settings, rows, and checkpoints that are whole or not there.

run.json            all settings, versions, commit, device
metrics.jsonl       a row for each log point and each validation
costs.jsonl         a row for each checkpoint: seconds and passes since the one before it, those in vain after a kill included
results.jsonl       what `hardy evaluate` measured
last.safetensors    the newest weights (their average where the run keeps one); best.safetensors where a part is held out
checkpoints/        step-N.safetensors and step-N.state.pt, the two newest pairs; the state names its weights' digest
"""

import contextlib
import io
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hardy.describe import describe
from hardy.errors import UsageError
from hardy.files import PARTIAL, WriteError, digest, write_bytes
from hardy.models.checkpoints import read_weights, save_weights
from hardy.training.record import append_costs, append_metrics, open_folder, read_id, trim_metrics
from hardy.training.run import Run

_OURS = re.compile(
    r"\.(run\.json|metrics\.jsonl|(last|best|(step|best)-\d{8,})\.(safetensors|state\.pt))\."
)  # half-written
_BEST = re.compile(r"best-\d{8,}\.safetensors")
_KEPT = 2  # checkpoints: the newest, and one to fall back on if it is damaged


@dataclass
class Checkpoint:
    """Everything a run needs to go on after `step`.

    weights: the network's state. average: the EMA's. pending: terms of steps not yet in a row of metrics.jsonl. best:
    value, step and file of the best weights on the held-out part.
    """

    step: int
    weights: dict[str, Tensor]
    optimizer: dict[str, Any]
    average: dict[str, Tensor] | None = None
    pending: list[dict[str, float]] = field(default_factory=list)
    best: dict[str, Any] | None = None


class Folder:
    """A run's folder on disk. Opening one that holds a run with other settings is refused."""

    def __init__(
        self, path: Path, run: Run, shape: tuple[int, int, int], classes: Sequence[str], about: Mapping[str, Any]
    ) -> None:
        self.path, self.run, self.shape, self.classes, self.steps = path, run, shape, classes, about.get("steps")
        self.checkpoints = path / "checkpoints"
        open_folder(path, run, {"classes": len(classes), "shape": list(shape), **about})
        self.id = read_id(path)
        for leftover in (*path.glob(f".*{PARTIAL}"), *self.checkpoints.glob(f".*{PARTIAL}")):
            if _OURS.match(leftover.name) and leftover.is_file():
                leftover.unlink(missing_ok=True)

    def log(self, row: Mapping[str, Any]) -> None:
        """Append a row to metrics.jsonl."""
        append_metrics(self.path, row)

    def spent(self, row: Mapping[str, Any]) -> None:
        """Append a row to costs.jsonl."""
        append_costs(self.path, row)

    def save_best(self, step: int, value: float, weights: Mapping[str, Tensor]) -> dict[str, Any]:
        """Keep the best weights so far; they count once a checkpoint names them."""
        file = self.checkpoints / f"best-{step:08d}.safetensors"
        self._save(file, weights, step)
        return {"value": value, "step": step, "file": file.name, "digest": digest(file)}

    def commit(self, point: Checkpoint) -> None:
        """Save a checkpoint: first the weights, then the state that names them, then what users load."""
        weights = self._weights(point.step)
        self._save(weights, point.weights, point.step)
        state = {"step": point.step, "digest": digest(weights), "optimizer": point.optimizer, "average": point.average,
                 "pending": point.pending, "best": point.best}  # fmt: skip
        whole = io.BytesIO()  # what torch raises where a disk is full is no OSError
        torch.save(state, whole)
        try:
            write_bytes(self._state(point.step), whole.getbuffer())
        except WriteError:
            if self._read(point.step) is None:  # where the disk is full, weights that nothing names only take room
                weights.unlink(missing_ok=True)
            raise
        self._publish(point)
        self._clear(point)

    def newest(self) -> Checkpoint | None:
        """The newest checkpoint that is whole; rows of metrics.jsonl after it, and a torn last one, are dropped.

        Raises: UsageError if there is none any more, but weights, which a start from the beginning would overwrite.
        """
        point = next(filter(None, map(self._read, self._newest_first())), None)
        if point is None and (trained := self.trained()) is not None:
            raise UsageError(
                f"{self.path} holds weights of step {trained} of this run, but no whole checkpoint to go on from. "
                "They can be loaded; to train again, name another folder."
            )
        trim_metrics(self.path, point.step if point else None)
        if point is not None:
            self._publish(point)
        return point

    def trained(self) -> int | None:
        """The step of the weights that users load, of this run; None where there are none."""
        with contextlib.suppress(UsageError):
            _, header = read_weights(self.path / "last.safetensors")
            return header["step"] if header.get("id") == self.id else None
        return None

    def last_step(self) -> int | None:
        """The step of the newest whole checkpoint."""
        return next((step for step in self._newest_first() if self._read(step)), None)

    def damaged_after(self, step: int) -> list[int]:
        """The steps of later checkpoints, which are there but not whole."""
        return sorted(later for later in self._steps() if later > step)

    def _newest_first(self) -> list[int]:
        return sorted(self._steps(), reverse=True)

    def _save(self, path: Path, weights: Mapping[str, Tensor], step: int) -> None:
        about = {
            "run": self.run.name,
            "id": self.id,
            "step": step,
            "steps": self.steps,
            "data": describe(self.run.data),
            "shape": list(self.shape),
            "class names": list(self.classes),
            "ball": describe(self.run.objective.ball),
        }
        save_weights(path, weights, self.run.model, len(self.classes), self.shape[0], about)

    def _publish(self, point: Checkpoint) -> None:
        self._save(self.path / "last.safetensors", point.average or point.weights, point.step)
        if point.best is not None:
            kept = self.checkpoints / point.best["file"]
            write_bytes(self.path / "best.safetensors", kept.read_bytes())

    def _clear(self, point: Checkpoint) -> None:
        """Remove this run's checkpoints that are no longer needed: all but the newest up to this one.

        Later ones are damaged, or the run would have gone on from them.
        """
        kept = set(sorted((step for step in self._steps() if step <= point.step), reverse=True)[:_KEPT])
        for step in self._steps() - kept:
            self._state(step).unlink(missing_ok=True)
        for step in self._steps(".safetensors") - kept:
            self._weights(step).unlink(missing_ok=True)
        named = {
            best["file"] for best in (point.best, *(p.best for p in map(self._read, kept - {point.step}) if p)) if best
        }
        for file in self.checkpoints.glob("best-*.safetensors"):
            if file.name not in named and _BEST.fullmatch(file.name):
                file.unlink(missing_ok=True)

    def _state(self, step: int) -> Path:
        return self.checkpoints / f"step-{step:08d}.state.pt"

    def _weights(self, step: int) -> Path:
        return self.checkpoints / f"step-{step:08d}.safetensors"

    def _steps(self, ending: str = ".state.pt") -> set[int]:
        names = (file.name for file in self.checkpoints.glob(f"step-*{ending}"))
        matches = (re.fullmatch(rf"step-(\d{{8,}}){re.escape(ending)}", name) for name in names)
        return {int(match[1]) for match in matches if match}

    def _read(self, step: int) -> Checkpoint | None:
        """The checkpoint of that step, or None if it or what it names is missing or damaged."""
        weights = self._weights(step)
        with contextlib.suppress(Exception):  # a damaged or foreign archive may raise anything
            with zipfile.ZipFile(self._state(step)) as archive:
                if archive.testzip() is not None:  # torch.load passes over the checksums
                    return None
            state = torch.load(self._state(step), weights_only=True, map_location="cpu")
            best = state["best"]
            if digest(weights) != state["digest"] or (best is not None and not self._has_best(best)):
                return None
            tensors, _ = read_weights(weights)
            if not _fits(state, tensors):
                return None
            return Checkpoint(step, tensors, state["optimizer"], state["average"], state["pending"], best)
        return None

    def _has_best(self, best: Mapping[str, Any]) -> bool:
        """Whether the best weights are whole; where they are not, they are restored from the copy for users, if that is."""
        if not _BEST.fullmatch(best["file"]):  # a path that leads elsewhere, where nothing must be written
            return False
        kept, copy = self.checkpoints / best["file"], self.path / "best.safetensors"
        if kept.is_file() and digest(kept) == best["digest"]:
            return True
        if not copy.is_file() or digest(copy) != best["digest"]:
            return False
        write_bytes(kept, copy.read_bytes())
        return True


def _fits(state: Mapping[str, Any], weights: Mapping[str, Tensor]) -> bool:
    """Whether what a state file holds is of the kinds that a run goes on with; of some other kinds, this raises."""
    optimizer, average, pending, best = (state[name] for name in ("optimizer", "average", "pending", "best"))
    moments = [value for held in optimizer["state"].values() for value in held.values()]
    return (
        all(isinstance(value, Tensor | None) for value in moments)
        and all(isinstance(group["params"], list) for group in optimizer["param_groups"])
        and (average is None or {n: v.shape for n, v in average.items()} == {n: v.shape for n, v in weights.items()})
        and isinstance(pending, list)
        and all(isinstance(value, float) for row in pending for value in row.values())
        and (best is None or isinstance(best["value"], float))
    )
