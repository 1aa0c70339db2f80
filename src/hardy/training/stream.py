"""What a run learns from, and the batches of its steps."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import torch

from hardy.data.extra import extra_batches
from hardy.data.split import Split, batches
from hardy.describe import counted
from hardy.randomness import Noise
from hardy.training.run import Run
from hardy.types import Images, Labels


@dataclass(frozen=True)
class TrainingImages:
    """What a run learns from, what it is validated on, and what is mixed in; None where there is no such thing."""

    part: Split
    held_out: Split | None = None
    extra: Split | None = None

    @staticmethod
    def load(run: Run, root: Path | None = None, *, offline: bool = False) -> "TrainingImages":
        """The images of a run. Raises: as `Dataset.load`, and UsageError where too many are to be held out."""
        part, _ = run.data.load(root, offline=offline)
        held_out = None
        if wanted := run.validation.images:
            unused = run.data.unused(root, offline=offline)
            if unused is None or len(unused) < wanted:
                part, held_out = part.hold_out(wanted, run.seed)
            else:
                held_out = unused if len(unused) == wanted else unused.hold_out(wanted, run.seed)[1]
        return TrainingImages(part, held_out, None if run.extra is None else run.extra.load(part))

    @property
    def learnt(self) -> Split:
        """The data set's own images that are learnt from; their origin says how many were held out."""
        held_out = 0 if self.held_out is None else len(self.held_out)
        without = f"; {counted(held_out, 'held-out image')} not among them" if held_out else ""
        return replace(self.part, origin=self.part.origin + without)

    def to(self, device: torch.device) -> "TrainingImages":
        """The same images on another device."""
        parts = {name: split.to(device) for name, split in vars(self).items() if split is not None}
        return replace(self, **parts)


def stream(run: Run, images: TrainingImages, step: int, total: int) -> Iterator[tuple[Images, Labels]]:
    """Augmented batches of the steps from `step` to `total`; each step's are a function of the seed and the step alone."""
    device = images.part.labels.device
    for now, (x, y) in zip(range(step, total), _mixed(run, images, step), strict=False):
        yield run.augment(x, Noise.of_batch(len(x), run.seed, step=now, purpose="augment", device=device)), y


def _mixed(run: Run, images: TrainingImages, step: int) -> Iterator[tuple[Images, Labels]]:
    """Batches without end: the data set's own images, epoch after epoch, and behind them the extra ones."""
    part = images.part
    epoch, start = divmod(step, len(part) // run.own_batch)
    order = Noise.of_batch(1, run.seed, purpose="order", device=part.labels.device)
    added = None
    if images.extra is not None:
        added = extra_batches(images.extra, run.batch - run.own_batch, order.derive("extra"), step)
    for number in count(epoch):
        for x, y, _ in batches(part, run.own_batch, order.draw(number), start=start):
            if added is None:
                yield x, y
            else:
                more_x, more_y = next(added)
                yield torch.cat([x, more_x]), torch.cat([y, more_y])
        start = 0
