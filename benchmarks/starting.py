"""How long it takes to begin, and the memory of a step: whole processes, from their start.

python benchmarks/starting.py

help          seconds of `hardy --help`
import        of `import hardy`
first step    until `hardy.train` of the recipe pgdat-digits has made its first optimiser step
memory        MiB that a process has at most (on Linux; on a GPU: that torch has at most), with a step made and without: of this
              library and of the loop usually written, batch 32; and of this library's attack with 10 and with 40 steps
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from timing import Flags, headed, machine, positive, written

HERE = Path(__file__).parent
FIRST_STEP = """
import os
import hardy
from hardy.training.progress import Watch
ended = Watch(step=lambda step, total: os._exit(0))
hardy.train(hardy.recipe("pgdat-digits"), {out!r}, device={device!r}, watch=ended)
"""
STEP = """
import sys
sys.path.insert(0, {here!r})
import torch
from methods import CLASSES, METHODS, SHAPE, ours, usual
from peers import plain
from hardy.attacks import PGD, Linf
from hardy.models import preact_resnet_18
from hardy.objectives import PGDAT
from hardy.randomness import Noise
device = torch.device({device!r})
noise = Noise.of_batch(32, device=device)
x, y = noise.derive("images").uniform(SHAPE), noise.derive("labels").integers(CLASSES, ())
model = preact_resnet_18(64).build(CLASSES).to(device)
who = {who!r}
if who == "plain":
    usual(model, METHODS["PGD-AT"], plain(model, "cross-entropy"), x, y)()
elif who != "nothing":
    ours(model, PGDAT(PGD(Linf(8 / 255), int(who), 2 / 255)), x, y)()
if device.type == "cuda":
    print(torch.cuda.max_memory_allocated() / 2**20)
else:
    # not of getrusage: a process has there what the one that started it had
    peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    print(int(peak.split()[1]) / 1024)
"""
MEMORY = {
    "nothing": "a network and a batch",
    "10": "hardy, 10 steps",
    "40": "hardy, 40 steps",
    "plain": "plain loop, 10 steps",
}


def first_step(device: str, rounds: int) -> float:
    """Median seconds until a step is made; nothing of the trainings is left."""
    with tempfile.TemporaryDirectory() as folder:
        runs = (FIRST_STEP.format(out=f"{folder}/{number}", device=device) for number in range(rounds + 1))
        return seconds([[sys.executable, "-c", code] for code in runs])


def seconds(commands: list[list[str]]) -> float:
    """Median seconds of processes, after the first of them."""
    taken = []
    for command in commands:
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        taken.append(time.perf_counter() - started)
    return median(taken[1:])


def memory(who: str, device: str) -> float:
    """MiB at most."""
    code = STEP.format(here=str(HERE), device=device, who=who)
    return float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)


def table(found: dict[str, Any]) -> str:
    """The text for people."""
    lines = [*headed(found), *(f"{name:<24}{value:>8.2f} s" for name, value in found["seconds"].items())]
    return "\n".join([*lines, *(f"{MEMORY[who]:<24}{value:>8,.0f} MiB" for who, value in found["memory"].items())])


def main(args: list[str] | None = None) -> None:
    """Measure and print; wrong flags end the program with a sentence and exit code 2."""
    parser = Flags(__doc__)
    parser.add_argument("--rounds", type=positive, default=5, help="timings of each (5)")
    flags = parser.read(args)
    kind = flags.device.type
    found: dict[str, Any] = {"machine": machine(flags.device), "settings": {"rounds": flags.rounds, "device": kind}}
    commands = {
        "help": [sys.executable, "-m", "hardy", "--help"],
        "import": [sys.executable, "-c", "import hardy"],
    }
    found["seconds"] = {name: seconds([command] * (flags.rounds + 1)) for name, command in commands.items()}
    found["seconds"]["first step"] = first_step(kind, flags.rounds)
    found["memory"] = {who: memory(who, kind) for who in MEMORY}
    print(table(found))
    written(flags.json, found)


if __name__ == "__main__":
    main()
