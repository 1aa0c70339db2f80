"""What costs what: block shuffle's share of a step, RAT beside PGD-AT, the batches, growth with images and steps.

    python benchmarks/costs.py                 # two CPU cores: two minutes; PreActResNet-18 of width 16, batch 32
    python benchmarks/costs.py --device cuda --width 64 --batch 128

It prints, in turns:

    methods    seconds of a step over those of PGD-AT's (SAT in the RAT paper, which prints 47.95 against 41.88 minutes for
               1,000 steps; the RLFAT paper calls the cost of RBS negligible)
    rbs        seconds of a block shuffle of the batch over those of RLFAT-P's step
    batches    images per second that `batches` and the augmentation give, over those of PGD-AT's step
    growth     seconds of PGD on more images, and with more steps, over those of the first: linear is what the counts are
"""

from collections.abc import Callable
from itertools import cycle
from typing import Any

import torch
from methods import CLASSES, METHODS, SHAPE, ours
from peers import EPS, STEP_SIZE, STEPS
from timing import Flags, Timed, headed, in_turns, machine, positive, written

from hardy.attacks import PGD, Linf
from hardy.data import Split
from hardy.data.augment import Augment
from hardy.data.block_shuffle import block_shuffle
from hardy.data.split import batches
from hardy.evaluation.stream import under_attack
from hardy.models import Classifier, preact_resnet_18
from hardy.objectives import PGDAT, RAT, RLFATP, Objective
from hardy.randomness import Noise
from hardy.training.precision import prepare

MORE = (1, 2, 4)  # times as many images, or steps, as the first
DEFAULTS = {"cpu": 3, "cuda": 20}


def objectives() -> dict[str, Objective]:
    """The methods in turns: each beside what it is built on."""
    attack = METHODS["PGD-AT"].objective.attack
    return {
        "PGD-AT": PGDAT(attack),
        "RBSAT-P": RLFATP(attack, eta=0.0),
        "RLFAT-P": RLFATP(attack),
        "RAT": RAT(attack),
        "TRADES": METHODS["TRADES"].objective,
        "RLFAT-T": METHODS["RLFAT-T"].objective,
    }


def steps(width: int, x: torch.Tensor, y: torch.Tensor, rounds: int) -> dict[str, Any]:
    """Seconds of a step of each method, and of a block shuffle."""

    def step(objective: Objective) -> Callable[[], Any]:
        return ours(preact_resnet_18(width).build(CLASSES).to(x.device), objective, x, y)

    timed = [Timed(name, step(objective), "auto") for name, objective in objectives().items()]
    shuffle = Timed("rbs", lambda: block_shuffle(x, 2, Noise.of_batch(len(x), device=x.device)))
    in_turns([*timed, shuffle], rounds, x.device)
    seconds = {one.name: one.row()["seconds"] for one in timed}
    methods = [
        {"name": name, "seconds": value, "over PGD-AT": value / seconds["PGD-AT"]} for name, value in seconds.items()
    ]
    return {"methods": methods, "rbs": shuffle.row()["seconds"] / seconds["RLFAT-P"], "PGD-AT": seconds["PGD-AT"]}


def feeding(batch: int, rounds: int, device: torch.device) -> float:
    """Images per second of shuffled, flipped and cropped batches of a data set as large as CIFAR-10."""
    n = 50_000
    noise = Noise.of_batch(1, device=device)
    images = torch.randint(0, 256, (n, *SHAPE), dtype=torch.uint8, device=device)
    labels = torch.randint(0, CLASSES, (n,), device=device)
    split = Split(images, labels, tuple(map(str, range(CLASSES))), torch.arange(n, device=device), "made up")
    augment, numbers = Augment(flip=True, crop=4), cycle(range(1_000_000))
    some = 200  # batches in one timing

    def run() -> None:
        for _, (x, _, _) in zip(range(some), batches(split, batch, noise.draw(next(numbers))), strict=False):
            augment(x, Noise.of_batch(len(x), purpose="augment", device=device))

    one = Timed("batches", run)
    in_turns([one], rounds, device)
    return min(some, n // batch) * batch / one.row()["seconds"]


def growth(model: Classifier, x: torch.Tensor, y: torch.Tensor, rounds: int) -> list[dict[str, Any]]:
    """Seconds of an evaluation on more images, and with more steps."""
    device = x.device

    def run(times: int, count: int) -> Callable[[], Any]:
        images = (255 * x).round().to(torch.uint8).repeat(times, 1, 1, 1)
        labels = y.repeat(times)
        split = Split(
            images, labels, tuple(map(str, range(CLASSES))), torch.arange(len(y) * times, device=device), "made up"
        )
        everything = torch.ones(len(labels), dtype=torch.bool, device=device)
        attack = PGD(Linf(EPS), count, STEP_SIZE)
        return lambda: under_attack(model, split, attack, everything, batch=len(y))

    of_images = [Timed(f"{times} x {len(y)} images", run(times, STEPS)) for times in MORE]
    of_steps = [Timed(f"{times} x {STEPS} steps", run(1, times * STEPS)) for times in MORE]
    in_turns([*of_images, *of_steps], rounds, device)
    rows = []
    for each in (of_images, of_steps):
        first = each[0].row()["seconds"]
        for times, one in zip(MORE, each, strict=True):
            seconds = one.row()["seconds"]
            rows.append({"name": one.name, "counted": times, "seconds": seconds, "grown": seconds / first})
    return rows


def table(found: dict[str, Any]) -> str:
    """The text for people."""
    lines = [*headed(found), f"{'step of':<12}{'seconds':>10}{'over PGD-AT':>14}"]
    lines += [f"{row['name']:<12}{row['seconds']:>10.3g}{row['over PGD-AT']:>14.3f}" for row in found["methods"]]
    lines.append(f"a block shuffle is {found['rbs']:.2%} of RLFAT-P's step")
    lines.append(
        f"batches give {found['batches']:,.0f} images/s, {found['batches over step']:,.0f} times what the step takes"
    )
    lines.append(f"{'PGD on':<18}{'counted':>9}{'seconds':>10}{'grown':>8}")
    lines += [
        f"{row['name']:<18}{row['counted']:>9}{row['seconds']:>10.3g}{row['grown']:>8.2f}" for row in found["growth"]
    ]
    return "\n".join(lines)


def main(args: list[str] | None = None) -> None:
    """Measure and print; wrong flags end the program with a sentence and exit code 2."""
    parser = Flags(__doc__)
    parser.add_argument("--width", type=positive, default=16, help="of the network (16)")
    parser.add_argument("--batch", type=positive, default=32, help="images in a step (32)")
    parser.add_argument("--rounds", type=positive, help="timings of each (3, on a GPU 20)")
    flags = parser.read(args)
    device, rounds = flags.device, flags.rounds or DEFAULTS[flags.device.type]
    sizes = {"width": flags.width, "batch": flags.batch, "rounds": rounds, "device": device.type}
    noise = Noise.of_batch(flags.batch, device=device)
    x, y = noise.derive("images").uniform(SHAPE), noise.derive("labels").integers(CLASSES, ())
    found: dict[str, Any] = {"machine": machine(device), "settings": sizes} | steps(flags.width, x, y, rounds)
    found["batches"] = feeding(flags.batch, rounds, device)
    found["batches over step"] = found["batches"] / (flags.batch / found.pop("PGD-AT"))
    model = prepare(preact_resnet_18(flags.width).build(CLASSES), device)
    found["growth"] = growth(model, x, y, rounds)
    print(table(found))
    written(flags.json, found)


if __name__ == "__main__":
    main()
