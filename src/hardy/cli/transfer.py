"""hardy analyse transfer: every network on the images that attacks on each of them found, and on random noise."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hardy.attacks.attack import Attack
from hardy.attacks.balls import Linf
from hardy.attacks.names import named
from hardy.cli.console import percent
from hardy.cli.outputs import command, kept
from hardy.cli.several import (
    Network,
    Rows,
    Several,
    attack_on_one,
    check,
    check_single,
    flat,
    networks,
    of_all,
    options,
    radius,
)
from hardy.cli.subject import subject
from hardy.describe import counted, require
from hardy.evaluation.accuracy import evaluate
from hardy.evaluation.path import Tell
from hardy.evaluation.transfer_matrix import transfer_matrix
from hardy.report.analysis import Analysis, Tabular
from hardy.report.figures import Matrix
from hardy.results import Measurement
from hardy.training.precision import prepare

_SAYS = (
    "Each network on the images that an attack found on each source, and on random noise. Where source and network are the same "
    "it is a white-box attack, and should break more than any other: a network that images from elsewhere break more often than "
    "its own has a gradient that misleads. An image that is misclassified unperturbed never counts as robust. After the "
    "InfoFeature paper's Table 6."
)


@dataclass(frozen=True)
class Transfer(Several):
    """Accuracy of each network on what attacks on each of them found, and on noise: the InfoFeature paper's Table 6."""

    attacks: tuple[str, ...] = ("pgd-10", "cw-10")  # spaces between; as in `hardy list attacks`
    craft_on: tuple[Path, ...] = ()  # spaces between; networks that attacks see; left out, those that are judged
    eps: float | None = None  # Linf radius; left out, that of the networks' training, else 8/255

    def __post_init__(self) -> None:
        super().__post_init__()
        require(bool(self.attacks), "attacks", self.attacks, "at least one name, such as pgd-10")
        for what, given in (("attacks", self.attacks), ("craft_on", self.craft_on)):
            require(len(set(given)) == len(given), what, tuple(map(str, given)), "names that differ")
        for name in self.attacks:
            check_single(name, self.eps)


def transfer(args: list[str]) -> None:
    """Run `hardy analyse transfer`."""
    made = options(Transfer(), args, "transfer")
    found = networks(made)
    sources = _sources(made, found)
    ball = Linf(radius(made.eps, found))
    attacks = {name: attack_on_one(name, ball.eps) for name in made.attacks}
    for name, attack in attacks.items():
        check(name, attack, sources)
    about = {name: network.about for name, network in (*sources.items(), *found.items())}

    def alone(network: Network, tell: Tell) -> list[Measurement]:
        return evaluate(
            network.model, network.test, {"clean": None, "noise": named("noise", ball)}, seed=made.seed, batch=made.batch,
            run=str(network.source), settings=network.about, progress=lambda name, done, total, robust: tell(done, total),
        )  # fmt: skip

    def crafted(source: Network, tell: Tell) -> list[Measurement]:
        return transfer_matrix(
            {name: network.model for name, network in found.items()}, source.test, attacks,
            sources={str(source.source): source.model}, seed=made.seed, batch=made.batch, settings=about, tell=tell,
        )  # fmt: skip

    rows = of_all(found, alone, ": clean and noise")
    columns = of_all(sources, crafted, f": {' and '.join(attacks)} crafted on it")
    for number, of in enumerate(rows.values()):
        # a column has the rows of all networks for one attack after another
        of += [column[at * len(found) + number] for at in range(len(attacks)) for column in columns.values()]
    titles = ("clean", "noise", *(f"{name} on {source}" for name in attacks for source in sources))
    values = tuple(tuple(100 * row.value for row in of) for of in rows.values())
    figure = Matrix(
        f"Accuracy of each network on the images of attacks, {ball}; {counted(_n(rows), 'image')}", tuple(rows), titles, values,
        row_label="judged", column_label="crafted on", value_label="accuracy (%)",
    )  # fmt: skip
    asked, shown = command("transfer", args), _tables(attacks, tuple(sources), rows)
    kept(made, Analysis("transfer", "Transfer of attacks", _SAYS, asked, shown, figure, flat(rows)))


def _tables(attacks: Mapping[str, Attack], sources: Sequence[str], rows: Rows) -> tuple[Tabular, ...]:
    """Accuracy without an attack, and a table for each attack with a column for each source."""
    parts: list[tuple[str, Sequence[str]]] = [(f"without an attack (n = {_n(rows):,})", ("clean", "noise"))]
    parts += [(f"under {name}, crafted on each of the columns; {of.summary}", sources) for name, of in attacks.items()]
    made, first = [], 0
    for title, heads in parts:
        cells = {name: of[first : first + len(heads)] for name, of in rows.items()}
        lines = ((name, *(percent(row.value, row.low, row.high) for row in of)) for name, of in cells.items())
        made.append(Tabular(f"Accuracy in % [95 % interval] {title}", ("", *heads), tuple(lines)))
        first += len(heads)
    return tuple(made)


def _n(rows: Rows) -> int:
    return next(iter(rows.values()))[0].n


def _sources(made: Transfer, found: Mapping[str, Network]) -> Mapping[str, Network]:
    """The networks that attacks are crafted on."""
    if not made.craft_on:
        return found
    told, test = made.told, next(iter(found.values())).test
    sources = {}
    for source in made.craft_on:
        it = subject(source, told, test)
        model, about = prepare(it.model, told.device, "float32"), {**it.about, "precision": "float32"}
        sources[str(source)] = found.get(str(source)) or Network(source, model, test, about, it.run, it.eps)
    return sources
