"""A data set in memory, objectives that go wrong on purpose, and a small run: what the tests of training share."""

import dataclasses
import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from hardy.attacks import PGD, Linf
from hardy.data.augment import Augment
from hardy.data.dataset import Dataset
from hardy.data.split import Split
from hardy.describe import settings
from hardy.models import small_cnn
from hardy.objectives import PGDAT, Objective
from hardy.randomness import Noise
from hardy.training.optim import Adam, Cosine
from hardy.training.run import Run


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

    def __call__(self, model, x, y, noise):
        natural = torch.nn.functional.cross_entropy(model(x), y)
        return {"natural": natural, "broken": natural * (torch.nan if noise.step + 1 == self.at else 0.0)}


@settings
class BreaksWeightsAt(Objective):
    """A loss that stays finite while at one step, counted from 1, its gradient is NaN."""

    at: int

    def __call__(self, model, x, y, noise):
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
