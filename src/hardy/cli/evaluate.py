"""hardy evaluate: accuracy of a run or weights file, clean and under attack."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro

from hardy.attacks.attack import Attack
from hardy.attacks.balls import Linf
from hardy.attacks.names import named
from hardy.cli.console import both_forms, err, measurement_row, out, progress, table
from hardy.cli.flags import admit, parse
from hardy.data.dataset import Dataset
from hardy.data.split import Split
from hardy.describe import rebuild, require
from hardy.errors import UsageError
from hardy.evaluation.accuracy import Judge, evaluate
from hardy.files import digest, write_text
from hardy.models.checkpoints import Which, find_weights, load, read_weights
from hardy.models.classifier import Classifier
from hardy.results import Measurement, append
from hardy.training.precision import Precision, prepare
from hardy.training.record import read_run

_HEADS = ("", "accuracy %", "images", "eps", "judge", "time")


@dataclass(frozen=True)
class Options:
    """Accuracy of a network, clean and under attack, each number with its 95 % interval (of test sampling)."""

    source: Annotated[Path, tyro.conf.Positional]  # a run's folder, or a weights file that hardy wrote
    attacks: str = "clean,fgsm,pgd-20,cw-20"  # names with commas between; `hardy list attacks` has them all
    n: int = 1000  # test images, the first ones; at most all of them
    n_black_box: int = 100  # test images for black-box attacks, which show the network 60,020 images for each
    eps: float | None = None  # radius in [0, 1] pixels; where left out the run's own in training, or 8/255
    weights: Which | None = None  # of a run; where left out the best if it chose one on held-out images, else the last
    model: str | None = None  # module:function of one's own network, where the weights are of one
    judge: Judge = "last"  # an image is broken if misclassified at the last iterate, or at any
    seed: int = 0
    batch: int = 200  # images attacked at once; changes no number
    precision: Precision = "float32"  # while crafting; verdicts are always float32
    data_root: Path | None = None  # folder of the data set's files; else $HARDY_DATA, then the user's cache
    offline: bool = False  # open no connection
    device: str | None = None  # cpu, cuda, cuda:1; a GPU where there is one
    json: Path | None = None  # write the rows to this file too; it must not exist yet

    def __post_init__(self) -> None:
        require(self.n >= 1, "n", self.n, "at least 1 image")
        require(self.n_black_box >= 1, "n-black-box", self.n_black_box, "at least 1 image")
        require(self.eps is None or 0 < self.eps <= 1, "eps", self.eps, "in (0, 1], the pixels' units: 8/255, not 8")
        require(self.batch >= 1, "batch", self.batch, "at least 1")

    def images(self, attack: Attack | None) -> int:
        """How many test images this attack gets."""
        return self.n if attack is None or attack.copies == 1 else min(self.n, self.n_black_box)


def main(args: list[str]) -> None:
    """Run `hardy evaluate RUN|WEIGHTS [options]`."""
    options = parse(Options, args, "hardy evaluate")
    if options.json is not None and options.json.exists():
        raise UsageError(f"{options.json} exists already; --json names a new file, so that nothing is overwritten.")
    if options.model is not None:
        admit(options.model)
    file, which = find_weights(options.source, options.weights)
    _, header = read_weights(file)
    eps = options.eps or training_eps(options.source)
    if eps is None:
        eps = 8 / 255
        err.print("No radius was given, nor is one known from training against an Linf ball: 8/255 is taken.")
    attacks = {name: named(name, eps) for name in options.attacks.split(",") if name}
    require(bool(attacks), "attacks", options.attacks, "names with commas between, as in clean,pgd-20")
    model = ready(load(file), options.device, options.precision)
    test = test_images(header, file, options.data_root, offline=options.offline)
    about = {**about_weights(file, which), "precision": options.precision}
    held = f"{which} weights of {options.source}" if which else str(file)
    err.print(f"{held}; {test.origin}; eps {both_forms(eps)}")
    results = options.source / "results.jsonl" if options.source.is_dir() else None
    rows = measure(model, test, attacks, options, str(header.get("run", file.stem)), about, results)
    table(None, _HEADS, map(measurement_row, rows))
    out.print(f"\n{held}; {test.origin}")
    for name, attack in attacks.items():
        if attack is not None:
            out.print(f"{name}: {attack.summary}")
    if options.json is not None:
        write_text(options.json, json.dumps([dataclasses.asdict(row) for row in rows], indent=1) + "\n")


def measure(
    model: Classifier,
    test: Split,
    attacks: Mapping[str, Attack | None],
    options: Options,
    run: str,
    about: Mapping[str, Any],
    results: Path | None,
) -> list[Measurement]:
    """The rows of all attacks, with a progress display; black-box attacks on fewer images.

    Each row is added to the file `results` as soon as it is measured.
    """
    rows: list[Measurement] = []
    device = next(model.parameters()).device
    with progress() as display:
        for name, attack in attacks.items():
            n = options.images(attack)
            task = display.add_task(name, total=None, note="")

            def show(_: str, decided: int, total: int, robust: int, task: Any = task) -> None:
                display.update(task, completed=decided, total=total, note=f"{robust} robust")

            rows += evaluate(
                model, test.take(slice(n)).to(device), {name: attack}, judge=options.judge, seed=options.seed,
                batch=options.batch, run=run, settings=about, progress=show,
            )  # fmt: skip
            if results is not None:
                append(results, rows[-1:])
            display.remove_task(task)
            err.print(f"{name}: {measurement_row(rows[-1])[1]} %, {rows[-1].seconds:.0f} s")
    return rows


def test_images(header: Mapping[str, Any], file: Path, root: Path | None, *, offline: bool) -> Split:
    """The test images of the data that the weights in `file` were trained on."""
    if "data" not in header:
        raise UsageError(f"{file} does not say which data its network was trained on; weights that a run saved do.")
    return rebuild(header["data"], Dataset).load(root, offline=offline)[1]  # type: ignore[type-abstract]


def ready(model: Classifier, device: str | None, precision: Precision) -> Classifier:
    """The network on the device asked for, or on a GPU where there is one."""
    return prepare(model, torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu")), precision)


def about_weights(file: Path, which: Which | None) -> dict[str, Any]:
    """What a row says of the weights that were measured."""
    _, header = read_weights(file)
    return {
        "weights": which or "file",
        "weights sha256": digest(file),
        "network": header["model"],
        "step": header.get("step"),
    }


def training_eps(source: Path) -> float | None:
    """The Linf radius that a run trained with; None for a weights file or a run without an adversary."""
    if not (source.is_dir() and (source / "run.json").exists()):
        return None
    ball = read_run(source).objective.ball
    return ball.eps if isinstance(ball, Linf) else None
