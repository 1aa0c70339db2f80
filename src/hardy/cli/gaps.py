"""hardy analyse gaps: accuracy of several networks on images they were trained on, against that on test images."""

from collections.abc import Sequence
from dataclasses import dataclass

from hardy.cli.console import percent
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
from hardy.cli.trained import learnt_from
from hardy.evaluation.gaps import generalisation_gaps
from hardy.evaluation.path import Tell
from hardy.report.analysis import Analysis, Tabular
from hardy.report.figures import Bar, Bars
from hardy.results import Measurement

_SAYS = (
    "Accuracy on images that a network was trained on, minus that on test images, clean and under an attack: how much of what it "
    "shows in training does not carry over. Training images are a run's own, without those that it held out and without extra "
    "ones, as they are, not augmented; of each class as many as of the test images. Intervals are Wilson's, those of the "
    "differences Newcombe's: a gap whose interval holds 0 may be none. After the RAT paper's Figs. 3 and 6."
)


@dataclass(frozen=True)
class Gaps(Several):
    """Accuracy on training images minus that on test images, clean and under attack: the RAT paper's Figs. 3 and 6."""

    n: int = 200  # test images, the first ones, at most all of them; and as many training images of each class
    attack: str = "pgd-10"  # as in `hardy list attacks`
    eps: float | None = None  # Linf radius; left out, that of the networks' training, else 8/255

    def __post_init__(self) -> None:
        super().__post_init__()
        attack_on_one(self.attack, 8 / 255)
        if self.eps is not None:
            check_radius(self.eps)


def gaps(args: list[str]) -> None:
    """Run `hardy analyse gaps`."""
    made = options(Gaps(), args, "gaps")
    found = networks(made)
    attack = attack_on_one(made.attack, radius(made.eps, found))
    check(made.attack, attack, found)
    learnt = {network.source: learnt_from(network.source, made, network.test) for network in found.values()}

    def measured(network: Network, tell: Tell) -> list[Measurement]:
        train, _ = learnt[network.source]
        return generalisation_gaps(
            network.model, train.to(network.test.labels.device), network.test, {"clean": None, made.attack: attack},
            seed=made.seed, batch=made.batch, run=network.run, settings=network.about, tell=tell,
        )  # fmt: skip

    rows = of_all(found, measured)
    shown = (
        _table("Clean accuracy", {name: of[:3] for name, of in rows.items()}),
        _table(f"Accuracy under {made.attack} ({attack.summary})", {name: of[3:] for name, of in rows.items()}),
    )
    bars = tuple((_bar(of[2]), _bar(of[5])) for of in rows.values())
    label = "gap (points)"
    figure = Bars(
        f"Training minus test accuracy; {attack.ball}; {images(found, 'lines')}",
        label, ("clean", made.attack), tuple(rows), bars,
    )  # fmt: skip
    remarks = tuple(unknown for _, unknown in learnt.values() if unknown)
    asked = command("gaps", args)
    kept(made, Analysis("gaps", "Generalisation gaps", _SAYS, asked, shown, figure, flat(rows), remarks))


def _table(title: str, rows: Rows) -> Tabular:
    heads = ("", "training", "images", "test", "images", "gap, points")
    return Tabular(
        f"{title} in % [95 % interval]", heads, tuple((name, *_cells(of)) for name, of in rows.items()), left=1
    )


def _cells(rows: Sequence[Measurement]) -> tuple[str, ...]:
    seen, unseen, gap = (percent(row.value, row.low, row.high) for row in rows)
    return seen, f"{rows[0].n:,}", unseen, f"{rows[1].n:,}", gap


def _bar(row: Measurement) -> Bar:
    assert row.low is not None
    assert row.high is not None
    return Bar(100 * row.value, 100 * row.low, 100 * row.high)
