"""Curves: how a run's loss, and its accuracy on held-out images, went over the epochs, as rows, from its metrics.jsonl.

Source:  InfoFeature paper, Fig. 3: validation accuracy over the epochs of several methods.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hardy.describe import fitted, require
from hardy.errors import UsageError
from hardy.results import Measurement, wilson
from hardy.training.record import read_description, read_id, read_run, read_whole_metrics
from hardy.training.run import Run

CLEAN, ROBUST, LOSS = "clean accuracy on held-out images", "accuracy under attack on held-out images", "training loss"


@dataclass(frozen=True)
class Curves:
    """run: its settings. told: all that run.json says. passed_over: how many lines of metrics.jsonl are torn or damaged.

    rows: of CLEAN and ROBUST for each validation, of LOSS for each epoch; "epoch" is in their settings.
    """

    run: Run
    told: Mapping[str, Any]
    rows: tuple[Measurement, ...]
    passed_over: int

    def of(self, what: str) -> list[Measurement]:
        """The rows of CLEAN, ROBUST or LOSS, in the order of their epochs."""
        return [row for row in self.rows if row.what == what]


def learning_curves(folder: Path | str) -> Curves:
    """What a run's folder has kept of its training; of one under way, what there is by now.

    An accuracy has its Wilson interval. The loss is the mean over an epoch's steps, the sum of the objective's terms.

    Raises: UsageError where there is no run, or one that has logged nothing.
    """
    path = Path(folder)
    if not path.is_dir():
        raise UsageError(f"{path} is no folder; curves are read from the folder of a run, whatever its weights.")
    run, told = read_run(path), read_description(path)
    try:
        lines, passed_over = read_whole_metrics(path)
    except OSError as error:
        raise UsageError(f"{path} has no metrics.jsonl that can be read: its run has logged nothing.") from error
    kept = {key: str(told.get(key, "")) for key in ("device", "hardy", "torch")}
    about = {"id": read_id(path), "data": str(told.get("origin", run.data))}

    def row(what: str, value: float, unit: str, n: int, at: dict[str, Any]) -> Measurement:
        low, high = wilson(round(value * n), n) if unit == "fraction" else (None, None)
        return Measurement(run.name, what, value, unit, n, low, high, about | at, 0.0, 0, 0, **kept)

    rows, losses, before = [], dict[int, list[tuple[int, float, float]]](), 0
    for line in lines:
        try:
            at = {"epoch": fitted(line["epoch"], float, "epoch"), "step": line["step"]}
            if line.get("kind") == "validation":
                n, clean, robust = (fitted(line[key], kind, key) for key, kind in _VALIDATION.items())
                attack = {"attack": run.validation.attack.described, "summary": run.validation.attack.summary}
                rows += [row(CLEAN, clean, "fraction", n, at), row(ROBUST, robust, "fraction", n, at | attack)]
            elif line.get("kind") == "train":
                made, loss = line["step"] - before, fitted(line["loss"], float, "loss")
                require(made > 0, "step", line["step"], f"above {before}, that of the row before")
                losses.setdefault(math.ceil(at["epoch"]), []).append((made, loss, at["epoch"]))
                before = line["step"]
        except (KeyError, UsageError):
            passed_over += 1
    for of in losses.values():
        steps = sum(made for made, _, _ in of)
        mean = sum(made * loss for made, loss, _ in of) / steps
        rows.append(row(LOSS, mean, "loss", steps * run.batch, {"epoch": of[-1][2]}))
    if not rows:
        raise UsageError(f"{path} has no row of accuracy or loss in its metrics.jsonl: its run has logged nothing yet.")
    return Curves(run, told, tuple(rows), passed_over)


_VALIDATION = {"n": int, "clean": float, "robust": float}
