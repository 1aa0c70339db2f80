"""hardy evaluate: accuracy of a run or weights file, clean and under attack."""

import dataclasses
import json
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from hardy.attacks.attack import Attack
from hardy.attacks.autoattack import AutoAttack
from hardy.attacks.balls import Norm, fraction, in_norm
from hardy.attacks.names import in_balls
from hardy.cli.checks import new_file, writable
from hardy.cli.console import both_forms, err, measurement_row, out, percent, progress, table
from hardy.cli.flags import number, parse, swap
from hardy.cli.subject import USUAL, Flags, check_model_wanted, subject
from hardy.data.split import Split
from hardy.describe import counted, require
from hardy.errors import FailedError, StoppedError, UsageError
from hardy.evaluation.accuracy import adversarial_file, evaluate
from hardy.evaluation.checks import check_attack
from hardy.evaluation.stream import Judge
from hardy.files import write_text
from hardy.models.classifier import Classifier
from hardy.parallel import this_group
from hardy.results import Measurement, append
from hardy.training.precision import Precision, prepare

Store = Callable[[Path, list[Measurement]], None]  # adds rows to a results file

_HEADS = ("", "accuracy %", "images", "eps", "judge", "time", "forwards", "backwards")


@dataclass(frozen=True)
class Options(Flags):
    """Accuracy of a network, clean and under attack, each number with its 95 % interval (of test sampling).

    Weights that do not say what they belong to: --model preact_resnet_18 --data cifar10 (names: `hardy list`). Settings of
    these are flags too, once they are named: --model preact_resnet_18 --model.width 16.
    """

    source: Annotated[
        Path,
        tyro.conf.Positional,
        tyro.conf.arg(
            metavar="RUN|WEIGHTS|NAME",
            help="a run's folder, a weights file, a published network, or module:function that makes a trained network",
        ),
    ]
    attacks: str = "clean,fgsm,pgd-20,cw-20"  # names with commas between; `hardy list attacks` has them all
    n: int = 1000  # test images, the first ones; at most all of them
    n_black_box: int = 100  # test images for NATTACK, which asks the network some 60000 times for each
    eps: str = ""  # radii in [0, 1] pixels, commas between; left out, the run's in training, else 8/255 (L2: 0.5)
    norm: Norm = "linf"  # the distance that the radii bound
    craft_on: tuple[Path, ...] = ()  # networks that the attacks see; the first one named judges what they find
    judge: Judge = "last"  # an image is broken if misclassified at the last iterate, or at any
    seed: int = 0  # of the attacks' random numbers
    batch: int | None = None  # images attacked at once; left out, as many as memory holds; changes no number
    precision: Precision = "float32"  # while crafting; verdicts are always float32
    by_class: bool = False  # accuracy on each class, too
    outcomes: Path | None = None  # folder of each image's outcome, to go on from; a run has its own
    adversarial: Path | None = None  # folder for new files of adversarial images, float32
    json: Path | None = None  # write the rows to this file too; it must not exist yet

    def __post_init__(self) -> None:
        require(self.n >= 1, "n", self.n, "at least 1 image")
        require(self.n_black_box >= 1, "n-black-box", self.n_black_box, "at least 1 image")
        allowed = "in (0, 1], the pixels' units: 8/255, not 8" if self.norm == "linf" else "above 0"
        for eps in self.radii:
            require(0 < eps <= (1 if self.norm == "linf" else float("inf")), "eps", eps, allowed)
        require(bool(self.radii) or not self.eps.strip(), "eps", self.eps, "radii, as in 4/255,8/255")
        require(len(set(self.radii)) == len(self.radii), "eps", self.eps, "radii that differ")
        require(0 <= self.seed < 2**32, "seed", self.seed, "in [0, 2**32)")
        require(self.batch is None or self.batch >= 1, "batch", self.batch, "at least 1")
        if self.outcomes is not None and self.adversarial is not None:
            raise UsageError(
                "--outcomes and --adversarial are both given; images whose outcome is known are not attacked again, and "
                "leave no adversarial image: take one of the two."
            )

    @property
    def names(self) -> list[str]:
        """The names of the attacks asked for."""
        return [name for name in map(str.strip, self.attacks.split(",")) if name]

    @property
    def radii(self) -> tuple[float, ...]:
        """The radii asked for."""
        return tuple(map(number, filter(None, map(str.strip, self.eps.split(",")))))

    def images(self, attack: Attack | None) -> int:
        """How many test images this attack gets."""
        return self.n if attack is None or attack.copies == 1 else min(self.n, self.n_black_box)


def main(args: list[str]) -> None:
    """Run `hardy evaluate RUN|WEIGHTS|NAME [options]`."""
    options = _options(args)
    told = options.told
    with this_group().one_first():
        it = subject(options.source, told)
        others = [subject(path, told, it.test) for path in options.craft_on]
    check_model_wanted(options, options.source, it, *others)
    trained, usual = it.eps if options.norm == "linf" else None, USUAL[options.norm]
    balls = [in_norm(options.norm, eps) for eps in options.radii or (trained or usual,)]
    attacks = dict(pair for name in options.names for pair in in_balls(name, balls))
    _check_new(options, attacks)
    model, *crafted_on = (prepare(s.model, told.device, options.precision) for s in (it, *others))
    for name, attack in attacks.items():
        if attack is not None:
            check_attack(name, attack, crafted_on or [model], it.test)
    about = {**it.about, "precision": options.precision}
    if others:
        about["crafted on"] = [other.about["weights sha256"] for other in others]
    attacked = any(attack is not None for attack in attacks.values())
    if attacked and not options.radii and trained is None:
        err.print(f"No radius was given, nor is one known from training: {fraction(usual)} is taken.")
    eps = f"; eps {', '.join(both_forms(ball.eps) for ball in balls)} ({type(balls[0]).__name__})" if attacked else ""
    err.print(f"{it.title}; {it.test.origin}{eps}")
    folder = options.source if options.source.is_dir() else None
    measuring = _Measuring(
        options, about, it.run, _outcomes(options, folder), crafted_on, folder and folder / "results.jsonl"
    )
    with storing() as store:
        try:
            rows = measuring.rows(model, it.test, attacks, store)
        except KeyboardInterrupt as stop:
            raise StoppedError(measuring.stopped, signal.SIGINT) from stop
        _numbers(rows, by_class=options.by_class)
        out.print(f"\n{it.title}; {it.test.origin}")
        if others:
            out.print(f"attacks crafted on {', '.join(other.title for other in others)}")
        for name, attack in attacks.items():
            if attack is not None:
                out.print(f"{name}: {attack.summary}")
        for row in rows:
            _details(row)
        if any(attacks.values()) and not any(isinstance(attack, AutoAttack) for attack in attacks.values()):
            out.print("These are upper bounds of robust accuracy; --attacks autoattack gives the number to quote.")
        if options.json is not None and this_group().is_first:
            write_text(options.json, json.dumps([dataclasses.asdict(row) for row in rows], indent=1) + "\n")


def _options(args: list[str]) -> Options:
    """What the flags say, as far as it can be checked before anything is read."""
    default, left = swap(Options(tyro.MISSING), args)
    options = parse(Options, left, "hardy evaluate", default)
    if "--craft-on" in args and not options.craft_on:  # its only value was taken for the first argument
        raise UsageError(
            f"--craft-on names no network, or the one to be judged is missing beside {options.source}: "
            "hardy evaluate JUDGED --craft-on OTHER."
        )
    require(bool(options.names), "attacks", options.attacks, "names with commas between, as in clean,pgd-20")
    for name in options.names:
        in_balls(name, [in_norm(options.norm, eps) for eps in options.radii or (USUAL[options.norm],)])
    _check_places(options)
    return options


def _check_places(options: Options) -> None:
    """Raises UsageError where a file or folder that is to be written cannot be, before anything is read."""
    if options.json is not None:
        new_file(options.json, "--json")
    for folder, flag in ((options.outcomes, "--outcomes"), (options.adversarial, "--adversarial")):
        if folder is not None:
            writable(folder, flag)


def _check_new(options: Options, attacks: Mapping[str, Attack | None]) -> None:
    """Raises UsageError where adversarial images are already, before hours go into new ones."""
    for name, attack in attacks.items():
        if options.adversarial is not None and attack is not None:
            new_file(adversarial_file(options.adversarial, name), "--adversarial", "a folder for new files")


def _outcomes(options: Options, folder: Path | None) -> Path | None:
    """Where each image's outcome is written; a run's folder that cannot be written stops no measurement."""
    if folder is None or options.outcomes is not None or options.adversarial is not None:
        return options.outcomes
    try:
        writable(folder / "outcomes", "--outcomes")
    except UsageError as error:
        err.print(f"No outcomes are kept: {error}")
        return None
    return folder / "outcomes"


@dataclass(frozen=True)
class _Measuring:
    """What all attacks of one command share."""

    options: Options
    about: Mapping[str, Any]
    run: str
    outcomes: Path | None
    craft_on: list[Classifier]
    results: Path | None

    @property
    def stopped(self) -> str:
        """What to say when the user stops it."""
        if self.outcomes is not None:
            return f"Stopped; the same command goes on, the images decided so far are in {self.outcomes}."
        if self.options.adversarial is not None:
            return "Stopped; --adversarial cannot go on where it was: what has a file is done, leave its name out of --attacks."
        return (
            "Stopped, and nothing of the attack under way is kept; with --outcomes FOLDER the same command could go on."
        )

    def rows(
        self, model: Classifier, test: Split, attacks: Mapping[str, Attack | None], store: Store
    ) -> list[Measurement]:
        """The rows of all attacks, with a progress display; NATTACK on fewer images.

        Each row is said, and added to the file of results, as soon as it is measured.
        """
        rows: list[Measurement] = []
        on = next(model.parameters()).device
        with progress() as display:
            for name, attack in attacks.items():
                task = display.add_task(name, total=None, note="")

                def show(_: str, decided: int, total: int, robust: int, task: Any = task) -> None:
                    display.update(task, completed=decided, total=total, note=f"images, {robust} robust so far")

                rows += evaluate(
                    model, test.take(slice(self.options.images(attack))).to(on), {name: attack},
                    judge=self.options.judge, seed=self.options.seed, batch=self.options.batch,
                    craft_on=self.craft_on or None, run=self.run, settings=self.about, by_class=self.options.by_class,
                    outcomes=self.outcomes, adversarial=self.options.adversarial, progress=show,
                )  # fmt: skip
                display.remove_task(task)
                err.print(f"{name}: {measurement_row(rows[-1])[1]} %, {rows[-1].seconds:.0f} s")
                if self.results is not None and this_group().is_first:
                    store(self.results, rows[-1:])
        return rows


def _numbers(rows: list[Measurement], *, by_class: bool) -> None:
    """The table of all rows, and that of the classes."""
    table(None, _HEADS, ((*measurement_row(row), f"{row.forwards:,}", f"{row.backwards:,}") for row in rows))
    if by_class:
        out.print("\nAccuracy on each class, %")
        table(None, ("", "images", *(row.what.removeprefix("accuracy under ") for row in rows)), _by_class(rows))


def _details(row: Measurement) -> None:
    """What a row tells beside its number."""
    if after := row.settings.get("correct after"):
        out.print(
            f"{row.what}, after each part: " + ", ".join(f"{part} {percent(k / row.n)} %" for part, k in after.items())
        )
    if illegal := row.settings.get("illegal"):
        err.print(
            f"{row.what}: the attack claimed {counted(illegal, 'success')} outside its ball or [0, 1]; these do not count."
        )
    if differ := row.settings.get("another verdict when read again"):
        err.print(
            f"{row.what}: {counted(differ, 'image')} got another verdict when the file was read again, on the very boundary."
        )


def _by_class(rows: list[Measurement]) -> Iterator[tuple[str, ...]]:
    """A line for each class: its name, its images (of the most that a row has), and what each row says of it."""
    for name in rows[0].settings["by class"]:
        cells = [row.settings["by class"][name] for row in rows]
        yield name, str(max(n for _, n in cells)), *(percent(right / n) if n else "-" for right, n in cells)


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
