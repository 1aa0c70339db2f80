"""Transfer matrix: several networks on the images that attacks on each of them found, crafted once and shown to all.

Source:  InfoFeature paper, section 4.3 and Table 6.
Differs: an image that the judged network misclassifies unperturbed never counts as robust, as everywhere here.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import torch
from torch import Tensor

from hardy.attacks.attack import Attack, Forward, check_found
from hardy.data.split import Split
from hardy.describe import require
from hardy.evaluation.checks import check_alone, check_network
from hardy.evaluation.memory import Room, usable_batch
from hardy.evaluation.path import Tell
from hardy.evaluation.rows import Costs, Row, determining
from hardy.evaluation.stream import Counted, Outcome, allowed, classify, verdict
from hardy.models.classifier import frozen
from hardy.randomness import Noise
from hardy.results import Measurement
from hardy.types import Images


def transfer_matrix(
    networks: Mapping[str, Forward],
    split: Split,
    attacks: Mapping[str, Attack],
    *,
    sources: Mapping[str, Forward] | None = None,
    seed: int = 0,
    batch: int | None = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    tell: Tell | None = None,
) -> list[Measurement]:
    """A row for each attack, each source and each network, in this order: the network's accuracy on the attack's images.

    networks: those that judge, by name; a row's `run` is the name. sources: those that attacks are crafted on; left out, the
    same, and where a network judges what was crafted on itself it is a white-box attack. attacks: by name, each on single
    images; judged at the last iterate. settings: what else belongs into the rows of a network, by its name; a row has those of
    its source under "crafted on". The cost of an attack is in the rows of all its judges, though it is made once. tell:
    progress, in images times attacks times sources.

    The numbers are those of `evaluate` with `craft_on`.

    Raises: UsageError for no network or attack, an attack on groups of images, or what `check_network` raises; FailedError for
    an attack that ends in NaN or infinite pixels.
    """
    sources, settings = networks if sources is None else sources, settings or {}
    require(bool(networks) and bool(sources), "networks", [*networks, *sources], "at least one to judge, and a source")
    require(bool(attacks), "attacks", list(attacks), "at least one")
    for attack in attacks.values():
        check_alone(attack)
    for network in (*networks.values(), *sources.values()):
        check_network(network, split)
    at_once = min(usable_batch(source, split, batch) for source in sources.values())
    clean = {name: classify(network, split, at_once).correct for name, network in networks.items()}
    judges, noise = _Judges(networks, clean, split), Noise(seed, split.indices, purpose="evaluation")
    rows: list[Measurement] = []
    pairs = list(product(attacks.items(), sources.items()))
    for number, ((title, attack), (origin, source)) in enumerate(pairs):

        def told(share: float, number: int = number) -> None:
            if tell is not None:
                tell(round((number + share) * len(split)), len(pairs) * len(split))

        about = {"crafted on": {"name": origin, **settings.get(origin, {})}}
        for name, outcome in judges.shown(source, attack, noise, Room(at_once), told).items():
            of = determining(settings.get(name), split, attack, "last", seed) | about
            of |= {"illegal": outcome.illegal} if outcome.illegal else {}
            row = Row(f"accuracy under {title} crafted on {origin}", name, of, Costs.of(outcome))
            rows.append(row.share(outcome.correct))
    return rows


@dataclass(frozen=True)
class _Judges:
    """networks: those that judge. clean: bool (N,) for each, which of the split's images it classifies correctly unperturbed."""

    networks: Mapping[str, Forward]
    clean: Mapping[str, Tensor]
    split: Split

    def shown(
        self, source: Forward, attack: Attack, noise: Noise, room: Room, told: Callable[[float], None]
    ) -> dict[str, Outcome]:
        """What each network makes of an attack's images, which are made once, on the source, where one is still to be fooled.

        The costs are those of the attack and of that network's verdicts. told: the share that is done.
        """
        began, seen = time.perf_counter(), Counted(source)
        judges = {name: Counted(network) for name, network in self.networks.items()}
        correct = {name: right.clone() for name, right in self.clean.items()}
        illegal = {name: torch.zeros_like(right) for name, right in self.clean.items()}
        # an attack that is not made of iterations of ours is one stage
        stages: list[tuple[Attack, Noise]] = [*zip(attack.stages, attack.noises(noise), strict=True)] or [
            (attack, noise)
        ]
        with ExitStack() as all_frozen:
            for network in (source, *self.networks.values()):
                all_frozen.enter_context(frozen(network))
            for number, (stage, drawn) in enumerate(stages):
                left, done = torch.stack(list(correct.values())).any(0).nonzero().squeeze(1), 0
                made = room.parts(partial(self._made, seen, stage, drawn), left, stage.copies) if len(left) else ()
                for which, x_adv in made:
                    outside = ~allowed(attack.ball, x_adv, self.split.x(which))
                    for name, judge in judges.items():
                        fooled = correct[name][which] & ~verdict(judge, x_adv, self.split.labels[which])
                        illegal[name][which] |= fooled & outside
                        correct[name][which] &= ~fooled | outside
                    done += len(which)
                    told((number + done / len(left)) / len(stages))
        seconds = time.perf_counter() - began
        return {
            name: Outcome(
                correct[name], seconds, seen.forwards + judge.forwards, seen.backwards, (), int(illegal[name].sum())
            )
            for name, judge in judges.items()
        }

    def _made(self, source: Forward, stage: Attack, noise: Noise, which: Tensor) -> Images:
        x_adv = stage.perturb(source, self.split.x(which), self.split.labels[which], noise[which])
        check_found(x_adv)
        return x_adv
