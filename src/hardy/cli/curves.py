"""hardy analyse curves: accuracy on held-out images and training loss of several runs over their epochs."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from hardy.cli.console import percent
from hardy.cli.flags import parse
from hardy.cli.outputs import Outputs, check_new, command, kept
from hardy.cli.several import line
from hardy.describe import counted, require
from hardy.errors import UsageError
from hardy.report.analysis import Analysis, Tabular
from hardy.report.figures import Bands, Panel
from hardy.training.curves import CLEAN, LOSS, ROBUST, Curves, learning_curves

_SAYS = (
    "How the networks got on in training: accuracy on images that were held out of it, clean and under the attack of the run's "
    "validation, and the loss that was minimised, the mean over each epoch's steps. Robust accuracy that falls while the loss "
    "still falls is robust overfitting. Losses of different methods are different quantities, and only their course compares. "
    "Accuracy on training images is not recorded while a network trains; `hardy analyse gaps` measures it. After the "
    "InfoFeature paper's Fig. 3."
)


@dataclass(frozen=True)
class Runs(Outputs):
    """Accuracy on held-out images and training loss over the epochs of several runs: the InfoFeature paper's Fig. 3.

    It reads what the runs' folders have kept (metrics.jsonl), and no network; a run under way can be looked at, too.
    """

    sources: Annotated[
        tuple[Path, ...],
        tyro.conf.Positional,
        tyro.conf.arg(metavar="RUN ...", help="runs' folders; before the flags", help_behavior_hint=""),
    ] = ()


def curves(args: list[str]) -> None:
    """Run `hardy analyse curves`."""
    made = parse(Runs, args, "hardy analyse curves", Runs())
    require(bool(made.sources), "sources", made.sources, "at least one run's folder")
    names = [str(source) for source in made.sources]
    require(len(set(names)) == len(names), "sources", names, "runs that differ")
    check_new(made, "curves")
    found = {str(source): learning_curves(source) for source in made.sources}
    _refuse_other_images(found)
    attacks = {name: of.of(ROBUST)[0].settings["summary"] for name, of in found.items() if of.of(ROBUST)}
    one = next(iter(attacks.values())) if len(set(attacks.values())) == 1 else None
    remarks = [f"Accuracy under attack: {one}."] if one else []
    remarks += [] if one else [f"{name}: accuracy under attack is that under {it}." for name, it in attacks.items()]
    remarks += [sentence for name, of in found.items() for sentence in _remarks(name, of)]
    rows = tuple(row for of in found.values() for row in of.rows)
    asked = command("curves", args)
    kept(
        made, Analysis("curves", "Training curves", _SAYS, asked, (_table(found),), figure(found), rows, tuple(remarks))
    )


def figure(found: Mapping[str, Curves]) -> Bands:
    """A panel each for clean accuracy, accuracy under attack and loss, as far as a run has them; a line for each run."""
    panels = (
        _panel(found, CLEAN, "clean accuracy (%)"),
        _panel(found, ROBUST, "accuracy under attack (%)"),
        _panel(found, LOSS, "training loss"),
    )
    any_held_out = any(of.of(ROBUST) for of in found.values())
    held_out = "on held-out images, bands: 95 % intervals" if any_held_out else "no run has held-out images"
    return Bands(f"{counted(len(found), 'run')}; {held_out}", tuple(p for p in panels if p.lines), share_y=False)


def by_images(found: Mapping[str, Curves]) -> list[dict[str, Curves]]:
    """The runs of each data set and its classes together; how many images they learn from may differ."""
    groups: dict[tuple[str, ...], dict[str, Curves]] = {}
    for name, of in found.items():
        kind = type(of.run.data).__name__, str(of.told.get("classes")), str(of.told.get("shape"))
        groups.setdefault(kind, {})[name] = of
    return list(groups.values())


def _refuse_other_images(found: Mapping[str, Curves]) -> None:
    """Raises UsageError where runs are of other data sets or classes."""
    firsts = dict(next(iter(group.items())) for group in by_images(found))
    if len(firsts) > 1:
        parts = "; ".join(f"{name}: {of.told.get('origin', type(of.run.data).__name__)}" for name, of in firsts.items())
        raise UsageError(f"The runs are of different images ({parts}); only runs of the same go into one figure.")


def _panel(found: Mapping[str, Curves], what: str, label: str) -> Panel:
    of_each = {name: of.of(what) for name, of in found.items()}
    lines = tuple(line(name, rows, "epoch", percent=what != LOSS) for name, rows in of_each.items() if rows)
    return Panel("", "epoch", label, lines)


def _remarks(name: str, of: Curves) -> list[str]:
    """What a reader should know of a run, in sentences."""
    found = []
    if not of.of(ROBUST):
        why = (
            "none was measured yet" if of.run.validation.images else "the run held no images out (--validation.images)"
        )
        found.append(f"{name}: no accuracy on held-out images, {why}.")
    if of.passed_over:
        found.append(f"{name}: {counted(of.passed_over, 'row')} of metrics.jsonl passed over, torn or damaged.")
    return found


def _table(found: Mapping[str, Curves]) -> Tabular:
    heads = (
        "",
        "epochs",
        "held out",
        "clean, last",
        "attacked, last",
        "attacked, best",
        "at epoch",
        "loss, first",
        "loss, last",
    )
    title = "Accuracy in % [95 % interval] on held-out images, and the loss of the first epoch and the last"
    return Tabular(title, heads, tuple((name, *_cells(of)) for name, of in found.items()))


def _cells(of: Curves) -> tuple[str, ...]:
    clean, robust, losses = of.of(CLEAN), of.of(ROBUST), of.of(LOSS)
    epochs = f"{max(row.settings['epoch'] for row in of.rows):g}"
    lost = (f"{losses[0].value:.3f}", f"{losses[-1].value:.3f}") if losses else ("", "")
    if not robust:
        return epochs, "0", "", "", "", "", *lost
    best = max(robust, key=lambda row: row.value)
    last, under, highest = (percent(row.value, row.low, row.high) for row in (clean[-1], robust[-1], best))
    return epochs, f"{robust[-1].n:,}", last, under, highest, f"{best.settings['epoch']:g}", *lost
