"""PGD-AT, TRADES, RLFAT-P and RLFAT-T on all of CIFAR-10, at one budget: trained, measured, and set in a table.

    benchmarks/gpu.sh DATA --minutes 30        # a CUDA GPU; the same command goes on after a kill

PreActResNet-18 and the `-modern` recipe, all methods for the same number of epochs: as many as fit into 65 % of the minutes, by
steps timed here the first time, and kept in the folder's plan.json. Then clean accuracy, PGD-20 and CW-20 on 10,000 images, and
AutoAttack on more and more of them until the minutes are over: the table has the most that all four were measured on.
"""

import argparse
import json
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

import hardy
from hardy.files import make_folder, write_text
from hardy.results import Measurement, read
from hardy.training.estimate import seconds_per_step

METHODS = ("pgdat", "trades", "rlfat-p", "rlfat-t")
TRAINING = 0.65  # of the minutes
COUNTS = (100, 200, 500, 1_000, 2_000, 5_000, 10_000)  # images of AutoAttack, in turns
COLUMNS = {"clean": "clean accuracy", "PGD-20": "accuracy under pgd-20", "CW-20": "accuracy under cw-20"}
AUTOATTACK = "accuracy under autoattack"


@dataclass(frozen=True)
class Work:
    """What the flags ask for. until: when no new piece is begun."""

    data: Path
    out: Path
    device: str
    images: int
    until: float
    small: tuple[str, ...]  # flags of `hardy train` that make it a trial

    def run(self, *command: str) -> None:
        """A command of hardy, its own lines on the screen; exits as it does where it fails or is stopped."""
        print("hardy", *command, flush=True)
        places = ["--data-root", str(self.data), "--offline", "--device", self.device]
        ended = subprocess.run([sys.executable, "-P", "-m", "hardy", *command, *places], check=False)
        if ended.returncode:
            sys.exit(ended.returncode)

    def folder(self, method: str) -> Path:
        """Where a method's run is."""
        return self.out / method


def planned(work: Work, minutes: float) -> dict[str, Any]:
    """The plan of before, or a new one."""
    file = work.out / "plan.json"
    if file.exists():
        return dict(json.loads(file.read_text(encoding="utf-8")))
    steps = {}
    for method in METHODS:
        recipe = hardy.recipe(f"{method}-cifar10-modern")
        images = 50_000 - recipe.validation.images
        steps[method] = seconds_per_step(replace(recipe, seed=0), torch.device(work.device)) * (images // recipe.batch)
    epochs = max(1, int(TRAINING * 60 * minutes / sum(steps.values())))
    plan = {"minutes": minutes, "epochs": epochs, "seconds of an epoch": steps}
    make_folder(work.out)
    write_text(file, json.dumps(plan, indent=1) + "\n")
    return plan


def measured(folder: Path) -> list[Measurement]:
    """The rows of a run; none where nothing was measured."""
    file = folder / "results.jsonl"
    return read(file)[0] if file.exists() else []


def table(work: Work) -> str:
    """The rows as Markdown; AutoAttack's on the most images that all methods have."""
    rows = {method: measured(work.folder(method)) for method in METHODS}
    counts = [{row.n for row in of if row.what == AUTOATTACK} for of in rows.values()]
    common = max(set.intersection(*counts), default=None)

    def cell(of: list[Measurement], what: str, n: int | None) -> str:
        found = [row for row in of if row.what == what and n in (None, row.n)]
        if not found:
            return "not measured"
        return f"{100 * found[-1].value:.1f} [{100 * (found[-1].low or 0):.1f}, {100 * (found[-1].high or 0):.1f}]"

    last = "AutoAttack" if common is None else f"AutoAttack, {common:,} images"
    lines = ["| method | " + " | ".join([*COLUMNS, last]) + " |", "|---" * (len(COLUMNS) + 2) + "|"]
    for method, of in rows.items():
        cells = [*(cell(of, what, work.images) for what in COLUMNS.values()), cell(of, AUTOATTACK, common)]
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(args: list[str] | None = None) -> None:
    """Do what is left, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with cifar-10-batches-py")
    parser.add_argument("--minutes", type=float, default=30.0, help="for all of it (30)")
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--images", type=int, default=10_000, help="test images (10,000)")
    parser.add_argument("--train", default="", metavar="FLAGS", help="more flags of `hardy train`, for a trial")
    flags = parser.parse_args(args)
    if not flags.minutes > 0:
        parser.error(f"--minutes is {flags.minutes}; it must be above 0.")
    if not 1 <= flags.images <= 10_000:
        parser.error(f"--images is {flags.images}; it must be 1 to 10,000, the number of test images.")
    if not (flags.data / "cifar-10-batches-py").is_dir():
        parser.error(f"There is no cifar-10-batches-py in {flags.data}; DATA is the folder that holds it.")
    if flags.device.startswith("cuda") and not torch.cuda.is_available():
        parser.error("--device is cuda, and torch finds no such device here.")
    until = time.monotonic() + 60 * flags.minutes
    work = Work(flags.data, flags.out, flags.device, flags.images, until, tuple(flags.train.split()))
    plan = planned(work, flags.minutes)
    print(f"{plan['epochs']} epochs of each method", flush=True)
    for method in METHODS:
        epochs = ["--epochs", str(plan["epochs"])]
        work.run("train", f"{method}-cifar10-modern", *epochs, *work.small, "--out", str(work.folder(method)))
    precision = ["--precision", "bfloat16"] if torch.device(work.device).type == "cuda" else []
    for method in METHODS:
        some = ["--attacks", "clean,pgd-20,cw-20", "--n", str(work.images)]
        known = {row.what for row in measured(work.folder(method)) if row.n == work.images}
        if not set(COLUMNS.values()) <= known:
            work.run("evaluate", str(work.folder(method)), *some, *precision)
    for n in (n for n in COUNTS if n <= work.images):
        for method in METHODS:
            known = any(row.what == AUTOATTACK and row.n == n for row in measured(work.folder(method)))
            if not known and time.monotonic() < work.until:
                work.run("evaluate", str(work.folder(method)), "--attacks", "autoattack", "--n", str(n), *precision)
    made = f"{table(work)}\n\n{plan['epochs']} epochs of each, best weights on held-out images; intervals of test sampling.\n"
    write_text(work.out / "table.md", made)
    print(made)


if __name__ == "__main__":
    main()
