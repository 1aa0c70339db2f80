"""full_precision: float32 and nothing less, in a network's layers and in torch's own settings."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from threading import Lock

import torch
from torch import nn

from hardy.models.classifier import Classifier


@contextmanager
def full_precision(model: object) -> Iterator[None]:
    """float32 and nothing less inside: no autocast, the caller's own included, and no TF32 convolutions on a GPU.

    Holds for every `Classifier` in the model, one that another module wraps too.
    """
    modules = model.modules() if isinstance(model, nn.Module) else ()
    before = {module: module.autocast for module in modules if isinstance(module, Classifier)}
    try:
        for module in before:
            module.autocast = None
        with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False), ieee_convolutions():
            yield
    finally:
        for module, precision in before.items():
            module.autocast = precision


class _IEEE(AbstractContextManager[None]):
    """One for the process, as torch's setting is: of several inside at once, threads', the first sets and the last undoes."""

    def __init__(self) -> None:
        self._lock, self._inside, self._before = Lock(), 0, ""

    def __enter__(self) -> None:
        convolutions = torch.backends.cudnn.conv  # type: ignore[attr-defined]
        with self._lock:
            if not self._inside:
                self._before, convolutions.fp32_precision = convolutions.fp32_precision, "ieee"
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                torch.backends.cudnn.conv.fp32_precision = self._before  # type: ignore[attr-defined]


_ieee = _IEEE()


def ieee_convolutions() -> AbstractContextManager[None]:
    """Convolutions of float32 numbers in float32: a GPU otherwise rounds them to the 10 bits of TF32."""
    return _ieee
