"""Diagnose: the job of finding signs of masked gradients in a trained run, kept in a file beside its weights."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from hardy.attacks.balls import Ball
from hardy.describe import fingerprint, settings
from hardy.evaluation.diagnosis import Plan, diagnose
from hardy.files import digest, write_text
from hardy.jobs.job import Job, Place, Train, marked
from hardy.jobs.measure import test_images
from hardy.models.checkpoints import Which, load, read_weights, surrogate_for
from hardy.training.precision import Precision, prepare
from hardy.training.progress import Watch


@settings
class Diagnose(Job):
    """Diagnose weights of a trained run, on the first test images. precision: while crafting."""

    train: Train
    ball: Ball
    plan: Plan
    precision: Precision = "float32"
    which: Which = "last"

    @property
    def file(self) -> Path:
        """Where the diagnosis is, or will be: what `hardy diagnose --json` writes, with the digest of the weights."""
        told = fingerprint((self.ball, self.plan, self.precision))
        return self.train.folder / f"diagnosis-{marked(self.which)}{told[:6]}.json"

    @property
    def name(self) -> str:
        return f"diagnose-{self.train.folder.name}-{self.file.stem.removeprefix('diagnosis-')}"

    @property
    def needs(self) -> tuple[Job, ...]:
        return (self.train,)

    @property
    def _weights(self) -> Path:
        return self.train.weights_of(self.which)

    def result(self) -> dict[str, Any] | None:
        """The diagnosis of these weights, where it is there already."""
        if not self.train.done() or not self.file.is_file():
            return None
        try:
            said = json.loads(self.file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return said if isinstance(said, dict) and said.get("weights sha256") == digest(self._weights) else None

    def done(self) -> bool:
        return self.result() is not None

    def execute(self, place: Place, watch: Watch) -> None:
        weights = self._weights
        _, header = read_weights(weights)
        test = test_images(header, weights, place.data_root, offline=place.offline).to(place.on)
        name = surrogate_for(test.shape, test.classes)
        surrogate = prepare(load(name), place.on, self.precision) if name else None
        network = prepare(load(weights), place.on, self.precision)

        def show(what: str, decided: int, total: int, robust: int) -> None:
            watch.note(f"{what}: {decided} of {total} images decided, {robust} robust so far")

        made = diagnose(
            network,
            test,
            ball=self.ball,
            surrogate=surrogate,
            plan=self.plan,
            run=self.train.run.name,
            settings={"precision": self.precision},
            progress=show,
        )
        told = {"weights sha256": digest(weights), "surrogate": name, **dataclasses.asdict(made)}
        write_text(self.file, json.dumps(told, indent=1) + "\n")
