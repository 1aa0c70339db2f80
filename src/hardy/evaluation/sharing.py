"""shared_out: images measured by all processes of a group, each a part of them, with the outcome that one process would find."""

from collections.abc import Callable
from dataclasses import replace
from itertools import zip_longest

import torch
from torch import Tensor

from hardy.data.split import Split
from hardy.evaluation.stream import Outcome
from hardy.parallel import this_group


def shared_out(split: Split, measure: Callable[[Tensor | slice], Outcome], together: int | None = None) -> Outcome:
    """What `measure` finds on all images of a split, given which of them (int64 or a slice) each process is to look at.

    together: where an outcome depends on the images beside one, how many are looked at together; the first process measures
    all of them then, as it does where there are fewer than processes. Passes are those of all processes, seconds those of the
    slowest.
    """
    here = this_group()
    if here.size == 1:
        return measure(slice(None))
    if together is not None or len(split) < here.size:
        return _to(split, here.by_first(lambda: _moved(measure(slice(None)))))
    everything = torch.arange(len(split), device=split.labels.device)
    mine = here.share(everything)
    return _to(split, _joined(here.gathered((mine.cpu(), _moved(measure(mine)))), len(split)))


def _joined(found: list[tuple[Tensor, Outcome]], n: int) -> Outcome:
    """The outcome of n images, of those of parts of them."""
    outcomes = [outcome for _, outcome in found]
    correct, first = torch.zeros(n, dtype=torch.bool), outcomes[0].x_adv
    x_adv = None if first is None else first.new_empty((n, *first.shape[1:]))
    for which, outcome in found:
        correct[which] = outcome.correct
        if x_adv is not None and outcome.x_adv is not None:
            x_adv[which] = outcome.x_adv
    return Outcome(
        correct,
        max(outcome.seconds for outcome in outcomes),
        sum(outcome.forwards for outcome in outcomes),
        sum(outcome.backwards for outcome in outcomes),
        tuple(map(sum, zip_longest(*(outcome.after for outcome in outcomes), fillvalue=0))),
        sum(outcome.illegal for outcome in outcomes),
        x_adv,
    )


def _moved(outcome: Outcome, device: torch.device | str = "cpu") -> Outcome:
    x_adv = None if outcome.x_adv is None else outcome.x_adv.to(device)
    return replace(outcome, correct=outcome.correct.to(device), x_adv=x_adv)


def _to(split: Split, outcome: Outcome) -> Outcome:
    return _moved(outcome, split.labels.device)
