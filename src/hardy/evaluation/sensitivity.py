"""Loss sensitivity: how steep the loss is on images that are brighter, darker, or gamma-mapped.

    l(alpha) = mean over images of || grad of CE(f(x'), y) at x' = V(x, alpha) ||_2,   and at x' = x^gamma

Source:  RLFAT paper, section 4.3, eqs. (11)-(12), Table 2.
Differs: as in the authors' code the gradient is taken at the transformed image and not carried through the transformation;
         the gamma measurement, which that code lacks, does the same.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from hardy.attacks.attack import Forward
from hardy.attacks.pgd import gradient_at
from hardy.data.split import Split
from hardy.describe import fitted, require
from hardy.evaluation.checks import check_network
from hardy.evaluation.memory import usable_batch
from hardy.evaluation.path import Tell
from hardy.evaluation.rows import Costs, Row
from hardy.losses.logits import cross_entropy
from hardy.models.classifier import frozen
from hardy.models.full_precision import full_precision
from hardy.results import Measurement
from hardy.types import Images, Labels, PerSample

BRIGHTNESS = (-0.15, 0.15)  # shifts of the paper's Table 2a
GAMMA = (0.8, 1.2)  # exponents of the paper's Table 2b


def brightness(x: Images, alpha: float) -> Images:
    """Images whose value in HSV is shifted by alpha and clipped to [0, 1]; for one channel the value is the pixel itself.

    With hue and saturation fixed, RGB is proportional to the value; black has no hue, and becomes grey.
    """
    value = x.amax(1, keepdim=True)
    shifted = (value + alpha).clamp(0, 1)
    return torch.where(value > 0, x * (shifted / value.clamp_min(1e-12)), shifted).clamp(0, 1)


def gamma(x: Images, exponent: float) -> Images:
    """X to the power of the exponent, pixel by pixel."""
    return x**exponent


def loss_sensitivity(
    model: Forward,
    split: Split,
    *,
    shifts: tuple[float, ...] = BRIGHTNESS,
    exponents: tuple[float, ...] = GAMMA,
    batch: int | None = None,
    run: str = "",
    settings: Mapping[str, Any] | None = None,
    tell: Tell | None = None,
) -> list[Measurement]:
    """A row for each brightness shift and each gamma: the mean gradient norm, with a 95 % normal interval of the mean.

    batch: images at once; left out, as many as memory holds. settings: what else belongs into each row. tell: progress, in
    images times transformations.

    Raises: UsageError for a shift outside [-1, 1], an exponent not above 0, no images, or a network that does not fit
    them or gives no gradient.
    """
    shifts, exponents = fitted(shifts, tuple[float, ...], "shifts"), fitted(exponents, tuple[float, ...], "exponents")
    for shift in shifts:
        require(-1 <= shift <= 1, "brightness shift", shift, "in [-1, 1]")
    for exponent in exponents:
        require(exponent > 0, "gamma", exponent, "above 0")
    check_network(model, split)
    at_once, n = usable_batch(model, split, batch), len(split)
    wanted: list[tuple[str, Callable[[Images], Images]]] = [
        *((f"loss sensitivity at brightness {shift:+g}", lambda x, shift=shift: brightness(x, shift)) for shift in shifts),
        *((f"loss sensitivity at gamma {exponent:g}", lambda x, exponent=exponent: gamma(x, exponent)) for exponent in exponents),
    ]  # fmt: skip
    rows = []
    about = {**(settings or {}), "data": split.origin}
    for number, (what, transform) in enumerate(wanted, start=1):
        started = time.perf_counter()
        norms = gradient_norms(model, split, transform, at_once)
        rows.append(Row(what, run, about, Costs(time.perf_counter() - started, n, n)).mean(norms, "gradient norm"))
        if tell is not None:
            tell(number * n, len(wanted) * n)
    return rows


def gradient_norms(model: Forward, split: Split, transform: Callable[[Images], Images], batch: int = 100) -> PerSample:
    """L2 norm of the loss gradient at each transformed image, in evaluation mode and full precision."""
    norms = []
    with frozen(model), full_precision(model):
        for part in torch.arange(len(split), device=split.labels.device).split(batch):
            grad = _gradient(model, transform(split.x(part)), split.labels[part])
            norms.append(grad.flatten(1).norm(dim=1))
    return torch.cat(norms)


def _gradient(model: Forward, x: Images, y: Labels) -> Tensor:
    return gradient_at(x, lambda at: cross_entropy(model(at), y))
