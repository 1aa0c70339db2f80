"""Run: everything that determines a trained network."""

from typing import Literal

from hardy.attacks import PGD, Attack
from hardy.data.augment import Augment
from hardy.data.dataset import Dataset
from hardy.data.extra import Extra
from hardy.describe import require, settings
from hardy.errors import UsageError
from hardy.models.classifier import Architecture
from hardy.objectives.objective import Objective
from hardy.training.average import EMA
from hardy.training.optim import Optimizer
from hardy.training.precision import Layout, Precision

ImagesOf = Literal["batch", "process"]


@settings
class Validation:
    """Held-out images: robust accuracy on them is logged, and chooses the best weights.

    They come from the training images that the data set's `first` leaves out where it leaves enough, otherwise out of the
    training part; never from the test set.
    """

    images: int = 0  # how many are held out, classes in proportion; 0 is none
    every: int = 1  # epochs between two measurements
    attack: Attack = PGD(steps=10)  # recipes take the ball they train against

    def __post_init__(self) -> None:
        require(self.images >= 0, "validation.images", self.images, "at least 0")
        require(self.every >= 1, "validation.every", self.every, "at least 1 epoch")


@settings
class Run:
    """A training run: equal settings, on equal machines, train the same network."""

    name: str
    data: Dataset
    model: Architecture
    objective: Objective
    optimizer: Optimizer
    epochs: int | None = None  # length; exactly one of epochs and steps
    steps: int | None = None
    batch: int = 128
    micro_batch: int | None = None  # images in the network at once, which a batch is split into; None: all
    augment: Augment = Augment()
    extra: Extra | None = None  # more training images, mixed into each batch; an epoch is one pass over the data's own
    average: EMA | None = None
    validation: Validation = Validation()
    precision: Precision = "auto"
    layout: Layout = "auto"
    compile: bool = False
    norm_over: ImagesOf = "batch"  # on several processes, whose images batch norm takes its statistics of
    seed: int = 0

    def __post_init__(self) -> None:
        # its folder would be the folder of all runs, or the one above
        require(self.name not in ("", ".", ".."), "name", self.name, "text that can name a folder")
        if (self.epochs is None) == (self.steps is None):
            given = f"epochs is {self.epochs} and steps is {self.steps}"
            raise UsageError(f"{given}; a run's length is given as one of them, and the other is None.")
        length = self.steps if self.epochs is None else self.epochs
        require(length is not None and length >= 1, "length", length, "at least 1")
        require(self.batch >= 1, "batch", self.batch, "at least 1")
        self._check_micro_batch()
        if self.extra is not None:
            mixed = 0 < self.own_batch < self.batch
            given = f"{self.extra.fraction:g} in a batch of {self.batch}"
            require(mixed, "extra.fraction", given, "such that a batch has images of both kinds")
        require(0 <= self.seed < 2**32, "seed", self.seed, "in [0, 2**32)")

    def _check_micro_batch(self) -> None:
        if self.micro_batch is None:
            return
        require(1 <= self.micro_batch <= self.batch, "micro_batch", self.micro_batch, f"in 1..{self.batch}, or None")
        if self.objective.coupled and self.micro_batch < self.batch:
            raise UsageError(
                f"micro_batch is {self.micro_batch}; {type(self.objective).__name__} looks at the images of a batch together, "
                "and takes only whole batches: leave it at None."
            )

    @property
    def own_batch(self) -> int:
        """How many images of a batch are the data set's own, and not extra ones."""
        return self.batch if self.extra is None else self.batch - round(self.extra.fraction * self.batch)

    def length(self, images: int) -> int:
        """Optimiser steps in all, for so many training images. Raises: UsageError if they do not fill a batch."""
        what = "batch" if self.extra is None else "The number of a batch's images that are not extra ones"
        require(self.own_batch <= images, what, self.own_batch, f"at most the number of training images, {images}")
        if self.steps is not None:
            return self.steps
        assert self.epochs is not None
        return self.epochs * (images // self.own_batch)
