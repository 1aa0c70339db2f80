"""hardy demo: the RLFAT paper in miniature, on digits that come with scikit-learn."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import torch

from hardy.attacks import NATTACK, Attack, Linf
from hardy.attacks.names import named
from hardy.cli.console import err, out, percent, progress, table
from hardy.cli.evaluate import Store, storing
from hardy.cli.flags import parse
from hardy.cli.report import written
from hardy.cli.train import duration, with_progress
from hardy.jobs.measure import measured
from hardy.recipes import recipe
from hardy.recipes.digits import EPS
from hardy.results import Measurement

METHODS = ("standard", "pgdat", "trades", "rlfat-p", "rlfat-t")
_IMAGES, _NATTACK_IMAGES = 500, 100
_SAYS = (
    "What this shows: how far each attack brings down a network that never met an adversary, and the others. What it does not:\n"
    "the paper's claim about natural images. A block shuffle with k = 2 rolls an image around, which for digits scattered\n"
    "over a canvas amounts to showing them at more places. NATTACK is weak here: it makes a twentieth of its usual queries,\n"
    "and can hardly move pixels that are quite black, as most of these are."
)


@dataclass(frozen=True)
class Demo:
    """Train standard, PGD-AT, TRADES, RLFAT-P and RLFAT-T on digits, attack each, print the table, and write a page.

    Stopped, the same command goes on where it was.
    """

    out: Path = Path("runs/demo")  # folder of the five runs


def main(args: list[str]) -> None:
    """Run `hardy demo [--out FOLDER]`."""
    options = parse(Demo, args, "hardy demo")
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)  # tensors are so small that more threads mostly wait for each other
        with storing() as store:
            compare(options.out, store)
    finally:
        torch.set_num_threads(threads)


def compare(folder: Path, store: Store) -> None:
    """Train and measure what is not yet, with a line on how long it takes, and print the table."""
    # black-box search of a twentieth of its usual queries, so that the whole takes minutes, and of steps as much longer
    black_box = NATTACK(Linf(EPS), steps=50, population=60, learning_rate=0.03)
    attacks = {**{name: named(name, Linf(EPS)) for name in ("clean", "fgsm", "pgd-20", "cw-20")}, "nattack": black_box}
    cells = []
    started = time.monotonic()
    took: list[float] = []  # seconds of each method begun here: those done before say nothing of the others
    for i, method in enumerate(METHODS, start=1):
        begun, is_new = time.monotonic(), not (folder / method).exists()
        with_progress(
            recipe(f"{method}-digits"), folder / method, data_root=None, offline=True, device=torch.device("cpu")
        )
        found = _measured(folder / method, attacks, store)
        cells.append([method, *(percent(row.value, row.low, row.high) for row in found)])
        took += [time.monotonic() - begun] if is_new else []
        expected = f", about {duration(mean(took) * (len(METHODS) - i))} left" if took and i < len(METHODS) else ""
        err.print(f"{i} of {len(METHODS)} methods after {duration(time.monotonic() - started)}{expected}")
    tested = f"{_IMAGES} test digits, {_NATTACK_IMAGES} for NATTACK"
    table(
        f"Accuracy in % with 95 % intervals; {tested}; Linf perturbations of eps {EPS:g}", ["method", *attacks], cells
    )
    out.print(f"\n{_SAYS}\n\nRuns, weights and all numbers: {folder}")
    page, *_ = written([folder], folder / "report.html")
    out.print(f"The same with more about each run, as a page: {page}")


def _measured(folder: Path, attacks: Mapping[str, Attack | None], store: Store) -> list[Measurement]:
    """A row for each attack: one measured before on the same weights and images, or a new one, added to the run's."""
    rows = []
    with progress() as display:
        for name, attack in attacks.items():
            task = display.add_task(name, total=None, note="")

            def show(_: str, decided: int, total: int, robust: int, task: Any = task) -> None:
                display.update(task, completed=decided, total=total, note=f"{robust} robust")

            n = _IMAGES if attack is None or attack.copies == 1 else _NATTACK_IMAGES
            rows.append(measured(folder, name, attack, n, progress=show, store=store))
            display.remove_task(task)
            err.print(f"{name}: {percent(rows[-1].value)} %, {rows[-1].seconds:.0f} s")
    return rows
