"""What bfloat16 changes in robustness: the same attack, and the same trainings, in bfloat16 and in float32, on the same images.

    python benchmarks/parity.py --out runs/parity          # two CPU cores: an hour; the same command goes on after a kill
    python benchmarks/parity.py --out runs/parity --device cuda --width 64 --epochs 30

Verdicts are float32 forward passes in all of it.

    attack     PGD-20 on a published network, crafted in float32 and in bfloat16
    training   PGD-AT with the average of weights of the `-modern` recipe, on the first 5,000 training images, in either precision
               from the same seeds; then PGD-20, crafted in float32
    only one   images that are broken in one of the two only
    points     robust accuracy in bfloat16 less that in float32; negative: bfloat16 trains a weaker network, or the attack in
               bfloat16 is the stronger one; with its 95 % interval of test sampling (of paired images, Agresti 2013, eq. 11.3)

Two trainings from one seed that round otherwise part like those from two seeds: how far seeds are apart stands beside.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
from timing import Flags, headed, machine, positive, written

import hardy
from hardy.attacks import PGD, Linf
from hardy.data import Split
from hardy.evaluation.stream import classify, under_attack
from hardy.files import make_folder, write_text
from hardy.models import Classifier
from hardy.training.precision import Precision, prepare
from hardy.training.run import Run, Validation

ATTACKED = "pgdat-cifar10-small"
PGD_20 = PGD(Linf(8 / 255), 20, 2 / 255)
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")


def trained(seed: int, precision: Precision, width: int, epochs: int) -> Run:
    """The run of one seed in one precision: of the published networks' images, with the average of the modern recipe."""
    small, modern = hardy.recipe(ATTACKED), hardy.recipe("pgdat-cifar10-modern")
    name = f"{precision}-{seed}"
    network = replace(small.model, width=width)
    return replace(
        small, name=name, model=network, epochs=epochs, average=modern.average, seed=seed, precision=precision,
        validation=Validation(),
    )  # fmt: skip


def robust(model: Classifier, split: Split, precision: Precision) -> torch.Tensor:
    """Bool (N,): images that PGD-20, crafted in that precision, leaves correct."""
    device = split.labels.device
    prepare(model, device, precision)
    return under_attack(model, split, PGD_20, classify(model, split).correct, batch=500).correct.cpu()


def compared(in_float32: torch.Tensor, in_bfloat16: torch.Tensor) -> dict[str, Any]:
    """Two verdicts of the same images, beside one another."""
    n = len(in_float32)
    lost, won = int((in_float32 & ~in_bfloat16).sum()), int((~in_float32 & in_bfloat16).sum())
    half = 1.96 * ((lost + won - (won - lost) ** 2 / n) ** 0.5) / n
    points = 100 * (won - lost) / n
    accuracies = {"float32": float(in_float32.float().mean()), "bfloat16": float(in_bfloat16.float().mean())}
    return {"n": n, **accuracies, "only one": lost + won, "points": points, "interval": 100 * half}


def kept(file: Path, model: Classifier, split: Split, precision: Precision) -> torch.Tensor:
    """The verdicts of a file of before, or new ones."""
    if not file.exists():
        write_text(file, json.dumps(robust(model, split, precision).int().tolist()))
    found = torch.tensor(json.loads(file.read_text(encoding="utf-8")), dtype=torch.bool)
    if len(found) != len(split):
        raise SystemExit(f"{file} is of {len(found)} images, and --n is {len(split)}; name another --out.")
    return found


def seeds(out: Path, split: Split, count: int, width: int, epochs: int) -> Iterator[dict[str, Any]]:
    """A row for each seed."""
    device = split.labels.device
    for seed in range(count):
        found = []
        for precision in PRECISIONS:
            run = trained(seed, precision, width, epochs)
            folder = hardy.train(run, out / run.name, offline=True, device=device)
            print(f"{run.name} is trained", flush=True)
            found.append(kept(out / f"{run.name}.json", hardy.load(folder, "last"), split, "float32"))
        yield {"seed": seed, **compared(*found)}


def table(found: dict[str, Any]) -> str:
    """The text for people."""
    lines = [*headed(found), f"{'':<18}{'float32':>9}{'bfloat16':>10}{'only one':>10}{'points':>8}{'95 %':>7}"]
    rows = [("attack", found["attack"]), *((f"training, seed {row['seed']}", row) for row in found["seeds"])]
    for name, row in rows:
        accuracies = f"{row['float32']:>9.2%}{row['bfloat16']:>10.2%}"
        lines.append(f"{name:<18}{accuracies}{row['only one']:>10}{row['points']:>8.2f}{row['interval']:>7.2f}")
    told = found["training"]
    lines.append(f"training, mean of the seeds' points: {told['points']:.2f}")
    if told["between seeds"] is not None:
        lines.append(f"standard deviation between seeds in float32: {told['between seeds']:.2f} points")
    return "\n".join(lines)


def main(args: list[str] | None = None) -> None:
    """Train, measure and print; wrong flags end the program with a sentence and exit code 2."""
    parser = Flags(__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the trainings and verdicts")
    parser.add_argument("--n", type=positive, default=10_000, help="CIFAR-10's first test images (10,000)")
    parser.add_argument("--seeds", type=positive, default=3, help="trainings in each precision (3)")
    parser.add_argument("--width", type=positive, default=8, help="of the trained PreActResNet-18 (8)")
    parser.add_argument("--epochs", type=positive, default=10, help="of each training (10)")
    flags = parser.read(args)
    sizes = {name: getattr(flags, name) for name in ("n", "seeds", "width", "epochs")}
    _, test = parser.made(lambda: hardy.recipe(ATTACKED).data.load(offline=True))
    split = test.take(slice(flags.n)).to(flags.device)
    make_folder(flags.out)
    found: dict[str, Any] = {"machine": machine(flags.device), "settings": {**sizes, "device": flags.device.type}}
    attacked = [
        kept(flags.out / f"attack-{precision}.json", hardy.load(ATTACKED), split, precision) for precision in PRECISIONS
    ]
    found["attack"] = compared(*attacked)
    found["seeds"] = parser.made(lambda: list(seeds(flags.out, split, flags.seeds, flags.width, flags.epochs)))
    of_float32 = [100 * row["float32"] for row in found["seeds"]]
    found["training"] = {
        "points": mean(row["points"] for row in found["seeds"]),
        "between seeds": stdev(of_float32) if len(of_float32) > 1 else None,
    }
    print(table(found))
    written(flags.json, found)


if __name__ == "__main__":
    main()
