"""What analyses of several networks share: their flags, the networks, and their rows as tables and lines."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro

from hardy.attacks.attack import Attack
from hardy.attacks.balls import Linf, fraction
from hardy.attacks.informative import InfoFeature
from hardy.attacks.names import ATTACKS, named
from hardy.attacks.pgd import PGD
from hardy.cli.console import err, progress
from hardy.cli.flags import parse, swap
from hardy.cli.outputs import Outputs, check_new
from hardy.cli.subject import USUAL, Flags, subject
from hardy.data.split import Split
from hardy.describe import counted, require
from hardy.errors import UsageError, unknown
from hardy.evaluation.checks import check_attack
from hardy.evaluation.path import Tell
from hardy.models.classifier import Classifier
from hardy.report.analysis import Tabular
from hardy.report.figures import Line, Point
from hardy.results import Measurement
from hardy.training.precision import prepare

IN_STEPS = [name.removesuffix("-K") for name in ATTACKS if name.endswith("-K")]  # pgd, cw, ...

R = TypeVar("R")
T = TypeVar("T", bound="Several")
Rows = dict[str, list[Measurement]]  # by network


@dataclass(frozen=True)
class Several(Outputs, Flags):
    """The flags that all of them have."""

    sources: Annotated[
        tuple[Path, ...],
        tyro.conf.Positional,
        tyro.conf.arg(
            metavar="RUN|WEIGHTS|NAME ...",
            help="runs' folders, weights files, published networks, or module:function; all go into one figure; before the flags",
            help_behavior_hint="",
        ),
    ] = ()
    n: int = 200  # test images, the first ones; at most all of them
    seed: int = 0  # of the attacks' random numbers
    batch: int | None = None  # images attacked at once; left out, as many as memory holds; changes no number

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.n >= 1, "n", self.n, "at least 1 image")
        require(0 <= self.seed < 2**32, "seed", self.seed, "in [0, 2**32)")
        require(self.batch is None or self.batch >= 1, "batch", self.batch, "at least 1")


@dataclass(frozen=True)
class Network:
    """source: what the user calls it. model: on the device. test: the images asked for, there. about, run: for rows.

    eps: Linf radius of its training.
    """

    source: Path
    model: Classifier
    test: Split
    about: Mapping[str, Any]
    run: str
    eps: float | None


Measured = Callable[[Network, Tell], list[Measurement]]


def options(default: T, args: list[str], name: str) -> T:
    """What the flags of `hardy analyse NAME` say, as far as it can be checked before anything is read."""
    swapped, left = swap(default, args)
    made = parse(type(default), left, f"hardy analyse {name}", swapped)
    require(bool(made.sources), "sources", made.sources, "at least one run's folder, weights file or published network")
    names = [str(source) for source in made.sources]
    require(len(set(names)) == len(names), "sources", names, "networks that differ")
    check_new(made, name)
    return made


def networks(made: Several) -> dict[str, Network]:
    """The networks of `on_all_images`, on the first n of them."""
    return {name: replace(it, test=it.test.take(slice(made.n))) for name, it in on_all_images(made).items()}


def on_all_images(made: Several) -> dict[str, Network]:
    """The networks by what the user calls them, on all test images, all read and tried before the first is measured.

    Raises: UsageError for one that cannot be evaluated, or if they are judged by different images.
    """
    told = made.told
    on = told.device
    found: dict[str, Network] = {}
    for source in made.sources:
        err.print(f"{source}:")
        it = subject(source, told)
        model, about = prepare(it.model, on, "float32"), {**it.about, "precision": "float32"}
        found[str(source)] = Network(source, model, it.test.to(on), about, it.run, it.eps)
    origins = {network.test.origin: name for name, network in found.items()}
    if len(origins) > 1:
        parts = "; ".join(f"{name}: {origin}" for origin, name in origins.items())
        raise UsageError(f"The networks are judged by different images ({parts}); name one data set by --data.")
    return found


def images(found: Mapping[str, Network], intervals: str = "bands") -> str:
    """How many images there are, and what shows the intervals of a figure, for its title."""
    return f"{counted(len(next(iter(found.values())).test), 'image')}; {intervals}: 95 % intervals"


def radius(eps: float | None, found: Mapping[str, Network]) -> float:
    """The radius asked for; left out, the one that all networks were trained with, else 8/255, which is said."""
    if eps is not None:
        return eps
    trained = {network.eps for network in found.values()} - {None}
    if len(trained) == 1:
        return next(eps for eps in trained if eps is not None)
    why, usual = "several are known" if trained else "none is known", USUAL["linf"]
    err.print(f"No radius was given, and {why} from training: {fraction(usual)} is taken.")
    return usual


def check_radius(eps: float, *, none_too: bool = False) -> None:
    """Raises UsageError for a radius that is none; none_too: 0 is allowed."""
    fits = 0 <= eps <= 1 and (eps > 0 or none_too)
    require(fits, "eps", eps, f"in {'[' if none_too else '('}0, 1], the pixels' units: 8/255, not 8")


def in_steps_of(attack: Attack, step_size: float | None) -> Attack:
    """The attack with this step size, where it has one that its name leaves to eps."""
    if step_size is None or not isinstance(attack, PGD | InfoFeature) or attack.step_size is not None:
        return attack
    return replace(attack, step_size=step_size)


def of_steps(name: str, eps: float, steps: int, step_size: float | None) -> Attack:
    """The attack of a name without its K, such as pgd, with so many steps (at least 1)."""
    if name not in IN_STEPS:
        raise unknown("attack in steps of one size", name, IN_STEPS)
    attack = named(f"{name}-{steps}", Linf(eps))
    assert attack is not None
    return in_steps_of(attack, step_size)


def check(name: str, attack: Attack, found: Mapping[str, Network]) -> None:
    """Raises UsageError where the attack cannot be made on one of the networks."""
    for network in found.values():
        check_attack(name, attack, [network.model], network.test)


def attack_on_one(name: str, eps: float) -> Attack:
    """The attack of that name, which must be one that a network meets by itself."""
    attack = named(name, Linf(eps))
    if attack is None or name == "transfer":
        raise UsageError(f"attack is {name!r}; it must be an attack on one network, such as pgd-20.")
    return attack


def check_single(name: str, eps: float | None) -> None:
    """Raises UsageError for a name of no attack on single images, or a radius that is none."""
    require(attack_on_one(name, 8 / 255).group is None, "attack", name, "one on single images, such as pgd-10")
    if eps is not None:
        check_radius(eps)


def of_all(found: Mapping[str, Network], measured: Callable[[Network, Tell], R], besides: str = "") -> dict[str, R]:
    """What is measured of each network, with a progress bar on a terminal; the time each took is said."""
    made: dict[str, R] = {}
    for name, network in found.items():
        began = time.perf_counter()
        with progress() as display:
            task = display.add_task(f"{name}{besides}", total=None, note="")

            def tell(done: int, total: int, task: Any = task) -> None:
                display.update(task, completed=done, total=total)

            made[name] = measured(network, tell)
        err.print(f"{name}{besides}: {time.perf_counter() - began:.0f} s")
    return made


def flat(rows: Rows) -> tuple[Measurement, ...]:
    """The rows of all networks, one network after another."""
    return tuple(row for of in rows.values() for row in of)


def tabular(title: str, key: str, rows: Rows, cell: Callable[[Measurement], str]) -> Tabular:
    """A table with a column for each network, and a line for each value of the rows' setting `key`."""
    write = fraction if key == "eps" else "{:g}".format
    texts = {name: {write(row.settings[key]): cell(row) for row in of} for name, of in rows.items()}
    lines = list(dict.fromkeys(text for cells in texts.values() for text in cells))
    columns = [f"{name} (n = {of[0].n})" for name, of in rows.items()]
    return Tabular(
        title, (key, *columns), tuple((line, *(cells.get(line, "") for cells in texts.values())) for line in lines)
    )


def interval(row: Measurement) -> str:
    """A row's value with its interval, where it has one."""
    return f"{row.value:.3f}" + ("" if row.low is None else f" [{row.low:.3f}, {row.high:.3f}]")


def line(name: str, rows: Sequence[Measurement], key: str, *, times: float = 1.0, percent: bool = False) -> Line:
    """Rows as a line over their setting `key`, which is multiplied by `times`; percent: of fractions, in per cent."""
    made = []
    for row in rows:
        y, low, high = (
            None if value is None else 100 * value if percent else value for value in (row.value, row.low, row.high)
        )
        assert y is not None
        made.append(Point(times * row.settings[key], y, low, high))
    return Line(name, tuple(made))
