"""Folders as commands leave them, made by hand: a run's with its rows, and what lies beside."""

import dataclasses
import json
from pathlib import Path

from hardy.describe import describe
from hardy.recipes import recipe
from hardy.report.analysis import Analysis, Tabular, write
from hardy.report.figures import Bands, Line, Panel, Pictures, Point, picture
from hardy.results import Measurement

ATTACK = {"type": "PGD", "steps": 20}
DATA = "digits test, 500 of them"


def row(what="clean accuracy", value=0.5, **changes) -> Measurement:
    """A row of the last weights, whose digest is "one"."""
    settings = {"weights": "last", "weights sha256": "one", "step": 20, "data": DATA} | changes.pop("settings", {})
    if what.startswith("accuracy"):
        settings = {"attack": ATTACK, "summary": "PGD, 20 steps", "judge": "last", "seed": 0} | settings
    whole = {"unit": "fraction", "n": 100, "low": value - 0.1, "high": value + 0.1, "seconds": 2.0, "forwards": 7,
             "backwards": 3, "device": "cpu"}  # fmt: skip
    return Measurement("a run", what, value, settings=settings, **(whole | changes))


def json_lines(path: Path, rows) -> None:
    path.write_text("".join(json.dumps(told) + "\n" for told in rows), encoding="utf-8")


def run(folder: Path, rows=(), *, name="pgdat-digits", epochs=2, seed=0) -> Path:
    """A run of two epochs with validations, its costs, and measured rows."""
    folder.mkdir(parents=True, exist_ok=True)
    told = {"run": describe(dataclasses.replace(recipe(name), seed=seed)), "steps": 20, "hardy": "0.1.0", "torch": "2.13.0",
            "device": "cpu", "origin": "digits train, 1,297 of them"}  # fmt: skip
    (folder / "run.json").write_text(json.dumps(told))
    json_lines(folder / "metrics.jsonl", [
        {"kind": "validation", "step": 10 * epoch, "epoch": epoch, "clean": 0.4 * epoch, "robust": 0.3 * epoch, "n": 50}
        for epoch in range(1, epochs + 1)])  # fmt: skip
    json_lines(folder / "costs.jsonl", [
        {"from": 0, "step": 10, "seconds": 61.0, "forwards": 1000, "backwards": 900},
        {"from": 10, "step": 10 * epochs, "seconds": 3600.4, "forwards": 1100, "backwards": 950}])  # fmt: skip
    if rows:
        json_lines(folder / "results.jsonl", map(dataclasses.asdict, rows))
    return folder


def diagnosis(file: Path, verdict="no sign", weights="one", **changes) -> Path:
    """What `hardy diagnose --json` writes, as far as a report reads it."""
    sign = {"name": "transfer", "weight": "strong", "result": "not seen", "p": 0.5, "numbers": {"images": 40, "PGD-20": 0.25},
            "threshold": 0.1, "bounds": "share", "why": "An attack from elsewhere should be weaker."}  # fmt: skip
    told = {"verdict": verdict, "why": f"That is {verdict}.", "ball": "Linf 8/255", "n": 40, "weights sha256": weights,
            "signs": [sign], "rows": []} | changes  # fmt: skip
    file.write_text(json.dumps(told))
    return file


def analysis(folder: Path, name="eps") -> Path:
    """An analysis with a figure of lines, or pictures where it is called so."""
    lines = (Line("a", (Point(0, 50, 40, 60), Point(8, 20, 10, 30))), Line("b", (Point(0, 60), Point(8, 30))))
    figure = Bands("both networks", (Panel("", "eps", "accuracy (%)", lines),))
    if name == "pictures":
        figure = Pictures("an image", ((picture("first", [[0.0, 1.0]]), None),))
    table = Tabular("Accuracy", ("eps", "a", "b"), (("0", "50.0", "60.0"), ("8/255", "20.0", "30.0")))
    made = Analysis(
        name, f"The {name}", "It falls as `eps` grows.", f"hardy analyse {name} a b", (table,), figure, (row(),)
    )
    write(folder / f"{name}.json", made)
    return folder / f"{name}.json"
