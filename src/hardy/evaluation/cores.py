"""One part of the images on each core: for work that is half the network's and half plain code of one thread."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from torch import Tensor

from hardy.models.classifier import Classifier
from hardy.models.full_precision import full_precision

T = TypeVar("T")


def may_share(model: object) -> bool:
    """Whether several threads may ask the network at once: a fixed graph of layers on a CPU keeps nothing between two calls."""
    return isinstance(model, Classifier) and model.fixed_graph and model.mean.device.type == "cpu"


def on_each_core(model: object, work: Callable[[Tensor], T], parts: Sequence[Tensor]) -> Iterator[T]:
    """What `work` makes of each part, in order: as many parts at once as torch has threads, each of them on one thread.

    Inside, the network is one that `may_share`, and stays in full precision: a part that set its precision and put it back
    would do so in the middle of another.
    """
    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
    with full_precision(model):
        try:
            yield from pool.map(work, parts)
        finally:
            pool.shutdown(cancel_futures=True)
            torch.set_num_threads(threads)  # the workers' number is in part the whole process'
