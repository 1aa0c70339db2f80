"""Accuracy, clean and under attack: every image its own problem, its verdict a float32 forward pass."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from hardy.attacks.attack import Attack, Forward, State, check_found, is_logits, kind
from hardy.attacks.names import named
from hardy.data.split import Split
from hardy.describe import describe, first_line, fitted, require
from hardy.errors import UsageError
from hardy.models.classifier import frozen, full_precision
from hardy.randomness import Noise
from hardy.results import Measurement, wilson
from hardy.types import Images, Labels, Logits

Judge = Literal["last", "any"]
Progress = Callable[[str, int, int, int], None]  # (attack's name, images decided, images in all, robust so far)


@dataclass(frozen=True)
class Outcome:
    """correct: bool (N,), whether each image is classified correctly, before and after the attack. Costs: see Measurement."""

    correct: Tensor
    seconds: float
    forwards: int
    backwards: int


class Counted:
    """A network that counts how many images went through it forwards, and how many of these with a gradient."""

    def __init__(self, model: Forward) -> None:
        self.model, self.forwards, self.backwards = model, 0, 0

    def __call__(self, x: Images) -> Any:
        self.forwards += len(x)
        self.backwards += len(x) if x.requires_grad and torch.is_grad_enabled() else 0
        return self.model(x)


def evaluate(
    model: Forward,
    split: Split,
    attacks: Iterable[str | Attack] | Mapping[str, Attack | None] = ("clean", "fgsm", "pgd-20", "cw-20"),
    *,
    eps: float = 8 / 255,
    judge: Judge = "last",
    seed: int = 0,
    batch: int = 200,
    run: str = "",
    settings: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    measured: Callable[[Measurement], None] | None = None,
) -> list[Measurement]:
    """One row for each attack: the fraction of images classified correctly, with its interval.

    model: a network, or another function of images that gives logits. attacks: a list of names (see `hardy list attacks`;
    they get an Linf ball of `eps`) and attack objects, or a dictionary of names to attack objects; None is no attack.
    judge: an image counts as broken if it is misclassified at the attack's "last" iterate, as the papers ran PGD and CW, or
    at "any" of them; NATTACK is always judged where it stops. An image that is misclassified unperturbed is never counted as
    robust. settings: what else belongs into each row. measured: called with each row as soon as there is one.
    Evaluation mode is forced and undone where the network is a module.

    Raises: UsageError for an unknown attack, a value of another type, or a network whose output on the first images is not
    finite (N, classes); FailedError for an attack that ends in NaN or infinite pixels.
    """
    judge, seed, batch = fitted(judge, Judge, "judge"), fitted(seed, int, "seed"), fitted(batch, int, "batch")
    chosen = _chosen(attacks, fitted(eps, float, "eps"))
    require(batch > 0, "batch", batch, "at least 1")
    check_network(model, split)
    clean = classify(model, split, batch)
    rows = []
    for name, attack in chosen.items():
        outcome = clean if attack is None else under_attack(
            model, split, attack, clean.correct, judge=judge, seed=seed, batch=batch, progress=progress, name=name
        )  # fmt: skip
        rows.append(_row(name, attack, outcome, split, judge, seed, run, dict(settings or {})))
        if measured is not None:
            measured(rows[-1])
    return rows


def _chosen(attacks: object, eps: float) -> dict[str, Attack | None]:
    """The attacks by the names that their rows get."""
    if isinstance(attacks, Mapping):
        pairs = list(attacks.items())
    elif isinstance(attacks, Iterable) and not isinstance(attacks, str):
        pairs = [(a, named(a, eps)) if isinstance(a, str) else (getattr(a, "summary", ""), a) for a in attacks]
    else:
        pairs = [("", attacks)]
    if not all(isinstance(name, str) and name and isinstance(a, Attack | None) for name, a in pairs):
        form = 'a list of names and attacks, as in ["clean", "pgd-20"], or a dictionary of names to attacks'
        raise UsageError(f"attacks is {attacks!r}; it must be {form}.")
    return dict(pairs)


def check_network(model: Forward, split: Split) -> None:
    """Raises UsageError unless there are images, and the network turns them into finite logits, one a class of the data."""
    if not callable(model):
        raise UsageError(f"The network is {kind(model)}; it must be a module or function, such as hardy.load gives.")
    if not isinstance(split, Split):
        raise UsageError(
            f"The data is {kind(split)}; it must be one hardy.data.Split, such as test of run.data.load()."
        )
    require(len(split) > 0, "n", len(split), "at least 1 image")
    with full_precision(model), frozen(model), torch.no_grad():
        try:
            out = model(split.x(slice(0, 2)))
        except RuntimeError as error:
            raise UsageError(f"The network cannot take images of shape {split.shape}: {first_line(error)}.") from error
    wanted = (min(2, len(split)), len(split.classes))
    if not is_logits(out) or tuple(out.shape) != wanted:
        raise UsageError(
            f"For {wanted[0]} images the network gives {kind(out)}; logits {wanted} are needed for {wanted[1]} classes."
        )
    if not bool(out.isfinite().all()):
        raise UsageError("The network gives NaN or infinite logits on unperturbed images; are its weights damaged?")


def classify(model: Forward, split: Split, batch: int = 500) -> Outcome:
    """Which unperturbed images are classified correctly; NaN or infinite logits are wrong."""
    started = time.perf_counter()
    with frozen(model):
        parts = [
            verdict(model, split.x(slice(first, first + batch)), split.labels[first : first + batch])
            for first in range(0, len(split), batch)
        ]
    return Outcome(torch.cat(parts), time.perf_counter() - started, len(split), 0)


def under_attack(
    model: Forward,
    split: Split,
    attack: Attack,
    correct: Tensor | None = None,
    *,
    judge: Judge = "last",
    seed: int = 0,
    batch: int = 200,
    progress: Progress | None = None,
    name: str = "",
) -> Outcome:
    """Which images are classified correctly unperturbed (`correct`, computed where left out) and after the attack.

    Images that are decided leave, waiting ones take their place; an image's random numbers are keyed by its place in its
    source file, so that neither batch size nor order changes them.
    """
    started = time.perf_counter()
    room = max(1, batch // attack.copies)
    judge = "last" if attack.stops_at_success else judge  # it has made its own tests: where it stopped is what counts
    counted = Counted(model)
    noise = Noise(seed, split.indices, purpose="evaluation")
    with frozen(model):
        robust = (classify(model, split, batch).correct if correct is None else correct).clone()
        waiting = robust.nonzero().squeeze(1)
        total, active, state = len(waiting), waiting[:0], None
        while len(active) or len(waiting):
            if len(active) < room and len(waiting):
                new, waiting = waiting[: room - len(active)], waiting[room - len(active) :]
                fresh = attack.start(counted, split.x(new), split.labels[new], noise[new])
                state = fresh if state is None or not len(active) else type(state).cat([state, fresh])
                active = torch.cat([active, new])
            assert state is not None
            decided, broken = _decide(counted, split.labels[active], state, judge, attack.iterations)
            robust[active[broken]] = False
            if bool(decided.any()):
                active, state = active[~decided], state.select(~decided)
                if progress is not None:
                    left = len(active) + len(waiting)
                    progress(name, total - left, total, int(robust.sum()) - left)
            if len(active):
                state = attack.advance(counted, split.x(active), split.labels[active], state)
    return Outcome(robust, time.perf_counter() - started, counted.forwards, counted.backwards)


def _decide(f: Counted, y: Labels, state: State, judge: Judge, iterations: int) -> tuple[Tensor, Tensor]:
    """(whose verdict is in, who is broken) among the active images.

    An attack that stopped for a success which the verdict denies, as one in lower precision may, is told to go on.
    """
    asked = state.done | (judge == "any")
    broken = torch.zeros_like(state.done)
    if bool(asked.any()):
        check_found(state.x_adv[asked])
        broken[asked] = ~verdict(f, state.x_adv[asked], y[asked])
    state.done &= broken | (state.step >= iterations)
    return state.done | broken, broken


def verdict(f: Forward, x: Images, y: Labels) -> Tensor:
    """Bool (N,): whether each image is classified correctly, by a forward pass in full precision."""
    model = f.model if isinstance(f, Counted) else f
    with full_precision(model), torch.no_grad():
        logits: Logits = f(x)
    return (logits.argmax(1) == y) & logits.isfinite().all(1)


def _row(
    name: str,
    attack: Attack | None,
    outcome: Outcome,
    split: Split,
    judge: Judge,
    seed: int,
    run: str,
    settings: dict[str, Any],
) -> Measurement:
    n, correct = len(outcome.correct), int(outcome.correct.sum())
    low, high = wilson(correct, n)
    if attack is not None:
        shown = "any" if attack.stops_at_success else judge
        settings |= {"attack": describe(attack), "summary": attack.summary, "judge": shown, "seed": seed}
    return Measurement(
        run=run,
        what="clean accuracy" if attack is None else f"accuracy under {name}",
        value=correct / n,
        unit="fraction",
        n=n,
        low=low,
        high=high,
        settings=settings | {"data": split.origin},
        seconds=outcome.seconds,
        forwards=outcome.forwards,
        backwards=outcome.backwards,
        device=str(split.labels.device),
    )
