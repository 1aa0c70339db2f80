"""What all benchmarks share: things timed in turns, medians of rounds, a bare matrix product beside them, and the machine."""

import argparse
import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import distributions, version
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import torch

from hardy.errors import UsageError
from hardy.randomness import Noise

Made = TypeVar("Made")

PRODUCTS = 5  # matrix products in one timing
SIDES = {"cpu": 2048, "cuda": 8192}  # of the matrices
COMPARED = ("foolbox", "torchattacks", "pyautoattack")
BESIDE = Path(__file__).parent / ".peers"  # where torchattacks lies, whose needs are not this library's


@dataclass
class Timed:
    """Something run once a round. operations: floating-point ones that a run needs. seconds: of each round."""

    name: str
    run: Callable[[], object]
    precision: str = "float32"
    operations: int = 0
    seconds: list[float] = field(default_factory=list)
    first: object = None  # what the warm-up returned

    def row(self) -> dict[str, Any]:
        """What is written of it."""
        seconds = median(self.seconds)
        told = {"name": self.name, "precision": self.precision, "seconds": seconds, "seconds of rounds": self.seconds}
        return told | ({"gflops": self.operations / seconds / 1e9} if self.operations else {})


def in_turns(timed: Sequence[Timed], rounds: int, device: torch.device) -> None:
    """Run each once untimed, and then in every round each once, one after another: what disturbs one disturbs all."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    for one in timed:
        one.first = one.run()
    for _ in range(rounds):
        for one in timed:
            wait()
            started = time.perf_counter()
            one.run()
            wait()
            one.seconds.append(time.perf_counter() - started)


def bare_product(precision: str, side: int, device: torch.device) -> Timed:
    """Products of two square matrices and nothing else; float32 is TF32 on a GPU that has it, as in its convolutions."""
    noise = Noise.of_batch(side, device=device)
    a, b = (noise.derive(name).uniform((side,), -1, 1).to(getattr(torch, precision)) for name in "ab")
    out = torch.empty_like(a)

    def run() -> None:
        before = torch.backends.cuda.matmul.fp32_precision
        torch.backends.cuda.matmul.fp32_precision = "tf32"
        for _ in range(PRODUCTS):
            torch.mm(a, b, out=out)
        torch.backends.cuda.matmul.fp32_precision = before

    return Timed("torch.mm", run, precision, PRODUCTS * 2 * side**3)


def machine(device: torch.device) -> dict[str, Any]:
    """What it was measured on, and with what."""
    known = Path("/proc/cpuinfo")
    lines = known.read_text(encoding="utf-8").splitlines() if known.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    gpu = {"gpu": torch.cuda.get_device_name(device)} if device.type == "cuda" else {}
    cpu = models[0] if models else platform.machine()
    own = {"hardy": version("hardy"), "commit": _commit()}
    found = {name: list(distributions(name=name, path=[*sys.path, str(BESIDE)])) for name in COMPARED}
    peers = {name: of[0].version for name, of in found.items() if of}
    return {**gpu, "cpu": cpu, "threads": torch.get_num_threads(), "torch": torch.__version__, **own, **peers}


def _commit() -> str:
    asked = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    return asked.stdout.strip() or "unknown"


class Flags(argparse.ArgumentParser):
    """The flags of every benchmark: --device, --threads, --json; wrong ones end the program with a sentence."""

    def __init__(self, description: str | None) -> None:
        super().__init__(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
        self.add_argument("--device", choices=list(SIDES), default="cpu")
        self.add_argument("--threads", type=positive, help="of torch on the CPU (as many as torch takes)")
        self.add_argument("--json", type=Path, metavar="FILE", help="a new file for the same as JSON")

    def read(self, args: list[str] | None) -> argparse.Namespace:
        """The flags, checked; torch has as many threads as were asked for."""
        flags = self.parse_args(args)
        if flags.json is not None and (flags.json.exists() or not flags.json.parent.is_dir()):
            self.error(f"--json is {flags.json}; it must be a file that does not exist yet, in a folder that does.")
        if flags.device == "cuda" and not torch.cuda.is_available():
            self.error("--device is cuda, and torch finds no such device here; cpu is allowed.")
        if flags.threads is not None:
            torch.set_num_threads(flags.threads)
        flags.device = torch.device(flags.device)
        return flags

    def made(self, make: Callable[[], Made]) -> Made:
        """What `make` returns; where it raises a UsageError, its sentence ends the program."""
        try:
            return make()
        except UsageError as error:
            self.error(str(error))


def positive(text: str) -> int:
    """A flag's whole number."""
    if not (text.isascii() and text.isdecimal() and int(text) >= 1):
        raise argparse.ArgumentTypeError(f"it is {text!r}; it must be a whole number of at least 1.")
    return int(text)


def some_of(names: Sequence[str]) -> Callable[[str], list[str]]:
    """A flag's names, with commas between."""

    def read(text: str) -> list[str]:
        asked = text.split(",")
        if not set(asked) <= set(names) or len(set(asked)) < len(asked):
            raise argparse.ArgumentTypeError(f"it is {text!r}; it must be some of {','.join(names)}, each once.")
        return asked

    return read


def written(file: Path | None, found: dict[str, Any]) -> None:
    """Write what was found, where a file was asked for."""
    if file is not None:
        with file.open("x", encoding="utf-8") as out:
            json.dump(found, out, indent=1)


def headed(found: dict[str, Any]) -> list[str]:
    """The first lines of a table: machine and settings."""
    return [", ".join(f"{name} {value}" for name, value in found[part].items()) for part in ("machine", "settings")]
