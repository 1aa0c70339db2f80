"""hardy analyse sensitivity: how steep the loss of several networks is on brighter, darker and gamma-mapped images."""

from dataclasses import dataclass

from hardy.cli.evaluate import storing
from hardy.cli.outputs import command, kept
from hardy.cli.several import Network, Several, flat, images, networks, of_all, options
from hardy.describe import require
from hardy.evaluation.path import Tell
from hardy.evaluation.sensitivity import BRIGHTNESS, GAMMA, loss_sensitivity
from hardy.report.analysis import Analysis, Tabular
from hardy.report.figures import Bar, Bars
from hardy.results import Measurement

_SAYS = (
    "The mean length of the loss's gradient on shifted test images: the lower, the smoother the loss. Small logits make it "
    "low, too, robust or not. After the RLFAT paper's eqs. (11)-(12) and Table 2."
)


@dataclass(frozen=True)
class Sensitivity(Several):
    """Mean norm of the loss gradient on shifted test images: the lower, the smoother the loss (RLFAT paper, Table 2)."""

    brightness: tuple[float, ...] = BRIGHTNESS  # shifts of the value in HSV, in [-1, 1]
    gamma: tuple[float, ...] = GAMMA  # exponents
    n: int = 1000  # test images, the first ones; at most all of them

    def __post_init__(self) -> None:
        super().__post_init__()
        shifts = self.brightness + self.gamma
        require(bool(shifts), "brightness and gamma together", shifts, "at least one number")


def sensitivity(args: list[str]) -> None:
    """Run `hardy analyse sensitivity`; the rows of runs are added to their results, too."""
    made = options(Sensitivity(), args, "sensitivity")
    found = networks(made)

    def measured(network: Network, tell: Tell) -> list[Measurement]:
        return loss_sensitivity(
            network.model, network.test, shifts=made.brightness, exponents=made.gamma, batch=made.batch,
            run=network.run, settings=network.about, tell=tell,
        )  # fmt: skip

    rows = of_all(found, measured)
    heads = tuple(row.what.removeprefix("loss sensitivity at ") for row in next(iter(rows.values())))
    shown = Tabular(
        "Loss sensitivity (mean gradient norm, ± 95 %)",
        ("", *heads),
        tuple((name, *map(_with_interval, of)) for name, of in rows.items()),
    )
    bars = tuple(tuple(Bar(row.value, row.low, row.high) for row in of) for of in rows.values())
    figure = Bars(images(found, "lines on bars"), "mean gradient norm", heads, tuple(rows), bars)
    with storing() as store:
        for source in made.sources:
            if source.is_dir():
                store(source / "results.jsonl", rows[str(source)])
        asked = command("sensitivity", args)
        kept(made, Analysis("sensitivity", "Loss sensitivity", _SAYS, asked, (shown,), figure, flat(rows)))


def _with_interval(row: Measurement) -> str:
    return f"{row.value:.3f}" if row.high is None else f"{row.value:.3f} ± {row.high - row.value:.3f}"
