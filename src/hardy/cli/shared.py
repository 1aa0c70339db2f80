"""What exports share: their flags, the network measured on all its test images, and the proof that what was written is it."""

import re
import runpy
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro
from torch import Tensor, nn

from hardy.attacks.balls import Norm
from hardy.cli.console import err, progress
from hardy.cli.known import Known
from hardy.cli.subject import Flags, Subject
from hardy.describe import rebuild, require
from hardy.errors import UsageError
from hardy.evaluation.readback import check_same, logits
from hardy.evaluation.rows import Costs, Row, determining
from hardy.files import write_text
from hardy.models.classifier import Architecture
from hardy.models.definition import definition
from hardy.report.claim import Paper
from hardy.results import Measurement
from hardy.types import Logits

_LAYERS = "network.py"
_OF_ROBUSTBENCH = ("norm", "eps", "reported", "footnote", "additional_data", "forward_passes", "checkpoint")


@dataclass(frozen=True)
class Options(Flags):
    """A network in a new folder, to share it; it is read back, and must give the same logits on every test image.

    robustbench: weights under its names, its model_info entry, the text of the claim. huggingface: safetensors, config.json, a
    model card, and the layers as a file for PyTorch alone. Numbers are those that were measured of these very weights; what
    only you know is a flag, or is left open and said.
    """

    source: Annotated[
        Path,
        tyro.conf.Positional,
        tyro.conf.arg(
            metavar="RUN|WEIGHTS|NAME",
            help="a run's folder, a weights file, a published network, or module:function that makes a trained network",
        ),
    ]
    to: Literal["robustbench", "huggingface"]  # where it is to be shared
    out: Path  # the new folder
    results: tuple[Path, ...] = ()  # more files of evaluate --json and diagnose --json, or folders, with numbers of it
    name: str = ""  # of the model, as in Rice2020Overfitting; left out, the run's
    title: str = ""  # of the paper
    link: str = ""  # to the paper
    authors: str = ""  # of the paper, commas between
    venue: str = ""  # of the paper, as in ICLR 2020
    license: str = ""  # of the weights, as in mit
    norm: Norm = "linf"  # robustbench: the distance that the threat model bounds
    eps: float | None = None  # robustbench: its radius; left out, the run's in training, else 8/255 (L2: 0.5)
    reported: float | None = None  # robustbench: robust accuracy in the paper, in %
    footnote: str = ""  # robustbench: what the leaderboard shows below the title
    additional_data: bool | None = None  # robustbench: whether real images beyond the data set were trained on
    forward_passes: int | None = None  # robustbench: that one prediction takes; 1 for the library's own networks
    checkpoint: str = ""  # robustbench: address of the weights

    def __post_init__(self) -> None:
        require(not self.name or re.fullmatch(r"[\w.+-]*\w", self.name) is not None, "name", self.name, "a file's name")
        if self.eps is not None:
            allowed = "in (0, 1], the pixels' units: 8/255, not 8" if self.norm == "linf" else "above 0"
            require(0 < self.eps <= (1 if self.norm == "linf" else float("inf")), "eps", self.eps, allowed)
        require(self.reported is None or 0 <= self.reported <= 100, "reported", self.reported, "in [0, 100], in %")
        require(
            self.forward_passes is None or self.forward_passes >= 1, "forward-passes", self.forward_passes, "at least 1"
        )
        given = [f.name for f in fields(self) if f.name in _OF_ROBUSTBENCH and getattr(self, f.name) != f.default]
        if given and self.to == "huggingface":
            raise UsageError(
                f"--{given[0].replace('_', '-')} is for --to robustbench; a model card has no place for it."
            )

    @property
    def paper(self) -> Paper:
        """What they say of it."""
        return Paper(self.title, self.link, self.authors, self.venue)


@dataclass(frozen=True)
class Shared:
    """The network that is shared. measured: its logits on all test images; clean: their accuracy."""

    options: Options
    it: Subject
    known: Known
    architecture: Architecture
    measured: Logits
    clean: Measurement

    @property
    def name(self) -> str:
        """Of the model, fit to be a file's."""
        return self.options.name or re.sub(r"[^\w.+-]+", "-", self.it.run)

    @property
    def classes(self) -> int:
        """How many."""
        return len(self.it.test.classes)

    def verify(self, model: nn.Module, file: str) -> None:
        """Raises FailedError unless the network that was read from the file gives the same logits."""
        on = self.it.test.labels.device
        check_same(self.measured, _seen(model.to(on), self.it, f"{file}, read back"), self.it.test, file)

    def layers(self, folder: Path, weights: Mapping[str, Tensor]) -> None:
        """Write the network's layers for PyTorch alone, where they are the library's, and see that they take the weights."""
        text = definition(self.architecture, self.classes, self.it.test.shape[0])
        if text is not None:
            write_text(folder / _LAYERS, text)
            model = runpy.run_path(str(folder / _LAYERS))["network"]()
            model.load_state_dict(weights)
            self.verify(model, _LAYERS)


def shared(options: Options, it: Subject, about: Known) -> Shared:
    """The network measured on all its test images, as hardy evaluate does it without an attack."""
    architecture = rebuild(it.about["network"], Architecture)  # type: ignore[type-abstract]
    if it.about.get("normalisation") == "without":
        architecture = replace(architecture, mean=(), deviation=())  # type: ignore[type-var]
    started = time.perf_counter()
    measured = _seen(it.model, it, "clean accuracy")
    correct = measured.argmax(1) == it.test.labels.cpu()
    spent = Costs(time.perf_counter() - started, len(correct), 0)
    settings = determining(it.about, it.test, None, "last", 0)
    clean = Row("clean accuracy", it.run, settings, spent).share(correct)
    for row in about.rows:
        if row.what == clean.what and round(row.value * row.n) != int(correct[: row.n].sum()):
            now, then = (f"{100 * value:.2f}" for value in (float(correct[: row.n].double().mean()), row.value))
            err.print(
                f"On the first {row.n} images clean accuracy is {now} %; {then} % was measured before, on {row.device}."
            )
    others = tuple(row for row in about.rows if row.what != clean.what)
    return Shared(options, it, replace(about, rows=others), architecture, measured, clean)


def _seen(model: nn.Module, it: Subject, what: str) -> Logits:
    with progress() as display:
        task = display.add_task(what, total=len(it.test), note="images")
        return logits(model, it.test, lambda done: display.update(task, completed=done))
