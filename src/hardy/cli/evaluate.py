"""hardy evaluate: accuracy of a run or weights file, clean and under attack."""

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from hardy.attacks.attack import Attack
from hardy.attacks.balls import Ball, Linf
from hardy.attacks.names import named
from hardy.cli.checks import device, new_file
from hardy.cli.console import both_forms, err, measurement_row, out, progress, table
from hardy.cli.flags import admit, parse
from hardy.data.split import Split
from hardy.describe import rebuild, require
from hardy.errors import FailedError, UsageError
from hardy.evaluation.accuracy import Judge, evaluate
from hardy.files import write_text
from hardy.jobs.measure import about_weights, test_images
from hardy.models.checkpoints import Which, find_weights, load, read_weights
from hardy.models.classifier import Classifier
from hardy.results import Measurement, append
from hardy.training.precision import Precision, prepare

Store = Callable[[Path, list[Measurement]], None]  # adds rows to a results file

_HEADS = ("", "accuracy %", "images", "eps", "judge", "time")


@dataclass(frozen=True)
class Options:
    """Accuracy of a network, clean and under attack, each number with its 95 % interval (of test sampling)."""

    source: Annotated[
        Path,
        tyro.conf.Positional,
        tyro.conf.arg(
            metavar="RUN|WEIGHTS|NAME", help="a run's folder, a weights file that hardy wrote, or a published network"
        ),
    ]
    attacks: str = "clean,fgsm,pgd-20,cw-20"  # names with commas between; `hardy list attacks` has them all
    n: int = 1000  # test images, the first ones; at most all of them
    n_black_box: int = 100  # test images for black-box attacks, which ask the network some 60000 times for each
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
        require(0 <= self.seed < 2**32, "seed", self.seed, "in [0, 2**32)")
        require(self.batch >= 1, "batch", self.batch, "at least 1")

    def images(self, attack: Attack | None) -> int:
        """How many test images this attack gets."""
        return self.n if attack is None or attack.copies == 1 else min(self.n, self.n_black_box)


def main(args: list[str]) -> None:
    """Run `hardy evaluate RUN|WEIGHTS [options]`."""
    options = parse(Options, args, "hardy evaluate")
    if options.json is not None:
        new_file(options.json, "--json")
    if options.model is not None:
        admit(options.model)
    file, which = find_weights(options.source, options.weights)
    _, header = read_weights(file)
    known = options.eps or training_eps(header, file)
    eps = known or 8 / 255
    attacks = {name: named(name, eps) for name in map(str.strip, options.attacks.split(",")) if name}
    require(bool(attacks), "attacks", options.attacks, "names with commas between, as in clean,pgd-20")
    model = prepare(load(file), device(options.device), options.precision)
    test = test_images(header, file, options.data_root, offline=options.offline)
    about = {**about_weights(file, which, header), "precision": options.precision}
    held = f"{which} weights of {options.source}" if which else str(file)
    attacked = any(attack is not None for attack in attacks.values())
    if attacked and known is None:
        err.print("No radius was given, nor is one known from training against an Linf ball: 8/255 is taken.")
    err.print(f"{held}; {test.origin}{f'; eps {both_forms(eps)}' if attacked else ''}")
    results = options.source / "results.jsonl" if options.source.is_dir() else None
    with storing() as store:
        rows = measure(model, test, attacks, options, str(header.get("run", file.stem)), about, results, store)
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
    store: Store,
) -> list[Measurement]:
    """The rows of all attacks, with a progress display; black-box attacks on fewer images.

    Each row is said, and added to the file `results`, as soon as it is measured.
    """
    rows: list[Measurement] = []
    on = next(model.parameters()).device
    with progress() as display:
        for name, attack in attacks.items():
            n = options.images(attack)
            task = display.add_task(name, total=None, note="")

            def show(_: str, decided: int, total: int, robust: int, task: Any = task) -> None:
                display.update(task, completed=decided, total=total, note=f"{robust} robust")

            rows += evaluate(
                model, test.take(slice(n)).to(on), {name: attack}, judge=options.judge, seed=options.seed,
                batch=options.batch, run=run, settings=about, progress=show,
            )  # fmt: skip
            display.remove_task(task)
            err.print(f"{name}: {measurement_row(rows[-1])[1]} %, {rows[-1].seconds:.0f} s")
            if results is not None:
                store(results, rows[-1:])
    return rows


@contextmanager
def storing() -> Iterator[Store]:
    """Gives what adds rows to a results file. A file that cannot be written stops no measurement: it is told of at the end.

    Raises: FailedError, when all is done, if rows could not be stored.
    """
    failed: dict[str, int] = {}  # what went wrong -> rows that it cost

    def store(path: Path, rows: list[Measurement]) -> None:
        try:
            append(path, rows)
        except FailedError as error:
            failed[str(error)] = failed.get(str(error), 0) + len(rows)

    yield store
    if failed:
        said = (f"{error} Not stored there: {count} row{'s' * (count != 1)}." for error, count in failed.items())
        raise FailedError(" ".join(said))


def training_eps(header: Mapping[str, Any], file: Path) -> float | None:
    """The Linf radius that weights were trained with, by their header; None without an adversary, or where it does not say."""
    if header.get("ball") is None:
        return None
    try:
        ball = rebuild(header["ball"], Ball)  # type: ignore[type-abstract]
    except UsageError as error:
        raise UsageError(f"{file} does not say which ball its network was trained against: {error}") from error
    return ball.eps if isinstance(ball, Linf) else None
