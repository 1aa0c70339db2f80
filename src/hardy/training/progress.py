"""Training: a run under way; what of it is logged, saved, and found again."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from hardy.errors import FailedError, UsageError
from hardy.models.classifier import Classifier
from hardy.parallel import Group
from hardy.training.events import Events
from hardy.training.passes import Passes
from hardy.training.run import Run
from hardy.training.state import Checkpoint, Folder


@dataclass
class Watch:
    """What a caller may look at while a run trains."""

    step: Callable[[int, int], None] = lambda step, total: None  # steps made, steps in all
    row: Callable[[dict[str, Any]], None] = lambda row: None  # a new row of metrics.jsonl
    note: Callable[[str], None] = lambda line: None  # a sentence about how the run goes


@dataclass
class Training:
    """A run under way: the parts that change with every step.

    Where several processes share it, each calls every method, and the first one reads and writes.
    """

    run: Run
    folder: Folder
    model: Classifier
    optimizer: torch.optim.Optimizer
    total: int  # steps in all
    per_epoch: int
    group: Group
    watch: Watch
    step: int = 0
    average: dict[str, Tensor] | None = None
    pending: list[dict[str, Tensor]] = field(default_factory=list)  # terms of steps that are not logged yet
    best: dict[str, Any] | None = None
    events: Events | None = None
    saved_at: float = field(default_factory=time.monotonic)
    saved_step: int = 0
    passes: Passes | None = None  # of a step: this process counts those of its first

    @property
    def ends_epoch(self) -> bool:
        """Whether the last step made was an epoch's last, or the run's."""
        return self.step % self.per_epoch == 0 or self.step == self.total

    def kept(self) -> str:
        """What is there to go on from, in a sentence without its full stop."""
        kept, path = self.group.by_first(self.folder.last_step), self.folder.path
        return f"The checkpoint of step {kept} is kept in {path}" if kept else f"No checkpoint had been made in {path}"

    def log(self, kind: str, content: dict[str, Any]) -> None:
        """A row of metrics.jsonl."""
        row = {"kind": kind, "step": self.step, "epoch": round(self.step / self.per_epoch, 4), **content}
        self.group.by_first(lambda: self.folder.log(row))
        if self.events is not None and self.group.is_first:
            self.events.add(row)
        self.watch.row(row)

    def log_terms(self) -> None:
        """A row with the means of the terms of the steps since the last one. Raises: FailedError if one is not finite."""
        rows = self._finite_terms()
        if not rows:
            return
        mean = {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
        self.log("train", {"terms": mean, "loss": sum(mean.values()), "lr": self.optimizer.param_groups[0]["lr"]})
        self.pending = []

    def _finite_terms(self) -> list[dict[str, float]]:
        """The terms not yet logged, as numbers: where the host waits for the device."""
        rows = [{name: float(value) for name, value in terms.items()} for terms in self.pending]
        first = self.step - len(rows) + 1
        for step, row in enumerate(rows, first):
            if not all(map(math.isfinite, row.values())):
                terms = ", ".join(f"{name} = {value:g}" for name, value in row.items())
                raise self._diverged(f"The loss is not finite at step {step}: {terms}")
        return rows

    def refuse_damaged_weights(self) -> None:
        """Raises FailedError if a weight is not finite, which the last update can bring about after a finite loss."""
        self._finite_terms()
        for name, value in self.model.state_dict().items():
            if not bool(value.isfinite().all()):
                raise self._diverged(f"The weights are not finite after step {self.step}, in {name}")

    def _diverged(self, what: str) -> FailedError:
        return FailedError(
            f"{what}. {self.kept()}. A smaller learning rate or gradient clipping (--optimizer.clip 1) usually helps."
        )

    def save(self) -> None:
        """A checkpoint, and what the steps since the last one cost."""
        pending = self._finite_terms()
        weights, optimizer = self.model.state_dict(), self.optimizer.state_dict()
        point = Checkpoint(self.step, weights, optimizer, self.average, pending, self.best)
        self.group.by_first(lambda: self.folder.commit(point))
        self._log_costs()

    def _log_costs(self) -> None:
        """Seconds, with validation and saving, and passes of single images, without these."""
        now, passes = time.monotonic(), self.passes
        images = (self.step - self.saved_step) * self.run.batch
        row = {"from": self.saved_step, "step": self.step, "seconds": round(now - self.saved_at, 3)}
        if passes is not None:
            row |= {"forwards": round(images * passes.forwards), "backwards": round(images * passes.backwards)}
        self.group.by_first(lambda: self.folder.spent(row))
        self.saved_at, self.saved_step = now, self.step

    def resume(self) -> None:
        """Go on from the folder's newest whole checkpoint, where it has one."""
        first, folder, note = self.group.by_first, self.folder, self.watch.note
        if first(lambda: folder.trained() == self.total and folder.last_step() is None):
            self.step = self.total  # its user made room: what it was trained for is there
            note(f"{folder.path} holds this run. It is complete; its checkpoints are gone.")
            return
        point = first(folder.newest)
        if point is None:
            if folder.checkpoints.is_dir():  # one had been made, or begun
                note(f"{folder.path} holds this run, but no whole checkpoint. Starting again from step 0.")
            return
        if point.step > self.total:
            raise UsageError(f"{folder.path} is at step {point.step}, beyond this run's {self.total}.")
        self._take(point)
        finished = (
            "It is complete." if point.step == self.total else f"Going on from step {point.step} of {self.total}."
        )
        damaged = folder.damaged_after(point.step)
        passed = f" The checkpoint of step {damaged[-1]} is damaged and passed over." if damaged else ""
        note(f"{folder.path} holds this run.{passed} {finished}")

    def _take(self, point: Checkpoint) -> None:
        self.model.load_state_dict(point.weights)
        self.optimizer.load_state_dict(point.optimizer)
        device = next(self.model.parameters()).device
        if self.average is not None and point.average is not None:
            self.average = {name: value.to(device) for name, value in point.average.items()}
        self.pending = [{name: torch.tensor(value) for name, value in row.items()} for row in point.pending]
        self.step, self.best = point.step, point.best
        self.saved_step = point.step
