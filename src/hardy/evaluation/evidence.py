"""What a diagnosis measures of one network: which images hold under what, each measurement made once and written as a row."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from hardy.attacks.attack import Attack, Forward
from hardy.attacks.balls import Ball
from hardy.attacks.pgd import gradient_at
from hardy.data.split import Split
from hardy.evaluation.memory import Room, fitting_batch
from hardy.evaluation.rows import Costs, Meter, Row, determining
from hardy.evaluation.stream import Judge, Progress, classify, under_attack, verdict
from hardy.losses.logits import cross_entropy, margin
from hardy.models.classifier import frozen
from hardy.models.full_precision import full_precision
from hardy.randomness import Noise
from hardy.results import Measurement

_PASSES = 5  # of the same images, for outputs that change
_DRAWS = 5  # of noise, of each kind
_ROUNDING = 1e-5  # of the logits: sums in another order differ by less


@dataclass
class Evidence:
    """A network, the images, and the rows measured so far. correct: bool (N,), who is classified correctly unperturbed."""

    model: Forward
    split: Split
    ball: Ball
    seed: int
    batch: int
    progress: Progress | None
    run: str
    settings: Mapping[str, Any]
    rows: list[Measurement] = field(default_factory=list)
    correct: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self._tell("clean")
        outcome = classify(self.model, self.split, self.batch)
        self.correct = outcome.correct
        self._add("clean accuracy", outcome.correct, Costs.of(outcome), {})

    def under(
        self,
        name: str,
        attack: Attack,
        of: Tensor | None = None,
        *,
        judge: Judge = "any",
        craft_on: Forward | None = None,
        about: Mapping[str, Any] | None = None,
    ) -> Tensor:
        """Bool (N,): who of these images (`of`, bool (N,); all correct ones where left out) holds under the attack.

        about: what else belongs into the row, such as which images were attacked.
        """
        of = self.correct if of is None else of
        # a pass of several networks, or of one several times, keeps more for the gradient
        batch = self.batch if craft_on is None else min(self.batch, fitting_batch(craft_on, self.split))
        outcome = under_attack(
            self.model, self.split, attack, of, judge=judge, seed=self.seed, batch=batch, craft_on=craft_on,
            progress=self.progress, name=name,
        )  # fmt: skip
        told = determining(self.settings, self.split, attack, judge, self.seed) | {"images attacked": int(of.sum())}
        if outcome.illegal:
            told["illegal"] = outcome.illegal
        self._add(f"accuracy under {name}", outcome.correct, Costs.of(outcome), {**told, **(about or {})})
        return outcome.correct

    def noise(self) -> Tensor:
        """Bool (N,): who of the correct images holds under a few uniform points of the ball and of its corners (or surface)."""
        self._tell("noise")
        meter = Meter(self.model)
        held = self.correct.clone()
        with frozen(self.model):
            for draw in range(_DRAWS):
                for kind in ("uniform", "corners"):
                    holds = partial(self._holds, meter.network, kind, draw)
                    for which, made in self._parts(holds, held):
                        held[which] = made
        about = {
            "draws": f"{_DRAWS} uniform in {self.ball}, {_DRAWS} random directions at its radius",
            "seed": self.seed,
        }
        self._add("accuracy under noise", held, meter.lap(), about)
        return held

    def changing(self) -> tuple[Tensor, Tensor]:
        """Bool (N,), bool (N,): whose logits, and whose class, are not the same in every one of a few passes."""
        self._tell("passes")
        meter = Meter(self.model)
        with frozen(self.model), full_precision(self.model), torch.no_grad():
            parts = self._parts(partial(self._changing, meter.network), torch.ones_like(self.correct))
            found = torch.cat([made for _, made in parts])
        self._add(f"share with equal logits in {_PASSES} passes", ~found[:, 0], meter.lap(), {"passes": _PASSES})
        return found[:, 0], found[:, 1]

    def gradients(self, *, random: bool) -> tuple[Tensor, Tensor]:
        """Bool (N,), bool (N,): whose gradient of the loss is exactly zero or not finite; whose gradient noise refutes.

        Refuted is the gradient g of the margin where a random point at distance eps changes the margin by more than the
        eps * ||g||_dual that the gradient allows to any. On a smooth network it does not come near that in many dimensions,
        however confident the network is. random: of a network whose outputs change by themselves this is not asked.
        """
        self._tell("gradients")
        meter = Meter(self.model)
        found = torch.zeros(len(self.split), 2, dtype=torch.bool, device=self._device)
        with frozen(self.model), full_precision(self.model):
            for which, made in self._parts(partial(self._useless, meter.network), self.correct):
                found[which] = made
        zero, vanishing = found[:, 0], found[:, 1] & (not random)
        if len(useful := ~(zero | vanishing)[self.correct]):  # the others were not asked
            self._add("share with a useful gradient", useful, meter.lap(), {"images": "classified correctly"})
        return zero, vanishing

    def _parts(self, work: Callable[[Tensor], Tensor], of: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """(which, what `work` makes of them) of some of the images, a batch at a time. of: bool (N,)."""
        which = of.nonzero().squeeze(1)
        return Room(self.batch).parts(work, which) if len(which) else iter(())

    @property
    def _device(self) -> torch.device:
        return self.split.labels.device

    def _noise(self, purpose: str, at: Tensor) -> Noise:
        return Noise(self.seed, self.split.indices[at], purpose=f"diagnosis/{purpose}")

    def _corner(self, at: Tensor, draw: int) -> Tensor:
        """Images at distance eps in a random direction: in Linf, random signs."""
        x, direction = self.split.x(at), self._noise("corners", at).draw(draw).normal(self.split.shape)
        return self.ball.project(x + self.ball.eps * self.ball.ascend(direction), x)

    def _holds(self, model: Forward, kind: str, draw: int, at: Tensor) -> Tensor:
        uniform = kind == "uniform"
        noisy = (
            self.ball.sample(self.split.x(at), self._noise(kind, at).draw(draw)) if uniform else self._corner(at, draw)
        )
        return verdict(model, noisy, self.split.labels[at])

    def _changing(self, model: Forward, at: Tensor) -> Tensor:
        """Bool (M, 2)."""
        x = self.split.x(at)
        first, *others = [model(x) for _ in range(_PASSES)]
        logits = torch.stack([(other - first).abs().amax(1) for other in others]).amax(0)
        classes = torch.stack([other.argmax(1) != first.argmax(1) for other in others]).any(0)
        return torch.stack([logits > _ROUNDING * first.abs().amax(1), classes], 1)

    def _useless(self, model: Forward, at: Tensor) -> Tensor:
        """Bool (M, 2)."""
        x, y = self.split.x(at), self.split.labels[at]
        of_loss = gradient_at(x, lambda z: cross_entropy(model(z), y)).flatten(1)
        zero = (of_loss == 0).all(1) | ~of_loss.isfinite().all(1)
        of_margin = gradient_at(x, lambda z: margin(model(z), y)).nan_to_num(0.0)
        reach = self.ball.eps * (of_margin * self.ball.ascend(of_margin)).sum((1, 2, 3))
        with torch.no_grad():
            before, after = model(x), model(self._corner(at, 0))
        moved = (margin(after, y) - margin(before, y)).abs()
        return torch.stack([zero, moved > reach + _ROUNDING * before.abs().amax(1)], 1)

    def _tell(self, name: str) -> None:
        if self.progress is not None:
            self.progress(name, 0, len(self.split), len(self.split))

    def _add(self, what: str, holds: Tensor, costs: Costs, about: Mapping[str, Any]) -> None:
        settings = {**self.settings, **about, "data": self.split.origin}
        self.rows.append(Row(what, self.run, settings, costs).share(holds))
