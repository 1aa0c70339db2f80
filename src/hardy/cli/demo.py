"""hardy demo: the RLFAT paper in miniature, on digits that come with scikit-learn."""

import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from hardy.attacks import NATTACK, Linf
from hardy.attacks.names import named
from hardy.cli.console import err, out, percent, table
from hardy.cli.evaluate import Options, columns_of, measure, ready
from hardy.cli.flags import parse
from hardy.cli.train import duration, with_progress
from hardy.models.checkpoints import load
from hardy.recipes import recipe
from hardy.recipes.digits import EPS
from hardy.results import append, read

METHODS = ("standard", "pgdat", "trades", "rlfat-p", "rlfat-t")
_NATTACK_IMAGES = 100
_SAYS = (
    "What this shows: without an adversary in training, robustness is nil. What it does not: the paper's claim about natural\n"
    "images. A block shuffle of k = 2 rolls an image around, which on digits scattered over a canvas amounts to showing them\n"
    "at more places; networks this small and images this plain say nothing about features."
)


@dataclass(frozen=True)
class Demo:
    """Train standard, PGD-AT, TRADES, RLFAT-P and RLFAT-T on digits, attack each, and print the table.

    Stopped, the same command goes on where it was.
    """

    out: Path = Path("runs/demo")  # folder of the five runs


def main(args: list[str]) -> None:
    """Hardy demo [--out FOLDER]."""
    options = parse(Demo, args, "hardy demo")
    started = time.monotonic()
    # black-box search at a sixth of its usual length, so that the whole takes minutes
    black_box = NATTACK(Linf(EPS), steps=100, population=100)
    attacks = {**{name: named(name, EPS) for name in ("clean", "fgsm", "pgd-20", "cw-20")}, "nattack": black_box}
    cells = []
    for i, method in enumerate(METHODS):
        run = replace(recipe(f"{method}-digits"), name=f"{method}-digits")
        folder = with_progress(run, options.out / method, data_root=None, offline=True, device=torch.device("cpu"))
        test = run.data.load()[1]
        results = folder / "results.jsonl"
        rows = read(results)[0] if results.exists() else []
        if len(columns_of(rows)) < len(attacks):
            asked = Options(source=folder, n=len(test), n_black_box=_NATTACK_IMAGES, eps=EPS)
            rows = measure(ready(load(folder), "cpu", "float32"), test, attacks, asked, run.name, {"weights": "last"})
            append(results, rows)
        found = columns_of(rows)
        cells.append([method, *(percent(found[name].value, found[name].low, found[name].high) for name in attacks)])
        done = time.monotonic() - started
        left = duration(done / (i + 1) * (len(METHODS) - i - 1))
        err.print(f"{i + 1} of {len(METHODS)} methods after {duration(done)}, about {left} left")
    tested = f"{len(test)} test digits, {_NATTACK_IMAGES} for NATTACK"
    table(
        f"Accuracy in % with 95 % intervals; {tested}; Linf perturbations of eps {EPS:g}", ["method", *attacks], cells
    )
    out.print(f"\n{_SAYS}\n\nRuns, weights and all numbers: {options.out}")
