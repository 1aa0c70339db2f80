"""Adversarial images in a file, float32, and what a network makes of them when they are read again."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from hardy.attacks.attack import Forward, check_images
from hardy.errors import FailedError, UsageError
from hardy.evaluation.memory import Room
from hardy.evaluation.stream import verdict
from hardy.files import write_bytes
from hardy.models.classifier import frozen
from hardy.types import Images, Labels

_ROUNDING = 0.002  # share of verdicts that a network's rounding may turn


@dataclass(frozen=True)
class Adversarial:
    """x_adv: float32 (N, C, H, W). labels, indices: int64 (N,), classes and places in the source file. about: their making."""

    x_adv: Images
    labels: Labels
    indices: Tensor
    about: Mapping[str, Any]

    def save(self, path: Path) -> None:
        """Write them into a new file. Raises: UsageError where one is there already; FailedError if it cannot be written."""
        if path.exists():
            raise UsageError(f"{path} exists already; adversarial images go into a new file.")
        tensors = {"x_adv": self.x_adv.cpu().contiguous(), "labels": self.labels.cpu(), "indices": self.indices.cpu()}
        write_bytes(path, save(tensors, {"about": json.dumps(dict(self.about))}))

    @classmethod
    def read(cls, path: Path) -> "Adversarial":
        """Read such a file. Raises: UsageError for a file of another kind, or with images that are none."""
        try:
            with safe_open(path, "pt") as file:
                tensors = {name: file.get_tensor(name) for name in ("x_adv", "labels", "indices")}
                about = dict(json.loads((file.metadata() or {})["about"]))
        except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
            raise UsageError(f"{path} does not hold adversarial images as hardy writes them: {error}.") from error
        check_images(tensors["x_adv"])
        n = len(tensors["x_adv"])
        if any(t.dtype != torch.int64 or t.shape != (n,) for t in (tensors["labels"], tensors["indices"])):
            raise UsageError(f"{path} holds {n} images, and labels or indices that are not int64 ({n},).")
        return cls(tensors["x_adv"], tensors["labels"], tensors["indices"], about)

    def accuracy(self, model: Forward, batch: int = 200) -> Tensor:
        """Bool (N,): whether the network classifies each of them correctly, by a forward pass in full precision."""
        parameter = next(model.parameters(), self.x_adv) if isinstance(model, torch.nn.Module) else self.x_adv

        def judged(which: Tensor) -> Tensor:
            return verdict(model, self.x_adv[which].to(parameter.device), self.labels[which].to(parameter.device))

        with frozen(model):
            parts = Room(batch).parts(judged, torch.arange(len(self.x_adv)))
            return torch.cat([made for _, made in parts]).cpu()


def save_verified(path: Path, found: Adversarial, model: Forward, correct: Tensor) -> int:
    """Write adversarial images, read them again, judge those anew; how many of them get another verdict.

    correct: bool (N,), what was found when they were made. An image on the very boundary may fall to the other side by the
    rounding of another batch.

    Raises: FailedError where more than 0.2 % of the verdicts (or one) differ, which is no rounding; the file is kept.
    """
    found.save(path)
    again = Adversarial.read(path).accuracy(model)
    differ = int((again != correct.cpu()).sum())
    if differ > max(1, _ROUNDING * len(correct)):
        raise FailedError(
            f"{differ} of the {len(correct)} images in {path} get another verdict than when they were made: something random "
            "in the network, or in what it computes with, decides them."
        )
    return differ
