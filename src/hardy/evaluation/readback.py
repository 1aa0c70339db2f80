"""Read back: whether a network that was written to a file and read again gives the same logits, on every image."""

from collections.abc import Callable

import torch

from hardy.attacks.attack import Forward
from hardy.data.split import Split
from hardy.errors import FailedError
from hardy.evaluation.memory import Room
from hardy.models.classifier import frozen
from hardy.models.full_precision import full_precision
from hardy.types import Logits

_BATCH = 250  # of both networks: the last bits of a convolution may differ with it


def logits(model: Forward, split: Split, tell: Callable[[int], None] | None = None) -> Logits:
    """Float32 logits of all images, on the CPU, in evaluation mode and full precision. tell: told how many are done."""
    parts = []
    with full_precision(model), frozen(model), torch.no_grad():
        index = torch.arange(len(split), device=split.labels.device)
        for part, made in Room(_BATCH).parts(lambda which: model(split.x(which)).float().cpu(), index):
            parts.append(made)
            if tell is not None:
                tell(int(part[-1]) + 1)
    return torch.cat(parts)


def check_same(measured: Logits, again: Logits, split: Split, file: str) -> None:
    """Raises FailedError unless the network that was read from `file` gives the logits that were measured, to the last bit."""
    if torch.equal(measured, again):
        return
    labels = split.labels.cpu()
    right, now = (int((found.argmax(1) == labels).sum()) for found in (measured, again))
    others = int((measured != again).any(1).sum())
    raise FailedError(
        f"{file} was read back and is not the network that was measured: {others} of {len(labels)} images get other logits, "
        f"and {now} are classified correctly where {right} were. Nothing is left of it."
    )
