"""A data set in memory, objectives that go wrong on purpose, and a small run: what the tests of training share."""

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from hardy.attacks import PGD, Linf
from hardy.data.augment import Augment
from hardy.data.dataset import Dataset
from hardy.data.split import Split
from hardy.describe import describe, settings
from hardy.models import small_cnn
from hardy.objectives import PGDAT, RLFATT, Objective
from hardy.randomness import Noise
from hardy.training.average import EMA
from hardy.training.optim import Adam, Cosine
from hardy.training.run import Run, Validation


@settings
class InMemory(Dataset):
    """`n` training images, `spare` unused ones and 4 test images; the first pixel of each is its index, modulo 256."""

    n: int = 26
    spare: int = 0
    channels: int = 1
    side: int = 8
    kinds: int = 4

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.channels, self.side, self.side

    @property
    def classes(self) -> int:
        return self.kinds

    def load(self, root: Path | None = None, *, offline: bool = False) -> tuple[Split, Split]:
        return self._part(0, self.n), self._part(self.n + self.spare, 4)

    def unused(self, root: Path | None = None, *, offline: bool = False) -> Split | None:
        return self._part(self.n, self.spare) if self.spare else None

    def _part(self, first: int, count: int) -> Split:
        indices = torch.arange(first, first + count)
        labels = indices % self.kinds
        images = Noise(0, indices, purpose="in memory").integers(256, self.shape)
        images[:, :, 2:] = (images[:, :, 2:] + 150 * labels.view(-1, 1, 1, 1)) // 4  # something to learn
        images[:, 0, 0, 0] = indices % 256
        return Split(images.to(torch.uint8), labels, tuple("abcdefghij"[: self.kinds]), indices, "made for tests")


@settings
class NotFiniteAt(Objective):
    """A loss that is fine but for one step, counted from 1, where a term is NaN."""

    at: int

    def terms(self, model, x, y, made, noise):
        natural = torch.nn.functional.cross_entropy(model(x), y)
        return {"natural": natural, "broken": natural * (torch.nan if noise.step + 1 == self.at else 0.0)}


@settings
class BreaksWeightsAt(Objective):
    """A loss that stays finite while at one step, counted from 1, its gradient is NaN."""

    at: int

    def terms(self, model, x, y, made, noise):
        natural = torch.nn.functional.cross_entropy(model(x), y)
        bias = next(p for p in model.parameters() if p.ndim == 1)
        without = (bias * 0).sum().sqrt() if noise.step + 1 == self.at else (bias * 0).sum()
        return {"natural": natural, "nothing": without}


class Stopped(Exception):  # noqa: N818 - not an error: the interruption itself
    """What the tests interrupt a run with."""


def tiny(**changes) -> Run:
    """Three epochs of three steps; nothing in it depends on what the machine can do."""
    run = Run(
        name="tiny",
        data=InMemory(),
        model=small_cnn(width=2),
        objective=PGDAT(PGD(Linf(0.1), steps=2)),
        optimizer=Adam(lr=0.01, schedule=Cosine()),
        epochs=3,
        batch=8,
        augment=Augment(flip=True),
        precision="float32",
        layout="contiguous",
    )
    return dataclasses.replace(run, **changes)


def weights(file: Path) -> dict[str, Tensor]:
    return load_file(file)


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    """Whether two states are equal to the bit."""
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def rows(folder: Path, kind: str) -> list[dict]:
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [row for row in map(json.loads, lines) if row["kind"] == kind]


# everything that a checkpoint has to carry: momenta, an average, best weights, terms not yet logged, random numbers
FULL = tiny(
    data=InMemory(n=34),
    objective=RLFATT(dataclasses.replace(RLFATT().attack, steps=2)),
    average=EMA(decay=0.6),
    validation=Validation(images=6, attack=PGD(Linf(0.02), steps=2)),
)


def state(folder: Path) -> dict:
    newest = max((folder / "checkpoints").glob("*.state.pt"))
    return torch.load(newest, weights_only=True)


def assert_same_run(a: Path, b: Path) -> None:
    assert (a / "metrics.jsonl").read_bytes() == (b / "metrics.jsonl").read_bytes()
    assert (a / "best.safetensors").exists() == (b / "best.safetensors").exists()
    for file in a.rglob("*.safetensors"):
        assert same(weights(file), weights(b / file.relative_to(a))), file
    one, other = state(a), state(b)
    assert one["step"] == other["step"]
    assert one["average"] is None or same(one["average"], other["average"])
    for i, values in one["optimizer"]["state"].items():
        assert same(values, other["optimizer"]["state"][i])
    assert {key: one["best"][key] for key in ("value", "step")} == {
        key: other["best"][key] for key in ("value", "step")
    }


_CHILD = """
import json, sys, torch
from pathlib import Path
from hardy import __main__
from hardy.describe import rebuild
from hardy.errors import HardyError
from hardy.training import loop
from hardy.training.progress import Watch
from hardy.training.run import Run
import training.fakes, hardy.recipes.small

def run():
    loop.SAVE_EVERY, loop.LOG_EVERY = 0.0, 2
    step = lambda made, total: print(made, flush=True)
    loop.train(rebuild(json.loads(sys.argv[1]), Run), Path(sys.argv[2]), device="cpu", watch=Watch(step=step))

torch.set_num_threads(int(sys.argv[3]))
sys.modules["hardy.cli.fake"] = type(sys)("fake")
sys.modules["hardy.cli.fake"].main = lambda args: run()
__main__.COMMANDS["fake"] = ""
sys.exit(__main__.main(["fake"]))
"""


def child(run: Run, out: Path, before: Sequence[str] = ()) -> subprocess.Popen:
    """A process that trains a run as the command line does, saves after each step, and prints the step's number.

    before: a command that starts the process.
    """
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    told = json.dumps(describe(run)), str(out), str(torch.get_num_threads())
    return subprocess.Popen(
        [*before, sys.executable, "-c", _CHILD, *told],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
