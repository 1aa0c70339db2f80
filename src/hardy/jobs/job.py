"""Job: something to be done once; training a run, or measuring its weights."""

import contextlib
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from glob import escape
from pathlib import Path
from typing import Any

import torch

from hardy.attacks.attack import Attack
from hardy.attacks.informative import Coupled
from hardy.attacks.pgd import fgsm
from hardy.attacks.square import Square
from hardy.describe import fingerprint, settings
from hardy.errors import HardyError, UsageError
from hardy.jobs.measure import about_weights, known, measured
from hardy.models.checkpoints import Which, read_weights
from hardy.results import Measurement
from hardy.training.estimate import epochs_of
from hardy.training.loop import train
from hardy.training.precision import Precision, this_device
from hardy.training.progress import Watch
from hardy.training.record import read_id, read_run
from hardy.training.run import Run


@dataclass(frozen=True)
class Place:
    """Where jobs find data and a device; not part of what determines their results."""

    data_root: Path | None = None
    offline: bool = False
    device: str | None = None

    @property
    def on(self) -> torch.device:
        """The device asked for, or a GPU where there is one."""
        return this_device(self.device)


def _told(weights: Path, which: Which) -> tuple[dict[str, Any], dict[str, Any]]:
    """(header, what a row says) of a run's weights; both empty where there are none that can be read."""
    with contextlib.suppress(HardyError, OSError):
        state = weights.stat()
        return _read(weights, which, (state.st_mtime_ns, state.st_size, state.st_ino))
    return {}, {}


@lru_cache(maxsize=256)
def _read(weights: Path, which: Which, state: tuple[int, ...]) -> tuple[dict[str, Any], dict[str, Any]]:
    del state  # it tells when to read anew: a queue asks often
    _, header = read_weights(weights)
    return header, about_weights(weights, which, header)


def _holds(path: Path, run: Run) -> bool:
    """Whether a folder holds a run of these settings, as this version reads them."""
    with contextlib.suppress(UsageError):
        return read_run(path) == run
    return False


def passes_of(attack: Attack | None, n: int) -> tuple[float, float]:
    """(forward, backward) passes of an attack on n images, if none of them is broken early; without an attack n forwards."""
    if attack is None:
        return n, 0
    if isinstance(attack, Coupled):
        return n * attack.steps, n * attack.steps
    forwards = sum(stage.iterations * stage.copies for stage in attack.stages)
    backwards = sum(stage.iterations for stage in attack.stages if stage.copies == 1 and not isinstance(stage, Square))
    return n * forwards, n * backwards


def marked(which: Which) -> str:
    """What stands in names of jobs and files that are of these weights: nothing for the last ones."""
    return "" if which == "last" else f"{which}-"


class Job(ABC):
    """Concrete ones are settings, so that another process can be told of them."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What it is called; unique among the jobs of one queue, and fit for a file's name."""

    @property
    def needs(self) -> "tuple[Job, ...]":
        """What must be done before."""
        return ()

    @property
    def passes(self) -> tuple[float, float] | None:
        """(forward, backward) passes of single images that it makes, beside optimiser steps, at most.

        None where they are not counted before.
        """
        return None

    @abstractmethod
    def done(self) -> bool:
        """Whether its result is there already."""

    @abstractmethod
    def execute(self, place: Place, watch: Watch) -> None:
        """Do it, or go on with it."""


@settings
class Train(Job):
    """Train a run into the folder <into>/<run's name>-seed<seed>-<its id>, the same for every table that needs the run."""

    run: Run
    into: str

    @property
    def folder(self) -> Path:
        """Where the run is, or will be: one that began when its settings had another id is found by the settings."""
        into, name = Path(self.into), f"{self.run.name}-seed{self.run.seed}-"
        now = into / f"{name}{fingerprint(self.run)[:6]}"
        if now.exists():
            return now
        return next((path for path in sorted(into.glob(f"{escape(name)}*")) if _holds(path, self.run)), now)

    @property
    def name(self) -> str:
        return f"train-{self.folder.name}"

    @property
    def weights(self) -> Path:
        """The last weights."""
        return self.weights_of("last")

    def weights_of(self, which: Which) -> Path:
        """The last weights, or those that are best on the images that the run holds out."""
        return self.folder / f"{which}.safetensors"

    @property
    def passes(self) -> tuple[float, float]:
        """Validation's: clean, under one step, and under the attack that chooses the best weights; each is judged by a pass."""
        by = self.run.validation
        if not by.images:
            return 0, 0
        times = math.ceil((epochs_of(self.run) or 0) / by.every)
        each = [passes_of(attack, by.images) for attack in (None, fgsm(by.attack.ball), by.attack)]
        forwards, backwards = (sum(of) for of in zip(*each, strict=True))
        return times * (forwards + 2 * by.images), times * backwards

    def about(self, which: Which) -> dict[str, Any]:
        """What rows say of these weights; empty where there are none that can be read."""
        return _told(self.weights_of(which), which)[1]

    def done(self) -> bool:
        header, _ = _told(self.weights, "last")
        with contextlib.suppress(UsageError):
            return header.get("id") == read_id(self.folder) and header.get("step") == header.get("steps")
        return False

    def execute(self, place: Place, watch: Watch) -> None:
        train(self.run, self.folder, data_root=place.data_root, offline=place.offline, device=place.on, watch=watch)


@settings
class Evaluate(Job):
    """Measure weights of a trained run under one attack, on the first n test images.

    attack: None is none. title: what rows and logs call it. precision: while crafting; verdicts are float32.
    """

    train: Train
    title: str
    attack: Attack | None
    n: int
    precision: Precision = "float32"
    which: Which = "last"

    @property
    def name(self) -> str:
        return f"evaluate-{self.train.folder.name}-{marked(self.which)}{self.title}"

    @property
    def needs(self) -> tuple[Job, ...]:
        return (self.train,)

    @property
    def passes(self) -> tuple[float, float]:
        forwards, backwards = passes_of(self.attack, self.n)
        judged = 0 if self.attack is None else 2 * self.n  # unperturbed, and at the end
        return forwards + judged, backwards

    def result(self) -> Measurement | None:
        """The measured row, where it is there already; weights whose training has not come to its end have none."""
        about = self.train.about(self.which)
        if not about or not self.train.done():
            return None
        return known(self.train.folder / "results.jsonl", {**about, "precision": self.precision}, self.attack, self.n)

    def done(self) -> bool:
        return self.result() is not None

    def execute(self, place: Place, watch: Watch) -> None:
        def show(name: str, decided: int, total: int, robust: int) -> None:
            watch.note(f"{name}: {decided} of {total} images decided, {robust} robust so far")

        measured(
            self.train.folder, self.title, self.attack, self.n, which=self.which, precision=self.precision,
            data_root=place.data_root, offline=place.offline, device=place.on, progress=show,
        )  # fmt: skip
