"""Attacks made of attacks: Restarts, Targeted, and Worst, the worst case of several."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from hardy.attacks.attack import Attack, Forward, Iterative, State, logits_of
from hardy.attacks.balls import Ball
from hardy.describe import require, settings
from hardy.losses.criteria import check_labels
from hardy.randomness import Noise
from hardy.types import Images, Labels, Logits


class Combined(Attack):
    """An attack in stages. An image that a stage breaks is handed back as that stage left it; one that none does, as it was."""

    @property
    def parts(self) -> dict[str, Attack]:
        """The attacks it is made of, by what they are called in results; where it is of one kind, that is all of it."""
        return {self.summary: self}

    def perturb(self, f: Forward, x: Images, target: Labels, noise: Noise) -> Images:
        check_labels(target)
        x_adv = x.clone()
        left = (
            _correct(f, x, target).nonzero().squeeze(1)
        )  # images that are misclassified as they are have nothing to be attacked
        for stage, drawn in zip(self.stages, self.noises(noise), strict=True):
            if not len(left):
                break
            found = stage.perturb(f, x[left], target[left], drawn[left])
            held = _correct(f, found, target[left])
            x_adv[left[~held]] = found[~held]
            left = left[held]
        return x_adv


def _correct(f: Forward, x: Images, y: Labels) -> Tensor:
    """Bool (N,): which images f classifies correctly."""
    with torch.no_grad():
        logits: Logits = f(x)
    return logits.argmax(1) == y


@settings
class Worst(Combined):
    """The worst case of several attacks: an image is broken if one of them breaks it; each is given what the others left."""

    attacks: tuple[Attack, ...] = ()

    def __post_init__(self) -> None:
        require(bool(self.attacks), "attacks", self.attacks, "at least one attack")
        balls = {attack.ball: str(attack.ball) for attack in self.attacks}
        require(len(balls) == 1, "attacks", list(balls.values()), "attacks in one and the same ball")
        summaries = [attack.summary for attack in self.attacks]
        require(all(attack.stages for attack in self.attacks), "attacks", summaries, "attacks that go by iterations")
        different = len(self.parts) == len(self.attacks)  # the parts' results go by their summaries
        require(different, "attacks", summaries, "attacks that differ; Restarts repeats one")

    @property
    def ball(self) -> Ball:  # type: ignore[override]
        return self.attacks[0].ball

    @property
    def parts(self) -> dict[str, Attack]:
        return {attack.summary: attack for attack in self.attacks}

    @property
    def stages(self) -> tuple[Iterative, ...]:
        return tuple(stage for attack in self.attacks for stage in attack.stages)

    @property
    def summary(self) -> str:
        return "the worst case of: " + "; ".join(attack.summary for attack in self.attacks)


class Repeated(Combined):
    """One attack, several times, each on the images that are still unbroken."""

    attack: Attack

    def __post_init__(self) -> None:
        require(bool(self.attack.stages), "attack", self.attack.summary, "one that goes by iterations")

    @property
    def ball(self) -> Ball:  # type: ignore[override]
        return self.attack.ball


@settings
class Restarts(Repeated):
    """The same attack several times, each time with new random numbers, on the images that are still unbroken."""

    attack: Attack
    restarts: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.restarts >= 1, "restarts", self.restarts, "at least 1")

    @property
    def stages(self) -> tuple[Iterative, ...]:
        return self.attack.stages * self.restarts

    @property
    def summary(self) -> str:
        return f"{self.attack.summary}, {self.restarts} times"


@settings
class Targeted(Repeated):
    """An attack towards one class after another: the likeliest wrong one first, by the scores of the unperturbed image.

    attack: its loss compares with pairs (label, wanted class), as TargetedDLR does. A network with fewer classes has fewer
    to be attacked towards.
    """

    attack: Attack
    classes: int = 9

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.classes >= 1, "classes", self.classes, "at least 1")

    @property
    def stages(self) -> tuple[Iterative, ...]:
        return tuple(Toward(stage, rank) for rank in range(1, self.classes + 1) for stage in self.attack.stages)

    @property
    def summary(self) -> str:
        return f"{self.attack.summary}, towards each of the {self.classes} likeliest wrong classes"


@dataclass
class TowardState(State):
    """pairs: int64 (N, 2), label and wanted class."""

    inner: State
    pairs: Tensor


@settings
class Toward(Iterative):
    """An attack towards the wrong class of one rank: 1 is the likeliest for the unperturbed image."""

    attack: Iterative
    rank: int = 1

    def __post_init__(self) -> None:
        require(self.rank >= 1, "rank", self.rank, "at least 1")

    @property
    def ball(self) -> Ball:  # type: ignore[override]
        return self.attack.ball

    @property
    def iterations(self) -> int:
        return self.attack.iterations

    @property
    def copies(self) -> int:
        return self.attack.copies

    def view(self, f: Forward) -> Forward:
        return self.attack.view(f)

    @property
    def stops_at_success(self) -> bool:
        return self.attack.stops_at_success

    def filling(self, images: int) -> "Toward":
        return replace(self, attack=self.attack.filling(images))

    @property
    def kin(self) -> Iterative:
        return replace(self, rank=1)

    @property
    def summary(self) -> str:
        return f"{self.attack.summary}, towards the likeliest wrong class but {self.rank - 1}"

    def start(self, f: Forward, x: Images, target: Any, noise: Noise) -> TowardState:
        check_labels(target)
        with torch.no_grad():
            logits = logits_of(f(x))
        wrong = logits.scatter(1, target[:, None], -torch.inf).argsort(dim=1, descending=True, stable=True)
        if self.rank >= logits.shape[1]:  # there is no such class: nothing to be done, as after the last iteration
            step = torch.full_like(target, self.iterations)
            nothing = State(x.clone(), torch.ones_like(step, dtype=torch.bool), step)
            return TowardState(nothing.x_adv, nothing.done, step, nothing, target[:, None].expand(-1, 2))
        pairs = torch.stack([target, wrong[:, self.rank - 1]], 1)
        inner = self.attack.start(f, x, pairs, noise)
        return TowardState(inner.x_adv, inner.done, inner.step, inner, pairs)

    def advance(self, f: Forward, x: Images, target: Any, state: State) -> TowardState:
        del target  # the pairs hold it
        assert isinstance(state, TowardState)
        if bool(state.done.all()):
            return state
        # evaluation may have told an image to go on
        inner = self.attack.advance(f, x, state.pairs, replace(state.inner, done=state.done))
        return TowardState(inner.x_adv, inner.done, inner.step, inner, state.pairs)
