"""Attack: the interface; one that iterates is two functions over a state of per-image tensors."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from hardy.attacks.balls import Ball
from hardy.describe import Json, describe, first_line, fitted
from hardy.errors import FailedError, UsageError
from hardy.losses.criteria import check_labels
from hardy.models.classifier import Classifier, frozen
from hardy.randomness import Noise
from hardy.types import Images, Logits

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
    if value is None:
        return None
    return value.select(index) if isinstance(value, State) else value[index]


def _join(values: list[Any]) -> Any:
    if values[0] is None:
        return None
    if isinstance(values[0], State):
        return type(values[0]).cat(values)
    return Noise.cat(values) if isinstance(values[0], Noise) else torch.cat(values)


def of_unfinished(move: Callable[[Images, Tensor, State], State], x: Images, target: Tensor, state: State) -> State:
    """The state after `move` of the images that are not done; the others' stays as it is."""
    if bool(state.done.all()):
        return state
    if not bool(state.done.any()):
        return move(x, target, state)
    left, kept = (~state.done).nonzero().squeeze(1), state.done.nonzero().squeeze(1)
    moved = move(x[left], target[left], state.select(left))
    return type(state).cat([moved, state.select(kept)]).select(torch.cat([left, kept]).argsort())


NO_GRADIENT = (
    "No gradient reaches the images: the network's output does not depend on them, or is detached, or not made by torch. "
    "NATTACK and Square need no gradient."
)


class Around(ABC):
    """A network with something done at each call of it, such as counting; attacks may look into it all the same."""

    model: Forward

    @abstractmethod
    def around(self, f: Forward) -> Forward:
        """The same done at each call of f, another function of the images."""

    def __call__(self, x: Images) -> Any:
        return self.around(self.model)(x)


def looking(f: Forward, look: Callable[[Classifier, Images], Any]) -> Forward:
    """`look(network, images)` as a function of the images; what is done around the network is done around it too.

    Raises: UsageError where f is not a `Classifier`, and has none inside an `Around`.
    """
    if isinstance(f, Around):
        return f.around(looking(f.model, look))
    if not isinstance(f, Classifier):
        raise UsageError(
            f"f is {kind(f)}; this attack looks at a network's activations, and needs a hardy Classifier: hardy.models.wrap "
            "makes one of any torch.nn.Module."
        )
    return lambda x: look(f, x)


class Attack(ABC):
    """Looks for an image near x on which f does badly. Concrete attacks are settings; they keep no model.

    f: any map from images to outputs, called and never kept.
    """

    ball: Ball

    @property
    @abstractmethod
    def summary(self) -> str:
        """The attack in one line, with all its numbers."""

    @property
    @abstractmethod
    def stages(self) -> "tuple[Iterative, ...]":
        """What is run one after another, each on the images that those before it left unbroken."""

    @abstractmethod
    def perturb(self, f: Forward, x: Images, target: Any, noise: Noise) -> Images:
        """What calling the attack does, without the checks and in whatever mode f is: for training, within `crafting`."""

    @property
    def copies(self) -> int:
        """How many images an iteration passes through f at once for each image attacked, at most."""
        return max((stage.copies for stage in self.stages), default=1)

    @property
    def stops_at_success(self) -> bool:
        """Whether the attack asks f itself if an image is broken, and leaves that image then."""
        return not self.stages or any(stage.stops_at_success for stage in self.stages)

    @property
    def group(self) -> int | None:
        """Where what becomes of an image depends on the others of its batch: how many evaluation shows the attack together."""
        return None

    @property
    def described(self) -> Json:
        """The attack in a measurement's row."""
        return describe(self)

    def view(self, f: Forward) -> Forward:
        """What of a network this attack looks at: f itself, or a function that gives the logits first of several things.

        `perturb` looks for itself; the `start` and `advance` of an `Iterative` are given what this returns.

        Raises: UsageError where f has no such thing.
        """
        return f

    def noises(self, noise: Noise) -> list[Noise]:
        """Each stage's own random numbers; the first has those that it would have alone, so that more stages break no less."""
        return [noise.derive(f"stage {i}") if i else noise for i in range(len(self.stages))]

    def __call__(self, f: Forward, x: Images, target: Any, noise: Noise | None = None) -> Images:
        """Perturbed images: same shape and type as x, detached, inside the ball and [0, 1].

        f: a network (`nn.Module`) is attacked in evaluation mode, and left as it was. The mode of a network within a function of
        another kind is the caller's; `hardy.models.frozen` sets it. target: what the criterion compares f's output with; labels
        (N,) for most. noise: left out, a fixed seed.

        Raises: UsageError unless x is a float32 or float64 (N, C, H, W) tensor in [0, 1] that f takes, target and noise have N
        rows, and labels are int64 and name classes that f has; FailedError for an attack that ends in NaN or infinite pixels.
        """
        check_images(x)
        if not callable(f):
            raise UsageError(f"f is {kind(f)}; it must be a network, or another function of images.")
        if not isinstance(target, Tensor):
            raise UsageError(f"The target is {kind(target)}; it must be a tensor, int64 labels (N,) for most attacks.")
        if target.ndim == 0 or len(target) != len(x):
            raise UsageError(
                f"There are {len(x)} images and targets of shape {tuple(target.shape)}; one each is needed."
            )
        noise = fitted(Noise.of_batch(len(x), device=x.device) if noise is None else noise, Noise, "noise")
        if len(noise) != len(x):
            raise UsageError(f"There are {len(x)} images and {len(noise)} rows of noise; one each is needed.")
        if not len(x):
            return x.detach().clone()
        with frozen(f):
            # copies outside inference mode: what was made inside it cannot be saved for a gradient
            x, target = (t.clone() if t.is_inference() else t.detach() for t in (x, target))
            x_adv = self.perturb(_Checked(f, target), x, target, noise)
        check_found(x_adv)
        return x_adv


class Iterative(Attack):
    """An attack in equal steps: training runs them in a plain loop, evaluation as a stream of images."""

    @abstractmethod
    def start(self, f: Forward, x: Images, target: Any, noise: Noise) -> State:
        """The state before the first iteration. f: what `view` makes of the network, here and in `advance`."""

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
    def stages(self) -> "tuple[Iterative, ...]":
        return (self,)

    def filling(self, images: int) -> "Iterative":
        """The same attack, told how many images may pass through f at once: it may ask for more than one iteration needs."""
        del images
        return self

    @property
    def kin(self) -> "Iterative":
        """What `advance` depends on: the states of stages that are kin may stand in one batch."""
        return self

    def path(self, f: Forward, x: Images, target: Any, noise: Noise) -> Iterator[tuple[Images, Logits | None]]:
        """Each iterate, from the start to what `perturb` hands back, and the logits there where an iteration asked for them.

        No forward pass is made for it: an iteration that takes its gradient at an iterate passes it through f, and these are
        that pass's logits, detached; of the last iterate, at which none is taken, and of other passes there are none.
        """
        heard = _Heard(f)
        for state in self.states(self.view(heard), x, target, noise):
            if heard.at is not None:
                yield heard.at, heard.logits
            heard.at, heard.logits = state.x_adv, None
        yield state.x_adv, None

    def states(self, f: Forward, x: Images, target: Any, noise: Noise) -> Iterator[State]:
        """The states from the start to the end, each made when it is asked for. f: what `view` makes of the network."""
        state = self.start(f, x, target, noise)
        yield state
        for _ in range(self.iterations):
            if bool(state.done.all()):
                return
            state = self.advance(f, x, target, state)
            yield state

    def perturb(self, f: Forward, x: Images, target: Any, noise: Noise) -> Images:
        for state in self.states(self.view(f), x, target, noise):  # noqa: B007 - the last one is what is wanted
            pass
        return state.x_adv


class _Heard(Around):
    """A network that keeps the logits of one batch of images, where it is passed through."""

    def __init__(self, model: Forward) -> None:
        self.model = model
        self.at: Images | None = None
        self.logits: Logits | None = None

    def around(self, f: Forward) -> Forward:
        def heard(x: Images) -> Any:
            out = f(x)
            # the very images, though autograd was given another tensor of them
            if self.at is not None and x.data_ptr() == self.at.data_ptr() and x.shape == self.at.shape:
                self.logits = logits_of(out).detach()
            return out

        return heard


class _Checked(Around):
    """A network whose first logits are held against the labels: only they tell how many classes there are."""

    def __init__(self, model: Forward, target: Tensor) -> None:
        self.model, self.unchecked = model, True
        self.labels = None if target.is_floating_point() else target
        if self.labels is not None:
            check_labels(self.labels)

    def around(self, f: Forward) -> Forward:
        def checked(x: Images) -> Any:
            if not self.unchecked:
                return f(x)
            self.unchecked = False
            try:
                out = f(x)
            except RuntimeError as error:
                raise UsageError(f"f cannot take images {kind(x)}: {first_line(error)}.") from error
            if self.labels is not None:
                _check_logits(out if f is self.model else logits_of(out), len(x), self.labels)
            return out

        return checked


def _check_logits(out: Any, n: int, labels: Tensor) -> None:
    if not is_logits(out) or len(out) != n:
        raise UsageError(f"For {n} images f gives {kind(out)}; with labels it must give logits (N, K).")
    low, high = (int(v) for v in labels.aminmax())
    if not 0 <= low <= high < out.shape[1]:
        raise UsageError(f"Labels lie in {low}..{high}; f gives {out.shape[1]} classes, 0..{out.shape[1] - 1}.")


def logits_of(out: Any) -> Logits:
    """The logits among what a view gives: the first of several things, or all there is."""
    logits: Logits = out[0] if isinstance(out, tuple) else out
    return logits


def is_logits(out: Any) -> bool:
    """Whether what a network gives is a floating-point (N, K) tensor."""
    return isinstance(out, Tensor) and out.ndim == 2 and out.is_floating_point()


def kind(value: Any) -> str:
    """What a value is, for messages: a tensor's type and shape, or the name of another value's type."""
    return f"{value.dtype} {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__


def check_found(x_adv: Images) -> None:
    """Raises FailedError where an attack hands back NaN or infinite pixels: no network is fooled by these."""
    if not bool(x_adv.isfinite().all()):
        raise FailedError("The attack went astray: it ended in NaN or infinite pixels, which count for nothing.")


def check_images(x: Tensor) -> None:
    """Raises UsageError unless x is a float32 or float64 (N, C, H, W) tensor in [0, 1]."""
    # in fewer bits than float32's, a ball's radius is not exact
    if not isinstance(x, Tensor) or x.ndim != 4 or x.dtype not in (torch.float32, torch.float64):
        raise UsageError(f"Images are {kind(x)}; they must be a float32 or float64 tensor (N, C, H, W).")
    if x.numel():
        low, high = (float(v) for v in x.detach().aminmax())
        if not (low >= -_RANGE_TOLERANCE and high <= 1 + _RANGE_TOLERANCE):
            raise UsageError(
                f"Pixels lie in [{low:.4g}, {high:.4g}]; they must lie in [0, 1]. Divide bytes by 255, and leave "
                "normalisation to the network."
            )
