"""Images per second of a PGD-10 adversarial training step: this library, a plain loop, and a loop around foolbox's PGD.

    python benchmarks/step.py                  # two CPU cores: three minutes; batch 128, 2 rounds
    python benchmarks/step.py --compile        # and this library's compiled step beside it: four minutes
    python benchmarks/step.py --device cuda    # batch 128, 20 rounds

Run it on an idle machine, where this library is installed with its test extra (`pip install --editable '.[test]'`). All
train PreActResNet-18 from the same weights on the same random 3x32x32 images: PGD with eps 8/255 and ten steps of 2/255 from a
random start, crafted in eval mode, then SGD with momentum on what it found. They differ so:

    hardy      this library's step as `hardy train` makes it, precision and memory layout "auto"
    compiled   the same with `--compile`, once torch.compile has done its work (it needs a C++ compiler)
    plain      the loop usually written: float32, NCHW, torch.autograd.grad to the images
    foolbox    the same around foolbox's LinfPGD, without its test for success afterwards; it calls backward(), which computes
               gradients of the weights too, that nobody uses

A round times one step of each, and the bare matrix products, one after another; seconds are the median of the rounds, after a
warm-up that is not timed. Settings of torch.backends are left as torch sets them.

    ratio      images per second over those of the faster of plain and foolbox
    GFLOP/s    operations that a step needs over its seconds; needed, not made: one number for all. Counted are
               convolutions and linear layers, 2 for each multiplication and addition, padding included. A step of the attack is
               a forward pass and a backward pass to the images (2 x forward); training is a forward pass and the gradients of
               weights and inputs (3 x forward), less that of the first layer's input, which nothing needs.
    share      of the GFLOP/s of torch.mm on large square matrices in the contestant's precision. float32 is TF32 on a GPU
               that has it: in convolutions by torch's default, and in that product.
"""

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hardy.attacks import PGD, Linf
from hardy.models import Classifier, preact_resnet_18
from hardy.models.classifier import ieee_convolutions
from hardy.objectives import PGDAT
from hardy.randomness import Noise
from hardy.training.optim import SGD
from hardy.training.precision import prepare
from hardy.training.step import Step
from hardy.types import Images, Labels

EPS, STEP_SIZE, STEPS = 8 / 255, 2 / 255, 10
CLASSES, SHAPE = 10, (3, 32, 32)
DEFAULTS = {"cpu": {"batch": 128, "rounds": 2, "matrix": 2048}, "cuda": {"batch": 128, "rounds": 20, "matrix": 8192}}
PRODUCTS = 5  # matrix products in one timing


@dataclass
class Timed:
    """Something run once a round."""

    name: str
    precision: str
    operations: int  # floating-point ones that a run needs
    run: Callable[[], Tensor]
    seconds: list[float] = field(default_factory=list)  # of each round

    def row(self) -> dict:
        each = {"seconds": median(self.seconds), "seconds_of_rounds": self.seconds}
        return {
            "name": self.name,
            "precision": self.precision,
            **each,
            "gflops": self.operations / each["seconds"] / 1e9,
        }


def hardy_step(model: Classifier, x: Images, y: Labels, *, compiled: bool = False) -> Callable[[], Tensor]:
    """One optimiser step as `hardy.train` makes it."""
    prepare(model, x.device, compiled=compiled)
    step = Step(model, PGDAT(PGD(Linf(EPS), STEPS, STEP_SIZE)))
    optimizer, numbers = SGD(0.1, momentum=0.9, weight_decay=5e-4).build(model), count()

    def run() -> Tensor:
        noise = Noise.of_batch(len(x), step=next(numbers), purpose="objective", device=x.device)
        model.train()
        with nullcontext() if model.autocast else ieee_convolutions():
            loss = torch.stack(list(step(x, y, noise).values())).sum()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
        optimizer.step()
        return loss.detach()

    return run


def plain_step(model: Classifier, x: Images, y: Labels) -> Callable[[], Tensor]:
    """The loop usually written."""

    def craft() -> Images:
        x_adv = (x + torch.empty_like(x).uniform_(-EPS, EPS)).clamp(0, 1)
        for _ in range(STEPS):
            x_adv.requires_grad_()
            grad = torch.autograd.grad(F.cross_entropy(model(x_adv), y), x_adv)[0]
            x_adv = x_adv.detach() + STEP_SIZE * grad.sign()
            x_adv = torch.min(torch.max(x_adv, x - EPS), x + EPS).clamp(0, 1)
        return x_adv

    return _usual_step(model, craft, y)


def foolbox_step(model: Classifier, x: Images, y: Labels) -> Callable[[], Tensor]:
    """The usual loop around foolbox's attack."""
    try:
        import foolbox
    except ImportError as error:
        sys.exit(f"step.py: {error}; `pip install --editable '.[test]'` in the repository's folder installs foolbox.")
    attack = foolbox.attacks.LinfPGD(abs_stepsize=STEP_SIZE, steps=STEPS, random_start=True)
    wrapped = foolbox.PyTorchModel(model.eval(), bounds=(0, 1), device=x.device)
    return _usual_step(model, lambda: attack.run(wrapped, x, y, epsilon=EPS), y)


def _usual_step(model: Classifier, craft: Callable[[], Images], y: Labels) -> Callable[[], Tensor]:
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=5e-4)

    def run() -> Tensor:
        model.eval()
        x_adv = craft()
        model.train()
        optimizer.zero_grad()  # not before: foolbox leaves gradients in the weights
        loss = F.cross_entropy(model(x_adv), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return run


CONTESTANTS = {"hardy": hardy_step, "plain": plain_step, "foolbox": foolbox_step}
COMPILED = {"compiled": partial(hardy_step, compiled=True)}


def operations(width: int) -> int:
    """Floating-point operations that a training step needs for each image."""
    forward: list[int] = []  # of each layer, the first one first
    with torch.device("meta"):  # shapes without numbers
        model, image = preact_resnet_18(width).empty(CLASSES, SHAPE[0]), torch.empty(1, *SHAPE)
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            # weight[0] is all that goes into one output
            layer.register_forward_hook(lambda it, _, out: forward.append(2 * out.numel() * it.weight[0].numel()))
    model(image)
    return 2 * STEPS * sum(forward) + 3 * sum(forward) - forward[0]


def bare_product(precision: str, side: int, device: torch.device) -> Timed:
    """Products of two square matrices and nothing else."""
    noise = Noise.of_batch(side, device=device)
    a, b = (noise.derive(name).uniform((side,), -1, 1).to(getattr(torch, precision)) for name in "ab")
    out = torch.empty_like(a)

    def run() -> Tensor:
        before = torch.backends.cuda.matmul.fp32_precision
        torch.backends.cuda.matmul.fp32_precision = "tf32"  # as convolutions are by default; nothing to a CPU
        for _ in range(PRODUCTS):
            torch.mm(a, b, out=out)
        torch.backends.cuda.matmul.fp32_precision = before
        return out[0, 0]

    return Timed("torch.mm", precision, PRODUCTS * 2 * side**3, run)


def measure(
    batch: int, width: int, rounds: int, matrix: int, device: torch.device, *, compiled: bool = False
) -> dict[str, list[dict]]:
    """The rows of contestants and of bare products."""
    contestants = CONTESTANTS | COMPILED if compiled else CONTESTANTS
    torch.manual_seed(0)  # plain and foolbox draw their starts from the global generator
    noise = Noise.of_batch(batch, device=device)
    x, y = noise.derive("images").uniform(SHAPE), noise.derive("labels").integers(CLASSES, ())
    timed = []
    for name, make in contestants.items():
        model = preact_resnet_18(width).build(CLASSES).to(device)  # from a fixed seed, the same for all
        run = make(model, x, y)
        timed.append(Timed(name, "bfloat16" if model.autocast else "float32", batch * operations(width), run))
    timed += [bare_product(precision, matrix, device) for precision in sorted({one.precision for one in timed})]
    warm_up = [float(one.run()) for one in timed]
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    for _ in range(rounds):
        for one in timed:
            wait()
            start = time.perf_counter()
            one.run()
            wait()
            one.seconds.append(time.perf_counter() - start)
    rows, products = [one.row() for one in timed[: len(contestants)]], [one.row() for one in timed[len(contestants) :]]
    rival = min(row["seconds"] for row in rows if row["name"] in ("plain", "foolbox"))
    limit = {row["precision"]: row["gflops"] for row in products}
    for row, loss in zip(rows, warm_up, strict=False):
        row |= {"images_per_second": batch / row["seconds"], "ratio": rival / row["seconds"]}
        # the losses are equal but for random starts and rounding, where all do the same work
        row |= {"share": row["gflops"] / limit[row["precision"]], "first_loss": loss}
    return {"contestants": rows, "products": products}


def machine(device: torch.device) -> dict[str, object]:
    """What it was measured on."""
    known = Path("/proc/cpuinfo")
    lines = known.read_text(encoding="utf-8").splitlines() if known.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    gpu = {"gpu": torch.cuda.get_device_name(device)} if device.type == "cuda" else {}
    cpu = models[0] if models else platform.machine()
    return {**gpu, "cpu": cpu, "threads": torch.get_num_threads(), "torch": torch.__version__}


def table(found: dict) -> str:
    """The text for people."""
    machine, settings = (
        ", ".join(f"{name} {v}" for name, v in found[part].items()) for part in ("machine", "settings")
    )
    lines = [
        machine,
        f"PGD-10 step of PreActResNet-18, {found['operations_per_image'] / 1e9:.4g} GFLOP an image; {settings}",
        f"{'':<9}{'precision':<10}{'images/s':>10}{'s/step':>10}{'ratio':>8}{'GFLOP/s':>11}{'share':>8}",
    ]
    for row in found["contestants"]:
        numbers = f"{row['images_per_second']:>10.4g}{row['seconds']:>10.4g}{row['ratio']:>8.2f}"
        lines.append(f"{row['name']:<9}{row['precision']:<10}{numbers}{row['gflops']:>11,.1f}{row['share']:>8.1%}")
    for row in found["products"]:
        lines.append(f"{row['name']:<9}{row['precision']:<10}{'':>28}{row['gflops']:>11,.1f}{1:>8.1%}")
    return "\n".join(lines)


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) >= 1):
        raise argparse.ArgumentTypeError(f"it is {text!r}; it must be a whole number of at least 1.")
    return int(text)


def main(args: list[str] | None = None) -> None:
    """Measure and print; wrong flags end the program with a sentence and exit code 2."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=_positive, help="images in a step (128)")
    parser.add_argument("--width", type=_positive, default=64, help="of the network (64)")
    parser.add_argument("--rounds", type=_positive, help="timings of each (2, on a GPU 20)")
    parser.add_argument("--matrix", type=_positive, help="side of the bare product's matrices (2048, on a GPU 8192)")
    parser.add_argument("--device", choices=list(DEFAULTS), default="cpu")
    parser.add_argument("--compile", action="store_true", help="time this library's compiled step, too")
    parser.add_argument("--threads", type=_positive, help="of torch on the CPU (as many as torch takes)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="a new file for the same as JSON")
    flags = parser.parse_args(args)
    if flags.json is not None and (flags.json.exists() or not flags.json.parent.is_dir()):
        parser.error(f"--json is {flags.json}; it must be a file that does not exist yet, in a folder that does.")
    if flags.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device is cuda, and torch finds no such device here; cpu is allowed.")
    if flags.threads is not None:
        torch.set_num_threads(flags.threads)
    sizes = {name: getattr(flags, name) or DEFAULTS[flags.device][name] for name in ("batch", "rounds", "matrix")}
    sizes["width"], device = flags.width, torch.device(flags.device)
    found = {"machine": machine(device), "settings": {**sizes, "device": flags.device}}
    found["operations_per_image"] = operations(flags.width)
    found |= measure(**sizes, device=device, compiled=flags.compile)
    print(table(found))
    if flags.json is not None:
        with flags.json.open("x", encoding="utf-8") as file:
            json.dump(found, file, indent=2)


if __name__ == "__main__":
    main()
