"""Attacking as a stream: images whose verdict is in leave, waiting ones enter; every break is verified before it counts."""

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from hardy.attacks.attack import Around, Attack, Forward, Iterative, State, check_found
from hardy.attacks.balls import Ball
from hardy.data.split import Split
from hardy.evaluation.memory import Room
from hardy.evaluation.outcomes import UNPERTURBED, Journal
from hardy.models.classifier import frozen
from hardy.models.full_precision import full_precision
from hardy.randomness import Noise
from hardy.types import Images, Labels, Logits

Judge = Literal["last", "any"]
Progress = Callable[[str, int, int, int], None]  # (attack's name, images decided, images in all, robust so far)

_OUTSIDE = 1e-6  # a distance computed in float64 of float32 images; the attacks' own balls are smaller than eps by more


@dataclass(frozen=True)
class Outcome:
    """correct: bool (N,), whether each image is classified correctly, before and after the attack. Costs: see Measurement.

    after: images still correct after each of the attack's stages. illegal: images for which the attack claimed success with
    an image outside its ball or [0, 1], at any time; such claims do not count. x_adv: what broke each image, float32
    (N, C, H, W); where nothing did, the image itself. None unless it was asked for.
    """

    correct: Tensor
    seconds: float
    forwards: int
    backwards: int
    after: tuple[int, ...] = ()
    illegal: int = 0
    x_adv: Images | None = None


class Counted(Around):
    """A network that counts how many images went through it forwards, and how many of these with a gradient."""

    def __init__(self, model: Forward) -> None:
        self.model, self.forwards, self.backwards = model, 0, 0

    def around(self, f: Forward) -> Forward:
        def counted(x: Images) -> Any:
            self.forwards += len(x)
            self.backwards += len(x) if x.requires_grad and torch.is_grad_enabled() else 0
            return f(x)

        return counted


def verdict(f: Forward, x: Images, y: Labels) -> Tensor:
    """Bool (N,): whether each image is classified correctly, by a forward pass in full precision."""
    model = f.model if isinstance(f, Counted) else f
    with full_precision(model), torch.no_grad():
        logits: Logits = f(x)
    return (logits.argmax(1) == y) & logits.isfinite().all(1)


def allowed(ball: Ball, x_adv: Images, x: Images) -> Tensor:
    """Bool (N,): whether images lie in the ball around x and in [0, 1]: only then can they break the network."""
    x, x_adv = x.double(), x_adv.double()
    pixels = x_adv.flatten(1).aminmax(dim=1)
    return (ball.distance(x_adv, x) <= ball.eps + _OUTSIDE) & (pixels.min >= 0) & (pixels.max <= 1)


def classify(model: Forward, split: Split, batch: int = 500) -> Outcome:
    """Which unperturbed images are classified correctly; NaN or infinite logits are wrong."""
    started = time.perf_counter()

    def judged(which: Tensor) -> Tensor:
        return verdict(model, split.x(which), split.labels[which])

    with frozen(model):
        parts = Room(batch).parts(judged, torch.arange(len(split), device=split.labels.device))
        correct = torch.cat([made for _, made in parts])
    return Outcome(correct, time.perf_counter() - started, len(split), 0)


def under_attack(
    model: Forward,
    split: Split,
    attack: Attack,
    correct: Tensor | None = None,
    *,
    judge: Judge = "last",
    seed: int = 0,
    batch: int = 200,
    craft_on: Forward | None = None,
    progress: Progress | None = None,
    name: str = "",
    journal: Journal | None = None,
    keep: bool = False,
) -> Outcome:
    """Which images are classified correctly unperturbed (`correct`, bool (N,), found where left out) and after the attack.

    Images that are decided leave, waiting ones take their place; an image's random numbers are keyed by its place in its
    source file, so that neither batch size nor order changes them. Where a GPU's memory does not hold a batch, the batch is
    halved. craft_on: the network that the attack sees, where it is another than the one that judges; an attack that stops at
    success stops where it has fooled that one. journal: where each image's outcome is written as soon as it is known, and read
    from if it is known already. keep: return the adversarial images, too; those that broke images in an interrupted run are
    made again.

    Raises: FailedError for an attack that ends in NaN or infinite pixels, or where memory does not hold a single image.
    """
    correct = classify(model, split, batch).correct if correct is None else correct
    judged = Counted(model)
    crafted = judged if craft_on is None else Counted(craft_on)
    after = []
    opened = nullcontext() if journal is None else journal.opened(model, craft_on, attack, split)
    with frozen(model), frozen(craft_on), opened:
        run = _Run(split, judged, crafted, attack, judge, Room(batch), correct.clone(), progress, name, journal)
        run.x_adv = split.x().clone() if keep else None
        noise = Noise(seed, split.indices, purpose="evaluation")
        try:
            for together in _side_by_side(attack, noise, apart=keep):
                run.stages(together)
                after += [int(run.correct.sum())] * len(together)
            if not attack.stages:
                run.whole(noise)
        finally:
            run.write()
    return Outcome(run.correct, *run.spent, tuple(after), int(run.illegal.sum()), run.x_adv)


@dataclass(frozen=True)
class _Stage:
    """One of an attack's stages: its number, and its own random numbers."""

    number: int
    attack: Any
    noise: Noise


@dataclass(frozen=True)
class _Places:
    """Places of the batch, or of the queue for it: int64 (M,), which image, and in which of the stages at hand."""

    image: Tensor
    stage: Tensor

    @classmethod
    def none(cls, like: Tensor) -> "_Places":
        """No places, on the device of `like`."""
        return cls(*(torch.empty(0, dtype=torch.int64, device=like.device) for _ in range(2)))

    def __len__(self) -> int:
        return len(self.image)

    def __getitem__(self, some: slice | Tensor) -> "_Places":
        return _Places(self.image[some], self.stage[some])

    def with_(self, others: "_Places") -> "_Places":
        """These and then others."""
        return _Places(torch.cat([self.image, others.image]), torch.cat([self.stage, others.stage]))


def _side_by_side(attack: Attack, noise: Noise, *, apart: bool) -> list[list[_Stage]]:
    """The attack's stages, those together whose iterations are the same, such as the classes of a targeted attack.

    A verdict is the same whichever stage breaks an image, but not the image that does it. apart: one stage after another.
    """
    groups: list[list[_Stage]] = []
    for number, (stage, drawn) in enumerate(zip(attack.stages, attack.noises(noise), strict=True)):
        if groups and not apart and groups[-1][0].attack.kin == stage.kin:
            groups[-1].append(_Stage(number, stage, drawn))
        else:
            groups.append([_Stage(number, stage, drawn)])
    return groups


@dataclass
class _Run:
    """One attack on one split, from its first image to its last."""

    split: Split
    judged: Counted
    crafted: Counted
    attack: Attack
    judge: Judge
    room: Room
    correct: Tensor
    progress: Progress | None
    name: str
    journal: Journal | None
    x_adv: Images | None = None
    illegal: Tensor = field(init=False)
    todo: int = 0  # images that the stages at hand began with
    started: float = field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        self.illegal = torch.zeros_like(self.correct)
        if self.journal is not None:
            self.journal.add(UNPERTURBED, broken=self.split.indices[~self.correct])

    def stages(self, together: list[_Stage]) -> None:
        """Stages whose iterations are the same, on the images that are still correct: side by side as far as there is room.

        A place of the batch holds an image in a stage; when one stage breaks the image, it leaves its other places too.
        """
        attack, view = together[0].attack, together[0].attack.view(self.crafted)
        active, waiting, state = _Places.none(self.correct), self._to_do(together), None
        while len(active) or len(waiting):
            free = self.room.beside(attack.copies) - len(active)
            # a few at a time would make many small passes of the first iteration
            if len(waiting) and free >= max(1, (free + len(active)) // 8):
                new, waiting = waiting[slice(free)], waiting[slice(free, None)]
                started: list[State] = [state] if state is not None and len(active) else []
                for i, stage in enumerate(together):
                    places = new[new.stage == i]
                    entered = self._started(stage, view, places.image) if len(places) else None
                    if entered is not None and not self._ended_at_once(stage, places.image, entered):
                        started, active = [*started, entered], active.with_(places)
                if started:
                    state = started[0] if len(started) == 1 else type(started[0]).cat(started)
            if state is None or not len(active):
                continue
            decided, broken = self._decide(attack, active.image, state)
            if bool(decided.any()):
                for i, stage in enumerate(together):
                    of = decided & (active.stage == i)
                    self._leave(stage.number, active.image[of], broken[of], state.x_adv[of])
                stay = ~decided & self.correct[active.image]
                active, state, waiting = active[stay], state.select(stay), waiting[self.correct[waiting.image]]
                if self.progress is not None:
                    self._tell(torch.cat([active.image, waiting.image]).unique())
            if len(active):
                state = self._advance(attack, view, active.image, state)

    def _ended_at_once(self, stage: _Stage, which: Tensor, state: State) -> bool:
        """Whether a stage has nothing to do, as towards a class that there is not; its images leave then.

        Such a state may be of another kind than those of the stages beside it.
        """
        if not bool((state.step >= stage.attack.iterations).all()):
            return False
        _, broken = self._decide(stage.attack, which, state)
        self._leave(stage.number, which, broken, state.x_adv)
        return True

    def _tell(self, left: Tensor) -> None:
        """Progress; left: the images that are not decided yet."""
        assert self.progress is not None
        self.progress(self.name, self.todo - len(left), self.todo, int(self.correct.sum()) - len(left))

    def _started(self, stage: _Stage, view: Forward, which: Tensor) -> State:
        x, y = self.split.x, self.split.labels
        return self._states(lambda of: stage.attack.start(view, x(of), y[of], stage.noise[of]), which, stage.attack)

    def _advance(self, attack: Iterative, view: Forward, active: Tensor, state: State) -> State:
        """The state of the active images one iteration later."""

        def advanced(at: Tensor) -> State:
            x, y = self.split.x(active[at]), self.split.labels[active[at]]
            # how much there is room for may have changed
            return attack.filling(self.room.images).advance(view, x, y, state.select(at))

        return self._states(advanced, torch.arange(len(active), device=active.device), attack)

    def _states(self, work: Callable[[Tensor], State], index: Tensor, attack: Iterative) -> State:
        """The states that `work` makes of the indexed images, as one; no more images at once than memory holds."""
        states = [state for _, state in self.room.parts(work, index, attack.copies)]
        return states[0] if len(states) == 1 else type(states[0]).cat(states)

    def _decide(self, attack: Iterative, active: Tensor, state: State) -> tuple[Tensor, Tensor]:
        """(whose verdict is in, who is broken) among the active images.

        An attack that stopped for a success which the verdict denies, as one in lower precision may, is told to go on; not one
        that sees another network than the one that judges, which would then give it hints.
        """
        ended = state.step >= attack.iterations
        # an attack that made its own tests is judged where it stopped
        asked = state.done | ended | (self.judge == "any" and not attack.stops_at_success)
        broken = torch.zeros_like(state.done)
        if bool(asked.any()):
            broken[asked] = self._broken(active[asked], state.x_adv[asked])
        if self.crafted is self.judged:
            state.done = state.done & broken
        return state.done | ended | broken, broken

    def _broken(self, which: Tensor, x_adv: Images) -> Tensor:
        """Whether images are misclassified, in full precision, by images that the attack is allowed to find."""
        check_found(x_adv)

        def fooling(at: Tensor) -> Tensor:
            return ~verdict(self.judged, x_adv[at], self.split.labels[which[at]])

        index = torch.arange(len(which), device=which.device)
        fooled = torch.cat([made for _, made in self.room.parts(fooling, index)])
        claimed = fooled.nonzero().squeeze(1)
        if len(claimed):
            outside = ~allowed(self.attack.ball, x_adv[claimed], self.split.x(which[claimed]))
            self.illegal[which[claimed[outside]]] = True
            fooled[claimed[outside]] = False
        return fooled

    def whole(self, noise: Noise) -> None:
        """An attack that is not made of iterations of ours: batch by batch."""
        todo = self._to_do([_Stage(0, self.attack, noise)]).image

        def perturbed(which: Tensor) -> Images:
            return self.attack.perturb(self.crafted, self.split.x(which), self.split.labels[which], noise[which])

        if self.attack.group is not None:  # the same groups whatever the batch
            everything = torch.arange(len(self.split), device=todo.device)
            parts = iter(
                [(group, perturbed(group)) for group in everything.split(self.attack.group)] if len(todo) else []
            )
        else:
            parts = self.room.parts(perturbed, todo) if len(todo) else iter(())
        for which, x_adv in parts:
            asked = torch.isin(which, todo)
            self._leave(0, which[asked], self._broken(which[asked], x_adv[asked]), x_adv[asked])
            todo = todo[~torch.isin(todo, which)]
            if self.progress is not None:
                self._tell(todo)

    def _to_do(self, together: list[_Stage]) -> _Places:
        """The images that are still correct, in the stages that no interrupted run has taken them through already.

        All images in the first stage come before those in the second.
        """
        held = [torch.zeros_like(self.correct) for _ in together]
        if self.journal is not None:
            for i, stage in enumerate(together):
                known = self.journal.known(stage.number, self.split.indices)
                self.illegal |= known["illegal"]
                held[i] = known["held"]
                if self.x_adv is None:  # else what broke them is wanted too, and the journal has no images
                    self.correct &= ~known["broken"]
        images = [(self.correct & ~through).nonzero().squeeze(1) for through in held]
        places = _Places(torch.cat(images), torch.cat([torch.full_like(of, i) for i, of in enumerate(images)]))
        self.todo = len(places.image.unique())
        return places

    def _leave(self, stage: int, which: Tensor, broken: Tensor, x_adv: Images) -> None:
        self.correct[which[broken]] = False
        if self.x_adv is not None:
            self.x_adv[which[broken]] = x_adv[broken].float()
        if self.journal is not None:
            of = self.split.indices[which]
            self.journal.add(stage, broken=of[broken], held=of[~broken], illegal=of[self.illegal[which]])
            if self.journal.due:
                self.write()

    @property
    def spent(self) -> tuple[float, int, int]:
        """Seconds, forwards and backwards of interrupted runs and of this."""
        seconds, forwards, backwards = (0.0, 0, 0) if self.journal is None else self.journal.earlier
        for counted in {id(counted): counted for counted in (self.judged, self.crafted)}.values():
            forwards, backwards = forwards + counted.forwards, backwards + counted.backwards
        return seconds + time.perf_counter() - self.started, forwards, backwards

    def write(self) -> None:
        """What has become known since the last time, into the journal."""
        if self.journal is not None:
            self.journal.write(*self.spent)
