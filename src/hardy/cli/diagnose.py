"""hardy diagnose: one verdict on whether a network is robust or its gradient masked, with its evidence."""

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from hardy.attacks.balls import Ball, Linf, Norm, fraction, in_norm
from hardy.cli.checks import new_file
from hardy.cli.console import both_forms, err, out, percent, progress, table
from hardy.cli.flags import number, parse, swap
from hardy.cli.subject import USUAL, Flags, Subject, Told, check_model_wanted, subject
from hardy.data.split import Split
from hardy.describe import counted, require
from hardy.errors import UsageError
from hardy.evaluation.diagnosis import Diagnosis, diagnose
from hardy.evaluation.sign_kinds import GRADIENT, Result, Sign
from hardy.files import digest, write_text
from hardy.models.checkpoints import surrogate_for
from hardy.models.published import find
from hardy.training.precision import Precision, prepare

_ORDER: tuple[Result, ...] = ("seen", "not seen", "not enough images", "not tested")  # as people read them
_SHORT = {  # numbers whose names would make the table wide
    "gradient of these exactly zero or not finite": "zero or not finite",
    "noise does more to these than the gradient allows": "refuted by noise",
    "share of the commonest class": "chance",
}


@dataclass(frozen=True)
class Options(Flags):
    """Signs that a network's gradients are masked, each a test over images at the 1 % level, and one verdict.

    masked: a strong sign, or two hints; suspicious: one hint; no sign: none, of as many as could be tested.
    """

    source: Annotated[
        Path,
        tyro.conf.Positional,
        tyro.conf.arg(
            metavar="RUN|WEIGHTS|NAME",
            help="a run's folder, a weights file, a published network, or module:function that makes a trained network",
        ),
    ]
    n: int = 200  # test images, the first ones; at most all of them
    quick: bool = False  # under a minute: at most 50 images, AutoAttack cut short, no NATTACK
    eps: str = ""  # radius in [0, 1] pixels; left out, the one of training, else 8/255 (L2: 0.5)
    norm: Norm = "linf"  # the distance that the radius bounds
    surrogate: Path | None = None  # a plainly trained network for the same images; for CIFAR-10 a published one
    seed: int = 0  # of the attacks' random numbers
    batch: int | None = None  # images attacked at once; left out, as many as memory holds; changes no number
    precision: Precision = "float32"  # while crafting; verdicts are always float32
    explain: bool = False  # all numbers of every sign, what is tested, and why it is a sign
    json: Path | None = None  # write verdict, signs and rows to this file too; it must not exist yet

    def __post_init__(self) -> None:
        require(self.n >= 1, "n", self.n, "at least 1 image")
        if self.radius is not None:
            allowed = "in (0, 0.5), the pixels' units: 8/255, not 8" if self.norm == "linf" else "above 0"
            require(0 < self.radius < (0.5 if self.norm == "linf" else float("inf")), "eps", self.eps, allowed)
        require(0 <= self.seed < 2**32, "seed", self.seed, "in [0, 2**32)")
        require(self.batch is None or self.batch >= 1, "batch", self.batch, "at least 1")

    @property
    def radius(self) -> float | None:
        """The radius asked for."""
        return number(self.eps.strip()) if self.eps.strip() else None


def main(args: list[str]) -> None:
    """Run `hardy diagnose RUN|WEIGHTS|NAME [options]`."""
    default, left = swap(Options(tyro.MISSING), args)
    options = parse(Options, left, "hardy diagnose", default)
    if options.json is not None:
        new_file(options.json, "--json")
    told = options.told
    it = subject(options.source, told)
    other = _surrogate(options, it, told)
    check_model_wanted(options, options.source, it, *([other] if other else []))
    ball = _ball(options, it)
    images = it.test.take(slice(options.n)).to(told.device)
    made = _diagnosed(options, it, images, other, ball)
    out.print(f"{it.title}; {type(ball).__name__}, eps {both_forms(ball.eps)}; seed {made.seed}")
    out.print(f"the first {counted(made.n, 'image')} of {it.test.origin}")
    _show(made, explain=options.explain)
    if options.json is not None:
        named = {"source": str(options.source), "surrogate": other and other.title}
        write_text(options.json, json.dumps({**named, **dataclasses.asdict(made)}, indent=1) + "\n")


def _surrogate(options: Options, it: Subject, told: Told) -> Subject | None:
    """The plainly trained network: the one named, or for CIFAR-10's images the published one; never the network itself."""
    if options.surrogate is not None:
        other = subject(options.surrogate, told, it.test)
        if _same(other.about, it):
            raise UsageError(
                f"--surrogate {options.surrogate} is the network itself; name another one, plainly trained."
            )
        return other
    name = surrogate_for(it.test.shape, it.test.classes)
    if name is None:
        err.print("No plainly trained network is known for these images; --surrogate names one, to test transfer.")
        return None
    if _same({"weights sha256": digest(find(name))}, it):
        err.print(f"{name} itself is what transfer would be tested from; --surrogate names another network.")
        return None
    return subject(Path(name), told, it.test)


def _same(about: Mapping[str, object], it: Subject) -> bool:
    return bool(about["weights sha256"] == it.about["weights sha256"])


def _ball(options: Options, it: Subject) -> Ball:
    """The radius asked for, else the one of training, else the papers', which is said.

    Raises: UsageError for one that reaches half the distance of black and white, where a grey image lies in every ball.
    """
    eps = options.radius or (it.eps if options.norm == "linf" else None)
    if eps is None:
        eps = USUAL[options.norm]
        err.print(f"No radius was given, and none is known from training: {fraction(eps)} is taken.")
    ball = in_norm(options.norm, eps)
    grey = 0.5 if isinstance(ball, Linf) else 0.5 * math.sqrt(math.prod(it.test.shape))
    require(ball.eps < grey, "eps", ball.eps, f"below {grey:.4g}, from where the same grey image is in reach of all")
    return ball


def _diagnosed(options: Options, it: Subject, images: Split, other: Subject | None, ball: Ball) -> Diagnosis:
    on = images.labels.device
    model = prepare(it.model, on, options.precision)
    surrogate = prepare(other.model, on, options.precision) if other else None
    with progress() as display:
        task = display.add_task("", total=None, note="")

        def show(name: str, decided: int, total: int, robust: int) -> None:
            note = f"images, {robust} robust so far" if robust else "images"
            display.update(task, description=name, completed=decided, total=total, note=note)

        return diagnose(
            model, images, ball=ball, surrogate=surrogate, quick=options.quick, seed=options.seed, batch=options.batch,
            run=it.run, settings={**it.about, "precision": options.precision}, progress=show,
        )  # fmt: skip


def _show(made: Diagnosis, *, explain: bool) -> None:
    """Accuracies, the signs in a table, what there is to say of those seen and of those not tested, the verdict."""
    held = {row.what: f"{percent(row.value)} % ({counted(round(row.value * row.n), 'image')})" for row in made.rows}
    out.print(f"clean accuracy {held['clean accuracy']}, under PGD-20 {held['accuracy under PGD-20']}\n")
    signs = sorted(made.signs, key=lambda sign: _ORDER.index(sign.result))
    table(None, ("sign", "weight", "result", "p", "numbers"), map(_line, signs), left=5)
    for sign in signs:
        if explain or sign.result == "seen":
            out.print("\n" + _evidence(sign))
    if not explain:
        out.print("".join(f"\n{said}" for said in _notes(signs)))
    out.print(f"\n{made.seconds:.0f} s, {made.forwards:,} forwards and {made.backwards:,} backwards of single images")
    out.print(f"verdict: {made.verdict}. {made.why}")


def _line(sign: Sign) -> tuple[str, ...]:
    return sign.name, sign.weight, sign.result, "" if sign.p is None else f"{sign.p:.2g}", _decisive(sign)[0]


def _decisive(sign: Sign) -> tuple[str, set[str]]:
    """(what the test is about, in a few words; which of the sign's numbers that tells)."""
    numbers = sign.numbers
    alone = [name for name in numbers if name.startswith("broken only ")]
    broken = [name for name in numbers if name.startswith("of these broken by ")]
    if alone:
        return _pair(sign, alone)
    if not broken:
        told = ", ".join(f"{_SHORT.get(name, name)} {_number(name, value)}" for name, value in numbers.items())
        return told + (_bound(sign) if sign.name == GRADIENT.name else ""), set(numbers)
    n, k = numbers["images"], numbers[broken[-1]]
    accuracies = {name: value for name, value in numbers.items() if isinstance(value, float)}
    told = "".join(f"{name} {_number(name, value)}, " for name, value in accuracies.items() if name != "PGD-20")
    share = f"{percent(k / n)} % " if n else ""
    return f"{told}broken {share}({k} of {n}){_bound(sign)}", {*accuracies, "images", broken[-1]}


def _pair(sign: Sign, alone: list[str]) -> tuple[str, set[str]]:
    """Two attacks' accuracies, and how many images each breaks that the other does not. alone: the names of these counts."""
    titles = [name.removeprefix("broken only ").removeprefix("by ") for name in alone]
    held = [title if title in sign.numbers else f"accuracy {title}" for title in titles]
    told = ", ".join(f"{name} {_number(name, sign.numbers[name])}" for name in held)
    return f"{told}; broken by one only: {' and '.join(str(sign.numbers[name]) for name in alone)}", {*alone, *held}


def _bound(sign: Sign) -> str:
    return f"; bound {percent(sign.threshold)} %"


def _evidence(sign: Sign) -> str:
    """What the table leaves out: the other numbers, what was tested, and why this is a sign."""
    told = _decisive(sign)[1]
    left = ", ".join(f"{name} {_number(name, value)}" for name, value in sign.numbers.items() if name not in told)
    sentences = [f"{sign.name}: {sign.result}{f', as {sign.note}' if sign.note else ''}."]
    if sign.result != "not tested":
        sentences.append(f"Tested: {sign.bounds}, above {percent(sign.threshold)} %.")
    if left:
        sentences.append(f"{left[:1].upper()}{left[1:]}.")
    return " ".join([*sentences, sign.why])


def _notes(signs: list[Sign]) -> Iterator[str]:
    """Why signs were not tested, or could not be: each reason once, with the signs that it is the reason of."""
    for result, note in dict.fromkeys((sign.result, sign.note) for sign in signs if sign.note):
        names = (sign.name for sign in signs if (sign.result, sign.note) == (result, note))
        yield f"{result}, as {note}: {'; '.join(names)}."


def _number(name: str, value: float) -> str:
    """Counts of images as they are, radii too, accuracies in per cent."""
    if isinstance(value, int):
        return f"{value:,}"
    return fraction(value) if name == "eps" else f"{percent(value)} %"
