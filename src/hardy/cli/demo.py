"""hardy demo: the RLFAT paper in miniature, on digits that come with scikit-learn."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hardy.attacks import NATTACK, Attack, Linf
from hardy.attacks.names import named
from hardy.cli.console import err, out, percent, table
from hardy.cli.evaluate import Options, about_weights, measure, ready
from hardy.cli.flags import parse
from hardy.cli.train import duration, with_progress
from hardy.describe import describe
from hardy.models.checkpoints import find_weights, load
from hardy.recipes import recipe
from hardy.recipes.digits import EPS
from hardy.results import Measurement, read
from hardy.training.record import read_run

METHODS = ("standard", "pgdat", "trades", "rlfat-p", "rlfat-t")
_IMAGES, _NATTACK_IMAGES = 500, 100
_SAYS = (
    "What this shows: how far each attack brings down a network that never met an adversary, and the others. What it does not:\n"
    "the paper's claim about natural images. A block shuffle with k = 2 rolls an image around, which for digits scattered\n"
    "over a canvas amounts to showing them at more places. NATTACK runs at a sixth of its usual queries and is weak here."
)


@dataclass(frozen=True)
class Demo:
    """Train standard, PGD-AT, TRADES, RLFAT-P and RLFAT-T on digits, attack each, and print the table.

    Stopped, the same command goes on where it was.
    """

    out: Path = Path("runs/demo")  # folder of the five runs


def main(args: list[str]) -> None:
    """Run `hardy demo [--out FOLDER]`."""
    options = parse(Demo, args, "hardy demo")
    started = time.monotonic()
    # black-box search at a sixth of its usual length, so that the whole takes minutes
    black_box = NATTACK(Linf(EPS), steps=100, population=100)
    attacks = {**{name: named(name, EPS) for name in ("clean", "fgsm", "pgd-20", "cw-20")}, "nattack": black_box}
    cells = []
    for i, method in enumerate(METHODS):
        run = recipe(f"{method}-digits")
        folder = with_progress(run, options.out / method, data_root=None, offline=True, device=torch.device("cpu"))
        found = _measured(folder, attacks)
        cells.append([method, *(percent(row.value, row.low, row.high) for row in found)])
        done = time.monotonic() - started
        left = duration(done / (i + 1) * (len(METHODS) - i - 1))
        err.print(f"{i + 1} of {len(METHODS)} methods after {duration(done)}, about {left} left")
    tested = f"{_IMAGES} test digits, {_NATTACK_IMAGES} for NATTACK"
    table(
        f"Accuracy in % with 95 % intervals; {tested}; Linf perturbations of eps {EPS:g}", ["method", *attacks], cells
    )
    out.print(f"\n{_SAYS}\n\nRuns, weights and all numbers: {options.out}")


def _measured(folder: Path, attacks: Mapping[str, Attack | None]) -> list[Measurement]:
    """A row for each attack: one measured before on the same weights and images, or a new one, added to the run's."""
    file, which = find_weights(folder, "last")
    about = {**about_weights(file, which), "precision": "float32"}
    asked = Options(source=folder, n=_IMAGES, n_black_box=_NATTACK_IMAGES, eps=EPS)
    results = folder / "results.jsonl"
    known = read(results)[0] if results.exists() else []
    rows = []
    for name, attack in attacks.items():
        n = asked.images(attack)
        rows += [row for row in known if _is_of(row, attack, about, asked, n)][-1:] or _new(
            folder, name, attack, asked, about
        )
    return rows


def _is_of(row: Measurement, attack: Attack | None, about: Mapping[str, Any], asked: Options, n: int) -> bool:
    settings = row.settings
    same = all(settings.get(key) == value for key, value in about.items()) and row.n == n
    if attack is None:
        return same and row.what == "clean accuracy"
    return same and settings.get("attack") == describe(attack) and settings.get("seed") == asked.seed


def _new(folder: Path, name: str, attack: Attack | None, asked: Options, about: Mapping[str, Any]) -> list[Measurement]:
    test = read_run(folder).data.load()[1]
    model = ready(load(folder, "last"), "cpu", "float32")
    return measure(model, test, {name: attack}, asked, folder.name, about, folder / "results.jsonl")
