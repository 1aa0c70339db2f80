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
from hardy.losses.logits import cross_entropy
from hardy.models.classifier import frozen, full_precision
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
    batch: int = 100,
    run: str = "",
    settings: Mapping[str, Any] | None = None,
) -> list[Measurement]:
    """A row for each brightness shift and each gamma: the mean gradient norm, with a 95 % normal interval of the mean.

    settings: what else belongs into each row.

    Raises: UsageError for a shift outside [-1, 1], an exponent not above 0, no images, or a network that does not fit
    them or gives no gradient.
    """
    shifts, exponents = fitted(shifts, tuple[float, ...], "shifts"), fitted(exponents, tuple[float, ...], "exponents")
    require(fitted(batch, int, "batch") > 0, "batch", batch, "at least 1")
    for shift in shifts:
        require(-1 <= shift <= 1, "brightness shift", shift, "in [-1, 1]")
    for exponent in exponents:
        require(exponent > 0, "gamma", exponent, "above 0")
    check_network(model, split)
    wanted: list[tuple[str, Callable[[Images], Images]]] = [
        *((f"loss sensitivity at brightness {shift:+g}", lambda x, shift=shift: brightness(x, shift)) for shift in shifts),
        *((f"loss sensitivity at gamma {exponent:g}", lambda x, exponent=exponent: gamma(x, exponent)) for exponent in exponents),
    ]  # fmt: skip
    rows = []
    for what, transform in wanted:
        started = time.perf_counter()
        norms = gradient_norms(model, split, transform, batch)
        about = {**(settings or {}), "data": split.origin}
        rows.append(_row(norms, what, run, about, time.perf_counter() - started))
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


def _row(norms: PerSample, what: str, run: str, settings: dict[str, Any], seconds: float) -> Measurement:
    mean, n = float(norms.double().mean()), len(norms)
    half = 1.96 * float(norms.double().std()) / n**0.5 if n > 1 else None
    return Measurement(
        run=run,
        what=what,
        value=mean,
        unit="gradient norm",
        n=n,
        low=None if half is None else mean - half,
        high=None if half is None else mean + half,
        settings=settings,
        seconds=seconds,
        forwards=n,
        backwards=n,
        device=str(norms.device),
    )
