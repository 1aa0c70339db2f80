"""AutoAttack: this library against its reference, pyautoattack: robust accuracy, passes, seconds, agreement image by image.

    python benchmarks/autoattack.py                                  # a published robust network, 200 images, 3 seeds
    python benchmarks/autoattack.py --network undefended             # one trained here without an adversary, in a minute
    python benchmarks/autoattack.py --bfloat16                       # and crafting in bfloat16 beside it
    python benchmarks/autoattack.py --norm l2 --eps 0.5 --seeds 1

Run it on an idle machine, where this library is installed with its test extra (`pip install --editable '.[test]'`) and
$HARDY_DATA holds CIFAR-10. Both get the same network, images and batch, in one process; each part of the standard version is run
by the one and then by the other on what that one's own parts before it left, seeds in turn. The reference is called part by
part (`version="custom"`), which is what its standard version does itself.

    robust     images of n that are still correct after the part, mean of the seeds
    passes     forward (and backward) passes of single images through the network, in thousands, mean of the seeds; they do not
               depend on the machine. This library's hold the float32 passes by which every claimed break is verified
    ratio      seconds of the reference over those of this library, in all parts together
    disagree   images of n whose verdict differs: between seeds of the reference, and between the two with equal seeds; pairs
               are averaged
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from statistics import mean

import torch
from torch import Tensor, nn

import hardy
from hardy.attacks import AutoAttack
from hardy.attacks.balls import Ball, in_norm
from hardy.data import Split
from hardy.evaluation.stream import Counted, classify, under_attack
from hardy.models import Classifier, frozen
from hardy.objectives import Standard
from hardy.training.precision import multiplies_bfloat16, prepare

UNDEFENDED = "undefended"
EPOCHS = 4  # of the undefended network


@dataclass
class Found:
    """What one contestant makes of each part, for one seed."""

    robust: list[Tensor] = field(default_factory=list)  # bool (N,) after each part
    seconds: list[float] = field(default_factory=list)
    forwards: list[int] = field(default_factory=list)
    backwards: list[int] = field(default_factory=list)


Part = Callable[[Classifier, Split, str, Tensor, int], tuple[Tensor, int, int]]


def ours(ball: Ball, batch: int) -> Part:
    """One part of AutoAttack by this library."""

    def part(model: Classifier, split: Split, name: str, robust: Tensor, seed: int) -> tuple[Tensor, int, int]:
        attack = AutoAttack(ball).parts[name]
        found = under_attack(model, split, attack, robust, seed=seed, batch=batch)
        return found.correct, found.forwards, found.backwards

    return part


def theirs(ball: Ball, batch: int) -> Part:
    """The same part by the reference."""
    try:
        from pyautoattack import AutoAttack as Reference
    except ImportError as error:
        sys.exit(f"autoattack.py: {error}; `pip install --editable '.[test]'` in the repository's folder installs it.")

    def part(model: Classifier, split: Split, name: str, robust: Tensor, seed: int) -> tuple[Tensor, int, int]:
        counted, left = _Counting(model), robust.nonzero().squeeze(1)
        held = robust.clone()
        if len(left):
            norm = {"Linf": "Linf", "L2": "L2"}[type(ball).__name__]
            device = split.labels.device
            attack = Reference(
                counted, attacks=[name], version="custom", eps=ball.eps, norm=norm, seed=seed, device=device
            )
            # what its standard version sets
            attack.apgd.n_restarts = attack.apgd_targeted.n_restarts = attack.fab.n_restarts = 1
            attack.fab.n_target_classes = attack.apgd_targeted.n_target_classes = 9
            attack.square.n_queries = 5000
            x, y = split.x(left), split.labels[left]
            with frozen(model):
                x_adv, _ = attack.run_standard_evaluation(x, y, batch_size=batch)
                held[left] = torch.cat([model(some) for some in x_adv.split(batch)]).argmax(1) == y
        return held, counted.inner.forwards, counted.inner.backwards

    return part


class _Counting(nn.Module):
    """Counts as this library does; the reference asks for a module."""

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.inner = Counted(model)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


def run(part: Part, model: Classifier, split: Split, names: list[str], clean: Tensor, seed: int, found: Found) -> None:
    """All parts of one contestant and seed, into `found`."""
    wait = torch.cuda.synchronize if split.labels.device.type == "cuda" else lambda: None
    robust = clean
    for name in names:
        wait()
        started = time.perf_counter()
        robust, forwards, backwards = part(model, split, name, robust, seed)
        wait()
        found.seconds.append(time.perf_counter() - started)
        found.robust.append(robust)
        found.forwards.append(forwards)
        found.backwards.append(backwards)


def network(name: str, device: torch.device) -> tuple[Classifier, Split]:
    """(the network, test images); the undefended one is trained here on the images of the published ones."""
    robust = hardy.recipe("pgdat-cifar10-small")
    if name != UNDEFENDED:
        return hardy.load(name).to(device), robust.data.load(offline=True)[1]
    settings = replace(
        robust, name=UNDEFENDED, objective=Standard(), epochs=EPOCHS, validation=replace(robust.validation, images=0)
    )
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        return hardy.load(hardy.train(settings, Path(folder) / "run")).to(device), robust.data.load(offline=True)[1]


def table(found: dict[str, list[Found]], names: list[str], n: int, rival: str) -> str:
    """The text for people."""
    columns = f"{'':<17}{'':<9}{'robust':>8}{'forwards':>11}{'backwards':>11}{'seconds':>10}"
    lines = [columns]
    for contestant, seeds in found.items():
        for i, name in enumerate(names):
            robust = mean(float(one.robust[i].sum()) for one in seeds)
            passes = [mean(getattr(one, what)[i] for one in seeds) / 1000 for what in ("forwards", "backwards")]
            lines.append(
                f"{contestant:<17}{name:<9}{robust:>8.1f}{passes[0]:>11,.1f}{passes[1]:>11,.1f}"
                f"{mean(one.seconds[i] for one in seeds):>10.1f}"
            )
    total = {name: sum(sum(one.seconds) for one in seeds) for name, seeds in found.items()}
    lines += [f"{name}: {total[rival] / total[name]:.2f} times the speed of {rival}" for name in found if name != rival]
    final = {name: [one.robust[-1] for one in seeds] for name, seeds in found.items()}
    for name, seeds in final.items():
        if len(seeds) > 1:
            lines.append(
                f"{name} disagrees with itself under another seed on {_differ(combinations(seeds, 2)):.1f} of {n}"
            )
        if name != rival:
            lines.append(
                f"{name} disagrees with {rival} on {_differ(zip(seeds, final[rival], strict=True)):.1f} of {n}"
            )
    return "\n".join(lines)


def _differ(pairs) -> float:
    return mean(float((a != b).sum()) for a, b in pairs)


def main(args: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="rlfat-p-cifar10-small", help=f"a published one, or {UNDEFENDED}")
    parser.add_argument("--n", type=int, default=200, help="test images, the first ones (200)")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--norm", choices=["linf", "l2"], default="linf")
    parser.add_argument("--eps", type=float, default=8 / 255, help="radius in pixel units of [0, 1] (8/255)")
    parser.add_argument("--parts", default="apgd-ce,apgd-t,fab-t,square", help="those of the standard version")
    parser.add_argument("--batch", type=int, default=200)
    parser.add_argument("--bfloat16", action="store_true", help="craft in bfloat16, too")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--json", type=Path, metavar="FILE", help="a new file for the same as JSON")
    flags = parser.parse_args(args)
    if flags.json is not None and (flags.json.exists() or not flags.json.parent.is_dir()):
        parser.error(f"--json is {flags.json}; it must be a file that does not exist yet, in a folder that does.")
    device, ball, names = torch.device(flags.device), in_norm(flags.norm, flags.eps), flags.parts.split(",")
    model, test = network(flags.network, device)
    split = test.take(slice(flags.n)).to(device)
    plain = prepare(model, device, "float32")
    contestants = {"hardy": ours(ball, flags.batch), "pyautoattack": theirs(ball, flags.batch)}
    if flags.bfloat16:
        if not multiplies_bfloat16(device):
            print(
                "This machine multiplies bfloat16 only by way of float32: no gain is to be expected.", file=sys.stderr
            )
        contestants["hardy, bfloat16"] = ours(ball, flags.batch)
    clean = classify(plain, split).correct
    found: dict[str, list[Found]] = {name: [] for name in contestants}
    for seed in range(flags.seeds):
        for name, part in contestants.items():
            found[name].append(Found())
            model.autocast = torch.bfloat16 if name.endswith("bfloat16") else None
            run(part, model, split, names, clean, seed, found[name][-1])
    print(
        f"{flags.network}, {len(split)} images, {int(clean.sum())} correct, {ball}, {flags.seeds} seeds, batch {flags.batch}, "
        f"{torch.get_num_threads()} threads, {device}"
    )
    print(table(found, names, len(split), "pyautoattack"))
    if flags.json is not None:
        rows = {
            name: [{**vars(one), "robust": [r.tolist() for r in one.robust]} for one in seeds]
            for name, seeds in found.items()
        }
        flags.json.write_text(json.dumps({"settings": vars(flags) | {"json": str(flags.json)}, "found": rows}))


if __name__ == "__main__":
    main()
