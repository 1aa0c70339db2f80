"""Precision and memory layout: what this machine can do, and a network made ready for it."""

from typing import Literal, TypeVar

import torch

from hardy.models.classifier import Classifier
from hardy.parallel import this_group

Precision = Literal["auto", "float32", "bfloat16"]
Layout = Literal["auto", "channels_last", "contiguous"]
Model = TypeVar("Model", bound=Classifier)


def this_device(device: torch.device | str | None = None) -> torch.device:
    """The device asked for; where none is, a GPU where there is one. Of a group, each process has a GPU of its own."""
    asked = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    one_of_many = asked.type == "cuda" and asked.index is None and this_group().size > 1
    return torch.device("cuda", this_group().local) if one_of_many else asked


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether the hardware multiplies bfloat16 matrices natively, rather than by way of float32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return False


def resolve(precision: Precision, device: torch.device) -> Literal["float32", "bfloat16"]:
    """The precision that "auto" stands for on this device."""
    if precision != "auto":
        return precision
    return "bfloat16" if multiplies_bfloat16(device) else "float32"


def prepare(
    model: Model,
    device: torch.device,
    precision: Precision = "auto",
    layout: Layout = "auto",
    *,
    compiled: bool = False,
) -> Model:
    """The network on its device, its trunk in the precision and layout asked for; "auto" fits them to the machine.

    Parameters, perturbations, losses and verdicts are float32 in every precision.
    """
    model.to(device)
    # channels_last is never slower where convolutions are native; the other layout is for comparison
    if layout != "contiguous":
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    model.autocast = torch.bfloat16 if resolve(precision, device) == "bfloat16" else None
    if compiled:
        model.trunk = torch.compile(model.trunk)  # type: ignore[method-assign]
    return model
