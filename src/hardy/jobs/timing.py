"""Time: the job of timing a run's optimiser steps where it is done, for which nothing need be trained."""

import contextlib
import json
import statistics
from dataclasses import asdict
from pathlib import Path

from hardy.describe import fingerprint, require, settings
from hardy.files import write_text
from hardy.jobs.job import Job, Place
from hardy.results import Measurement, of_json
from hardy.training.estimate import hardware, timed_steps
from hardy.training.progress import Watch
from hardy.training.run import Run

MINUTES, FORWARDS, BACKWARDS = "minutes for 1,000 steps", "forward passes in a step", "backward passes in a step"
HARDWARE = "hardware"


@settings
class Time(Job):
    """Time steps of a run with whole batches of made-up images. steps: how many, after a first one that is not counted.

    into: the folder of the runs, in which `steps` has the files. Rows say under HARDWARE what they were timed on: on another
    machine it is not done again.
    """

    run: Run
    into: str
    steps: int = 5

    def __post_init__(self) -> None:
        require(self.steps >= 1, "steps", self.steps, "at least 1")

    @property
    def file(self) -> Path:
        """Where the rows are, or will be."""
        told = fingerprint((self.run, self.steps))
        return Path(self.into) / "steps" / f"{self.run.name}-seed{self.run.seed}-{told[:6]}.json"

    @property
    def name(self) -> str:
        return f"time-{self.file.stem}"

    def result(self) -> list[Measurement] | None:
        """Rows of MINUTES, the median of the steps, and of the batch's passes; None where they are not there yet."""
        with contextlib.suppress(OSError, TypeError, ValueError, KeyError):
            return [of_json(row) for row in json.loads(self.file.read_text(encoding="utf-8"))["rows"]]
        return None

    def done(self) -> bool:
        return self.result() is not None

    def execute(self, place: Place, watch: Watch) -> None:
        del watch
        seconds, passes = timed_steps(self.run, place.on, self.steps)
        about = {
            "steps": self.steps,
            "seconds of each": [round(value, 6) for value in seconds],
            HARDWARE: hardware(place.on),
        }
        forwards, backwards = (round(self.run.batch * self.steps * of) for of in (passes.forwards, passes.backwards))
        values = {
            MINUTES: (1000 * statistics.median(seconds) / 60, "minutes"),
            FORWARDS: (passes.forwards, "passes of the batch"),
            BACKWARDS: (passes.backwards, "passes of the batch"),
        }
        rows = [
            Measurement(
                self.run.name, what, value, unit, self.run.batch, None, None, about, sum(seconds), forwards, backwards,
                str(place.on),
            )
            for what, (value, unit) in values.items()
        ]  # fmt: skip
        write_text(self.file, json.dumps({"rows": [asdict(row) for row in rows]}, indent=1) + "\n")
