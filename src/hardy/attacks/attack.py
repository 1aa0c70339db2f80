"""Attack: the interface; an attack that iterates is two functions over a state of per-image tensors."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from hardy.attacks.balls import Ball
from hardy.errors import UsageError
from hardy.randomness import Noise
from hardy.types import Images

Forward = Callable[[Images], Any]  # any map from images to what the attack's criterion compares

_RANGE_TOLERANCE = 1e-6  # a normalisation that was undone leaves rounding errors of this size


@dataclass
class State:
    """Where an attack stands, for each image of a batch: tensors (and noise) whose first dimension is the image.

    x_adv: the image the attack would hand back now. done: bool (N,), nothing more will happen to that image. step: int64
    (N,), iterations made.
    """

    x_adv: Images
    done: Tensor
    step: Tensor

    def select(self, index: Tensor) -> Self:
        """The state of some of the images (int64 or bool index)."""
        return type(self)(**{name: _pick(value, index) for name, value in _fields(self)})

    @classmethod
    def cat(cls, states: Sequence[Self]) -> Self:
        """One state of several batches' images, one after another."""
        columns = zip(*(_fields(state) for state in states), strict=True)
        return cls(**{column[0][0]: _join([value for _, value in column]) for column in columns})


def _fields(state: State) -> list[tuple[str, Any]]:
    return [(f.name, getattr(state, f.name)) for f in dataclasses.fields(state)]


def _pick(value: Any, index: Tensor) -> Any:
    return None if value is None else value[index]


def _join(values: list[Any]) -> Any:
    if values[0] is None:
        return None
    return Noise.cat(values) if isinstance(values[0], Noise) else torch.cat(values)


class Attack(ABC):
    """Looks for an image near x on which f does badly. Concrete attacks are settings; they keep no model.

    f: any map from images to outputs, called and never kept. Its mode is the caller's: use `hardy.models.frozen`, or
    `hardy.evaluate`, which does so itself.
    """

    ball: Ball

    @abstractmethod
    def start(self, f: Forward, x: Images, target: Any, noise: Noise) -> State:
        """The state before the first iteration."""

    @abstractmethod
    def advance(self, f: Forward, x: Images, target: Any, state: State) -> State:
        """The state one iteration later; images that are done stay as they are."""

    @property
    @abstractmethod
    def iterations(self) -> int:
        """After how many calls of `advance` every image is done."""

    @property
    def copies(self) -> int:
        """How many images an iteration passes through f at once for each image attacked."""
        return 1

    @property
    def stops_at_success(self) -> bool:
        """Whether the attack asks f itself if an image is broken, and leaves that image then."""
        return False

    @property
    @abstractmethod
    def summary(self) -> str:
        """The attack in one line, with all its numbers."""

    def perturb(self, f: Forward, x: Images, target: Any, noise: Noise) -> Images:
        """What calling the attack does, without the checks: for training, where they were made once."""
        state = self.start(f, x, target, noise)
        for _ in range(self.iterations):
            state = self.advance(f, x, target, state)
        return state.x_adv

    def __call__(self, f: Forward, x: Images, target: Any, noise: Noise | None = None) -> Images:
        """Perturbed images: same shape and type as x, detached, inside the ball and [0, 1].

        target: what the criterion compares f's output with; labels (N,) for most. noise: left out, a fixed seed.

        Raises: UsageError unless x is a floating-point (N, C, H, W) tensor in [0, 1] and target and noise have N rows, and labels
        are int64 and name classes that f has.
        """
        check_images(x)
        if isinstance(target, Tensor) and (target.ndim == 0 or len(target) != len(x)):
            raise UsageError(
                f"There are {len(x)} images and targets of shape {tuple(target.shape)}; one each is needed."
            )
        if noise is not None and len(noise) != len(x):
            raise UsageError(f"There are {len(x)} images and {len(noise)} rows of noise; one each is needed.")
        if not len(x):
            return x.detach().clone()
        if isinstance(target, Tensor) and not target.is_floating_point():
            f = _labels_checked(f, target)
        return self.perturb(f, x.detach(), target, Noise.of_batch(len(x), device=x.device) if noise is None else noise)


def _labels_checked(f: Forward, labels: Tensor) -> Forward:
    """The same f, whose first output is held against the labels: only it tells how many classes there are."""
    if labels.dtype != torch.int64 or labels.ndim != 1:
        raise UsageError(f"Labels are {labels.dtype} {tuple(labels.shape)}; they must be int64 (N,).")
    low, high = (int(v) for v in labels.aminmax())
    unchecked = True

    def checked(x: Images) -> Any:
        nonlocal unchecked
        out = f(x)
        if unchecked:
            unchecked = False
            if not isinstance(out, Tensor) or out.ndim != 2 or len(out) != len(x):
                given = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
                raise UsageError(f"For {len(x)} images f gives {given}; with labels it must give logits (N, K).")
            if not 0 <= low <= high < out.shape[1]:
                raise UsageError(f"Labels lie in {low}..{high}; f gives {out.shape[1]} classes, 0..{out.shape[1] - 1}.")
        return out

    return checked


def check_images(x: Tensor) -> None:
    """Raises UsageError unless x is a floating-point (N, C, H, W) tensor in [0, 1]."""
    if x.ndim != 4 or not x.is_floating_point():
        raise UsageError(f"Images are {x.dtype} {tuple(x.shape)}; they must be floating-point (N, C, H, W).")
    if x.numel():
        low, high = (float(v) for v in x.detach().aminmax())
        if not (low >= -_RANGE_TOLERANCE and high <= 1 + _RANGE_TOLERANCE):
            raise UsageError(
                f"Pixels lie in [{low:.4g}, {high:.4g}]; they must lie in [0, 1]. Divide bytes by 255, and leave "
                "normalisation to the network."
            )
