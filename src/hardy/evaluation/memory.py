"""How many images to attack at once: what one image's gradient needs, and what memory is free."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from hardy.attacks.attack import Forward
from hardy.data.split import Split
from hardy.describe import fitted, require
from hardy.errors import FailedError
from hardy.models.classifier import frozen
from hardy.parallel import this_group

T = TypeVar("T")

_MEMINFO = Path("/proc/meminfo")
_MOST = 250  # images; more are no faster, and make a stream's end longer
_SHARE = 0.5  # of the free memory; the attack's own state and the allocator need some
_WITHOUT_KNOWING = 100  # images, where a system does not tell how much is free


@dataclass
class Room:
    """How many images go through a network at once: half as many from then on where a device's memory does not hold them."""

    images: int

    def beside(self, copies: int) -> int:
        """For how many images there is room where each goes through the network in so many copies; at least 1."""
        return max(1, self.images // copies)

    def parts(self, work: Callable[[Tensor], T], index: Tensor, copies: int = 1) -> Iterator[tuple[Tensor, T]]:
        """(part of the index, what `work` makes of it), as many images at once as there is room for; one part at least.

        Work that ran out of memory is begun again on half as many images; what was done before is kept.

        Raises: FailedError where memory does not hold a single image.
        """
        first = 0
        while first < len(index) or first == 0:
            part = index[first : first + self.beside(copies)]
            done: list[T] = []
            try:
                done.append(work(part))
            except torch.OutOfMemoryError as error:
                if len(part) <= 1:
                    raise FailedError("The device's memory does not hold one image's attack; take another.") from error
            if done:
                yield part, done[0]
                first += max(1, len(part))
            else:  # out of the except clause: while the error lives, so do the tensors of where it was raised
                self.images = len(part) // 2 * copies
                torch.cuda.empty_cache()


def usable_batch(model: Forward, split: Split, batch: int | None) -> int:
    """The batch that was asked for, or where none was the one that fits. Raises: UsageError for one below 1."""
    require(batch is None or fitted(batch, int, "batch") > 0, "batch", batch, "at least 1")
    return fitting_batch(model, split) if batch is None else batch


def fitting_batch(model: Forward, split: Split) -> int:
    """A batch whose gradient fits into free memory, at most 250 images.

    On a GPU it is 250: what does not fit is halved there once it is tried. Processes of a group share a machine's memory.
    """
    if split.labels.device.type != "cpu":
        return _MOST
    free = _free()
    if free is None:
        return _WITHOUT_KNOWING
    return max(1, min(_MOST, int(_SHARE * free / this_group().beside / max(1, _gradient_bytes(model, split)))))


def _gradient_bytes(model: Forward, split: Split) -> int:
    """Bytes that a pass keeps for the gradient of one image more."""
    kept: dict[int, int] = {}  # a tensor may be kept several times

    def count(tensor: Tensor) -> Tensor:
        kept[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
        return tensor

    with frozen(model), torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        two = split.x(torch.zeros(2, dtype=torch.int64)).requires_grad_()  # there may be no second image
        # the weights are kept once, however many images there are
        return max(0, _kept_by(model, two, kept) - _kept_by(model, two[:1], kept))


def _kept_by(model: Forward, x: Tensor, kept: dict[int, int]) -> int:
    kept.clear()
    with torch.enable_grad():
        made = model(x)  # alive until all is counted: freed memory would be given out again
    total = sum(kept.values())
    del made
    return total


def _free() -> int | None:
    """Bytes of memory that are free, as Linux tells; None where it does not."""
    try:
        lines = dict(line.partition(":")[::2] for line in _MEMINFO.read_text(encoding="ascii").splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError, IndexError):
        return None
