"""hardy analyse ablation: several networks side by side, each told apart by the settings it was trained with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hardy.attacks.attack import Attack
from hardy.cli.console import percent
from hardy.cli.evaluate import Store, storing
from hardy.cli.outputs import command, kept
from hardy.cli.several import (
    Network,
    Rows,
    Several,
    attack_on_one,
    check,
    check_radius,
    flat,
    images,
    networks,
    of_all,
    options,
    radius,
)
from hardy.cli.trained import differences, run_of
from hardy.describe import counted, require
from hardy.evaluation.accuracy import evaluate
from hardy.evaluation.average import average_accuracy
from hardy.evaluation.path import Tell
from hardy.jobs.measure import newest
from hardy.models.published import about, published
from hardy.report.analysis import Analysis, Tabular
from hardy.report.figures import Bar, Bars
from hardy.results import Measurement, of_json, read

_SAYS = (
    "Clean accuracy and the unweighted mean of the accuracies under the attacks, of networks trained in different settings. In "
    "which a network's differ from the first one's stands beside it, as the command line spells them. The interval of a mean is "
    "the mean of the attacks' intervals, which is never too narrow where the images are the same. It is of test sampling: other "
    "seeds of training may differ by more. After the RLFAT paper's Fig. 2, the RAT paper's Tables 3 and 4, and the InfoFeature "
    "paper's sections 3.2 and 4.4."
)

_ROOM = 60  # letters of a network's changes in the figure's legend; the table has them all


@dataclass(frozen=True)
class Ablation(Several):
    """Clean accuracy and the mean over attacks of runs that differ in few settings: the RLFAT paper's Fig. 2.

    Rows that a run's results.jsonl, or a published network, has already of these attacks and images are not measured again;
    new ones of a run are added to it.
    """

    attacks: tuple[str, ...] = ("pgd-20", "cw-20")  # spaces between; as in `hardy list attacks`
    eps: float | None = None  # Linf radius; left out, that of the networks' training, else 8/255

    def __post_init__(self) -> None:
        super().__post_init__()
        require(bool(self.attacks), "attacks", self.attacks, "at least one name, such as pgd-20")
        require(len(set(self.attacks)) == len(self.attacks), "attacks", self.attacks, "names that differ")
        for name in self.attacks:
            attack_on_one(name, 8 / 255)
        if self.eps is not None:
            check_radius(self.eps)


def ablation(args: list[str]) -> None:
    """Run `hardy analyse ablation`; new rows of runs are added to their results, too."""
    made = options(Ablation(), args, "ablation")
    found = networks(made)
    at = radius(made.eps, found)
    attacks: dict[str, Attack | None] = {"clean": None, **{name: attack_on_one(name, at) for name in made.attacks}}
    for name, attack in attacks.items():
        if attack is not None:
            check(name, attack, found)
    before = {network.source: _known_of(network) for network in found.values()}
    changes = _changes(made.sources)
    with storing() as store:

        def measured(network: Network, tell: Tell) -> list[Measurement]:
            rows = []
            for name, attack in attacks.items():
                there = newest(before[network.source][0], network.about, attack, len(network.test), seed=made.seed)
                rows.append(there or _measured(network, name, attack, made, store, tell))
            return [*rows, average_accuracy(rows[1:], made.attacks)]

        rows = of_all(found, measured)
        heads = ("", "settings", "clean", *made.attacks, "average")
        lines = (
            (name, changes[name], *(percent(row.value, row.low, row.high) for row in of)) for name, of in rows.items()
        )
        summaries = "; ".join(attack.summary for attack in attacks.values() if attack is not None)
        shown = Tabular(f"Accuracy in % [95 % interval] (n = {_n(rows):,}); {summaries}", heads, tuple(lines), left=2)
        remarks = tuple(
            f"{source}: {counted(torn, 'row')} of results.jsonl passed over, torn, damaged or of another version."
            for source, (_, torn) in before.items()
            if torn
        )
        figure, asked = _bars(rows, changes, found, made), command("ablation", args)
        kept(made, Analysis("ablation", "Ablation", _SAYS, asked, (shown,), figure, flat(rows), remarks))


def _measured(
    network: Network, name: str, attack: Attack | None, made: Ablation, store: Store, tell: Tell
) -> Measurement:
    """A new row; of a run, added to its results."""
    (row,) = evaluate(
        network.model, network.test, {name: attack}, seed=made.seed, batch=made.batch, run=network.run,
        settings=network.about, progress=lambda name, done, total, robust: tell(done, total),
    )  # fmt: skip
    if network.source.is_dir():
        store(network.source / "results.jsonl", [row])
    return row


def _known_of(network: Network) -> tuple[list[Measurement], int]:
    """(rows of a network that there are, how many lines of results.jsonl were passed over)."""
    source = network.source
    if source.is_dir():
        results = source / "results.jsonl"
        return read(results) if results.is_file() else ([], 0)
    if source.exists() or str(source) not in published():
        return [], 0
    # they are of the run's last weights, which are a file as they are published
    rows = map(of_json, about(str(source))["measured"])
    return [replace(row, settings=row.settings | {"weights": network.about["weights"]}) for row in rows], 0


def _changes(sources: Sequence[Path]) -> dict[str, str]:
    """What of a network's settings is not as the first one's, in words, for each."""
    runs = {str(source): run_of(source) for source in sources}
    first, *_ = runs.values()
    said = {}
    for name, run in runs.items():
        if run is None or first is None:
            said[name] = "settings not known"
        else:
            said[name] = "; ".join(differences(replace(first, name=run.name), run)) or "the same settings"
    return said | {str(sources[0]): "the first" if first is not None else "settings not known"}


def _bars(rows: Rows, changes: Mapping[str, str], found: Mapping[str, Network], made: Ablation) -> Bars:
    bars = tuple(
        tuple(
            Bar(100 * row.value, 100 * row.low, 100 * row.high)
            for row in of
            if row.low is not None and row.high is not None
        )
        for of in rows.values()
    )
    names = tuple(f"{name} ({_briefly(changes[name])})" for name in rows)
    title = f"Accuracy and its mean over attacks; {images(found, 'lines on bars')}"
    return Bars(title, "accuracy (%)", ("clean", *made.attacks, "average"), names, bars)


def _briefly(changes: str) -> str:
    """The changes as a legend has room for."""
    first, *more = changes.split("; ")
    return changes if len(changes) <= _ROOM else f"{first}; and {len(more)} more"


def _n(rows: Rows) -> int:
    return next(iter(rows.values()))[0].n
