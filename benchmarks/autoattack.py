"""AutoAttack: this library against its reference, pyautoattack: robust accuracy, passes, seconds, agreement image by image.

    python benchmarks/autoattack.py                                  # a published robust network, 200 images, 3 seeds
    python benchmarks/autoattack.py --network undefended             # one trained here without an adversary, in a minute
    python benchmarks/autoattack.py --bfloat16                       # and crafting in bfloat16 beside it
    python benchmarks/autoattack.py --norm l2 --eps 0.5 --seeds 1

Run it on an idle machine, where this library is installed with its test extra (`pip install --editable '.[test]'`) and
$HARDY_DATA holds CIFAR-10. Both get the same network, images and batch, in one process; each part of the standard version is run
by the one and then by the other on what that one's own parts before it left, seeds in turn. Of the reference, the attack objects
of its standard version are called, without the checks and the clean accuracy that it begins with.

    robust     images of n that are still correct after the part, mean of the seeds
    passes     forward (and backward) passes of single images through the network, in thousands, mean of the seeds; they do not
               depend on the machine. Both hold the float32 passes by which breaks are verified
    ratio      seconds of the reference over those of this library, in all parts together
    disagree   images of n whose verdict differs: between seeds of the reference, and between the two with equal seeds; pairs
               are averaged
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import combinations
from pathlib import Path
from statistics import mean

import torch
from timing import Flags, machine, positive, some_of, written
from torch import Tensor, nn

import hardy
from hardy.attacks import AutoAttack
from hardy.attacks.balls import L2, Ball, Linf
from hardy.data import Split
from hardy.evaluation.stream import Counted, classify, under_attack, verdict
from hardy.models import Classifier, frozen
from hardy.models.published import published
from hardy.objectives import Standard
from hardy.training.precision import multiplies_bfloat16, prepare

UNDEFENDED = "undefended"
EPOCHS = 4  # of the undefended network
PARTS = list(AutoAttack().parts)
OURS, RIVAL, OURS_IN_BFLOAT16 = "hardy", "pyautoattack", "hardy, bfloat16"


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
        found = under_attack(model, split, AutoAttack(ball).parts[name], robust, seed=seed, batch=batch)
        return found.correct, found.forwards, found.backwards

    return part


def theirs(ball: Ball, batch: int) -> Part:
    """The same part by the reference."""
    try:
        from pyautoattack import AutoAttack as Reference
    except ImportError as error:
        sys.exit(f"autoattack.py: {error}; `pip install --editable '.[test]'` in the repository's folder installs it.")

    def part(model: Classifier, split: Split, name: str, robust: Tensor, seed: int) -> tuple[Tensor, int, int]:
        counted, held = _Counting(model), robust.clone()
        norm, device = type(ball).__name__, split.labels.device
        whole = Reference(counted, version="standard", eps=ball.eps, norm=norm, seed=seed, device=device)
        whole.fab.targeted = True
        attack = {
            "apgd-ce": whole.apgd, "apgd-t": whole.apgd_targeted, "fab-t": whole.fab, "square": whole.square
        }[name]  # fmt: skip
        left = robust.nonzero().squeeze(1)
        with frozen(model), torch.no_grad():
            for some in left.split(batch) if len(left) else ():
                x, y = split.x(some), split.labels[some]
                held[some] = verdict(counted.inner, attack.perturb(x, y), y)
        return held, counted.inner.forwards, counted.inner.backwards

    return part


class _Counting(nn.Module):
    """Counts as this library does; the reference asks for a module."""

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.inner = Counted(model)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


def run(part: Part, model: Classifier, split: Split, names: list[str], clean: Tensor, seed: int) -> Found:
    """All parts by one contestant with one seed."""
    wait = torch.cuda.synchronize if split.labels.device.type == "cuda" else lambda: None
    robust, found = clean, Found()
    for name in names:
        wait()
        started = time.perf_counter()
        robust, forwards, backwards = part(model, split, name, robust, seed)
        wait()
        found.seconds.append(time.perf_counter() - started)
        found.robust.append(robust)
        found.forwards.append(forwards)
        found.backwards.append(backwards)
    return found


def measure(
    model: Classifier,
    split: Split,
    ball: Ball,
    names: list[str],
    clean: Tensor,
    *,
    seeds: int,
    batch: int,
    bfloat16: bool,
) -> dict[str, list[Found]]:
    """What each contestant makes of all parts, seed by seed. clean: bool (N,), which images are correct unperturbed."""
    contestants = {OURS: ours(ball, batch), RIVAL: theirs(ball, batch)}
    if bfloat16:
        contestants[OURS_IN_BFLOAT16] = contestants[OURS]
    found: dict[str, list[Found]] = {name: [] for name in contestants}
    for seed in range(seeds):
        for name, part in contestants.items():
            model.autocast = torch.bfloat16 if name == OURS_IN_BFLOAT16 else None
            found[name].append(run(part, model, split, names, clean, seed))
    return found


def network(name: str) -> tuple[Classifier, Split]:
    """(the network, test images); the undefended one is trained here on the images of the published ones.

    Raises: UsageError where CIFAR-10 is not there.
    """
    robust = hardy.recipe("pgdat-cifar10-small")
    if name != UNDEFENDED:
        return hardy.load(name), robust.data.load(offline=True)[1]
    settings = replace(
        robust, name=UNDEFENDED, objective=Standard(), epochs=EPOCHS, validation=replace(robust.validation, images=0)
    )
    with tempfile.TemporaryDirectory() as folder:
        return hardy.load(hardy.train(settings, Path(folder) / "run")), robust.data.load(offline=True)[1]


def table(found: dict[str, list[Found]], names: list[str], n: int) -> str:
    """The text for people."""
    lines = [f"{'':<17}{'':<9}{'robust':>8}{'forwards':>11}{'backwards':>11}{'seconds':>10}   (passes in thousands)"]
    for contestant, seeds in found.items():
        for i, name in enumerate(names):
            robust = mean(float(one.robust[i].sum()) for one in seeds)
            passes = [mean(getattr(one, what)[i] for one in seeds) / 1000 for what in ("forwards", "backwards")]
            lines.append(
                f"{contestant:<17}{name:<9}{robust:>8.1f}{passes[0]:>11,.1f}{passes[1]:>11,.1f}"
                f"{mean(one.seconds[i] for one in seeds):>10.1f}"
            )
    total = {name: sum(sum(one.seconds) for one in seeds) for name, seeds in found.items()}
    lines += [f"{name}: {total[RIVAL] / total[name]:.2f} times the speed of {RIVAL}" for name in found if name != RIVAL]
    final = {name: [one.robust[-1] for one in seeds] for name, seeds in found.items()}
    for name, seeds in final.items():
        if len(seeds) > 1:
            own = _differ(combinations(seeds, 2))
            lines.append(f"{name} disagrees with itself under another seed on {own:.1f} of {n}")
        if name != RIVAL:
            lines.append(
                f"{name} disagrees with {RIVAL} on {_differ(zip(seeds, final[RIVAL], strict=True)):.1f} of {n}"
            )
    return "\n".join(lines)


def _differ(pairs: Iterable[tuple[Tensor, Tensor]]) -> float:
    """Images with another verdict, mean of the pairs."""
    return mean(float((a != b).sum()) for a, b in pairs)


def _radius(text: str) -> float:
    try:
        return float(Fraction(text))
    except (ValueError, ZeroDivisionError, OverflowError):
        raise argparse.ArgumentTypeError(f"it is {text!r}; it must be a number, such as 8/255 or 0.5.") from None


def main(args: list[str] | None = None) -> None:
    """Measure and print; wrong flags end the program with a sentence and exit code 2."""
    parser = Flags(__doc__)
    parser.add_argument(
        "--network",
        choices=[UNDEFENDED, *published()],
        default="rlfat-p-cifar10-small",
        metavar="NAME",
        help=f"a published one, or {UNDEFENDED}",
    )
    parser.add_argument("--n", type=positive, default=200, help="test images, the first ones (200)")
    parser.add_argument("--seeds", type=positive, default=3, help="how many, from 0 (3)")
    parser.add_argument("--norm", choices=["linf", "l2"], default="linf")
    parser.add_argument("--eps", type=_radius, help="radius in pixel units of [0, 1] (8/255, in L2 0.5)")
    parser.add_argument(
        "--parts", type=some_of(PARTS), default=PARTS, help=f"of the standard version ({','.join(PARTS)})"
    )
    parser.add_argument("--batch", type=positive, default=200, help="images attacked at once, at most (200)")
    parser.add_argument("--bfloat16", action="store_true", help="craft in bfloat16, too")
    flags = parser.read(args)
    device, norm = flags.device, {"linf": Linf, "l2": L2}[flags.norm]
    ball: Ball = parser.made(lambda: norm() if flags.eps is None else norm(flags.eps))
    model, test = parser.made(lambda: network(flags.network))
    if flags.bfloat16 and not multiplies_bfloat16(device):
        print("This machine multiplies bfloat16 only by way of float32: no gain is to be expected.", file=sys.stderr)
    model, split = prepare(model, device, "float32"), test.take(slice(flags.n)).to(device)
    clean = classify(model, split, flags.batch).correct
    found = measure(
        model, split, ball, flags.parts, clean, seeds=flags.seeds, batch=flags.batch, bfloat16=flags.bfloat16
    )
    print(
        f"{flags.network}, {len(split)} images, {int(clean.sum())} correct, {ball}, "
        f"{flags.seeds} seed{'s' * (flags.seeds > 1)}, batch {flags.batch}, {torch.get_num_threads()} threads, {device}"
    )
    print(table(found, flags.parts, len(split)))
    rows = {
        name: [{**vars(one), "robust": [held.tolist() for held in one.robust]} for one in seeds]
        for name, seeds in found.items()
    }
    settings = vars(flags) | {"eps": ball.eps, "json": str(flags.json), "device": device.type}
    written(flags.json, {"machine": machine(device), "settings": settings, "clean": clean.tolist(), "found": rows})


if __name__ == "__main__":
    main()
