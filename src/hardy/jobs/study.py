"""Study: an analysis of one trained run as settings, and the job that makes it once and keeps its rows beside the weights."""

import contextlib
import json
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hardy.data.split import Split
from hardy.describe import describe, fingerprint, rebuild, settings
from hardy.errors import UsageError
from hardy.evaluation.path import Tell
from hardy.files import write_text
from hardy.jobs.job import Job, Place, Train, marked
from hardy.jobs.measure import test_images
from hardy.models.checkpoints import Which, load, read_weights
from hardy.models.classifier import Classifier
from hardy.results import Measurement, of_json
from hardy.training.precision import prepare
from hardy.training.progress import Watch
from hardy.training.run import Run
from hardy.training.stream import TrainingImages


@dataclass(frozen=True)
class Trained:
    """A trained run as a study sees it: the weights asked for, in float32, on the place's device. tell: progress."""

    train: Train
    which: Which
    place: Place
    tell: Tell

    @property
    def name(self) -> str:
        """What rows call it."""
        return self.train.run.name

    @property
    def about(self) -> dict[str, Any]:
        """What rows say of its weights."""
        return {**self.train.about(self.which), "precision": "float32"}

    def network(self, run: Run | None = None) -> Classifier:
        """The network, or that of another run, which must be among the study's sources."""
        train = self.train if run is None else Train(run, self.train.into)
        return prepare(load(train.weights_of(self.which)), self.place.on, "float32")

    def test(self, images: int) -> Split:
        """The first test images of its data."""
        weights = self.train.weights_of(self.which)
        _, header = read_weights(weights)
        whole = test_images(header, weights, self.place.data_root, offline=self.place.offline)
        return whole.take(slice(images)).to(self.place.on)

    def learnt(self) -> Split:
        """The images that it was trained on."""
        images = TrainingImages.load(self.train.run, self.place.data_root, offline=self.place.offline)
        return images.learnt.to(self.place.on)


class Study(ABC):
    """What is to be found out about one trained run. Concrete ones are settings, in `studies`."""

    @property
    def sources(self) -> tuple[Run, ...]:
        """Other runs whose networks it needs."""
        return ()

    @property
    @abstractmethod
    def passes(self) -> tuple[float, float]:
        """(forward, backward) passes of single images, at most."""

    @abstractmethod
    def rows(self, of: Trained) -> list[Measurement]:
        """All that is measured; each row's `what` is another."""


@settings
class Analyse(Job):
    """Make a study of weights of a trained run; those of other runs that it needs are of the same kind."""

    train: Train
    study: Study
    which: Which = "last"

    @property
    def _start(self) -> str:
        return f"{type(self.study).__name__.lower()}-{marked(self.which)}"

    @property
    def file(self) -> Path:
        """Where the rows are, or will be."""
        return self.train.folder / f"{self._start}{fingerprint(self.study)[:6]}.json"

    @property
    def name(self) -> str:
        return f"analyse-{self.train.folder.name}-{self.file.stem}"

    @property
    def needs(self) -> tuple[Train, ...]:
        return self.train, *(Train(run, self.train.into) for run in self.study.sources)

    @property
    def passes(self) -> tuple[float, float]:
        return self.study.passes

    def result(self) -> list[Measurement] | None:
        """The rows of these weights, where they are there already; of an older version, if it had the same settings."""
        if not all(train.done() and train.about(self.which) for train in self.needs):
            return None
        others = sorted(self.train.folder.glob(f"{self._start}*.json"))
        return next((rows for file in (self.file, *others) if (rows := self._read(file)) is not None), None)

    def _read(self, file: Path) -> list[Measurement] | None:
        with contextlib.suppress(OSError, TypeError, KeyError, ValueError, UsageError):
            said = json.loads(file.read_text(encoding="utf-8"))
            same = rebuild(said["study"], Study) == self.study  # type: ignore[type-abstract]
            if same and said["weights sha256"] == self._digests:
                return [of_json(row) for row in said["rows"]]
        return None

    @property
    def _digests(self) -> list[str]:
        return [train.about(self.which)["weights sha256"] for train in self.needs]

    def done(self) -> bool:
        return self.result() is not None

    def execute(self, place: Place, watch: Watch) -> None:
        def tell(done: int, total: int) -> None:
            watch.note(f"{self.file.stem}: {done} of {total}")

        rows = self.study.rows(Trained(self.train, self.which, place, tell))
        told = {"weights sha256": self._digests, "study": describe(self.study), "rows": [asdict(row) for row in rows]}
        write_text(self.file, json.dumps(told, indent=1) + "\n")
