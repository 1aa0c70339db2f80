"""Natural corruptions: 15 types and 4 more by their names, five severities of each, and images corrupted by them.

Source:  Hendrycks and Dietterich, "Benchmarking neural network robustness to common corruptions and perturbations", ICLR 2019;
         constants of its code, github.com/hendrycks/robustness, make_cifar_c.py and make_imagenet_c.py. RAT paper, Table 2, for
         its twelve types.
Differs: images whose shorter side is 32 or less get the constants of CIFAR, others those of ImageNet, with lengths in
         proportion to that side (from 32 and from 224). That is a decision of ours, for images of any size.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from hardy.data.corrupt_blur import DefocusBlur, GaussianBlur, GlassBlur, MotionBlur, ZoomBlur
from hardy.data.corrupt_digital import JPEG, Brightness, Contrast, ElasticTransform, Pixelate, Saturate
from hardy.data.corrupt_noise import GaussianNoise, ImpulseNoise, ShotNoise, SpeckleNoise
from hardy.data.corrupt_spatter import Mud, Water
from hardy.data.corrupt_weather import Fog, Frost, Snow
from hardy.data.corruption import Corruption
from hardy.describe import require
from hardy.errors import UsageError, unknown
from hardy.randomness import Noise

Group = Literal["noise", "blur", "weather", "digital", "extra"]
SEVERITIES = (1, 2, 3, 4, 5)
_LEAST = 8  # pixels


@dataclass(frozen=True)
class Kind:
    """A type of corruption. cifar, imagenet: at severities 1 to 5, for images of 32 and of 224 pixels."""

    group: Group
    cifar: tuple[Corruption, ...]
    imagenet: tuple[Corruption, ...]


def _each(make: Callable[..., Corruption], *constants: float | tuple[float, ...]) -> tuple[Corruption, ...]:
    return tuple(make(*(c if isinstance(c, tuple) else (c,))) for c in constants)


def _elastic(side: int, *constants: tuple[float, float, float]) -> tuple[Corruption, ...]:
    """Constants as the code has them, shares of an image's side (244 where images have 224)."""
    return tuple(ElasticTransform(*(side * c for c in each)) for each in constants)


KINDS: Mapping[str, Kind] = {
    "gaussian_noise": Kind(
        "noise", _each(GaussianNoise, 0.04, 0.06, 0.08, 0.09, 0.1), _each(GaussianNoise, 0.08, 0.12, 0.18, 0.26, 0.38)
    ),
    "shot_noise": Kind("noise", _each(ShotNoise, 500, 250, 100, 75, 50), _each(ShotNoise, 60, 25, 12, 5, 3)),
    "impulse_noise": Kind(
        "noise", _each(ImpulseNoise, 0.01, 0.02, 0.03, 0.05, 0.07), _each(ImpulseNoise, 0.03, 0.06, 0.09, 0.17, 0.27)
    ),
    "defocus_blur": Kind(
        "blur",
        _each(DefocusBlur, (0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
        _each(DefocusBlur, (3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
    ),
    "glass_blur": Kind(
        "blur",
        _each(GlassBlur, (0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
        _each(GlassBlur, (0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
    ),
    "motion_blur": Kind(
        "blur",
        _each(MotionBlur, (6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
        _each(MotionBlur, (10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
    ),
    "zoom_blur": Kind(
        "blur",
        _each(ZoomBlur, (1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
        _each(ZoomBlur, (1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
    ),
    "snow": Kind(
        "weather",
        _each(
            Snow,
            (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
        ),
        _each(
            Snow,
            (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
            (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
            (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
            (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
            (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
        ),
    ),
    "frost": Kind(
        "weather",
        _each(Frost, (1, 0.2, 0.2), (1, 0.3, 0.2), (0.9, 0.4, 0.2), (0.85, 0.4, 0.2), (0.75, 0.45, 0.2)),
        _each(Frost, (1, 0.4, 1), (0.8, 0.6, 1), (0.7, 0.7, 1), (0.65, 0.7, 1), (0.6, 0.75, 1)),
    ),
    "fog": Kind(
        "weather",
        _each(Fog, (0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
        _each(Fog, (1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
    ),
    "brightness": Kind(
        "weather", _each(Brightness, 0.05, 0.1, 0.15, 0.2, 0.3), _each(Brightness, 0.1, 0.2, 0.3, 0.4, 0.5)
    ),
    "contrast": Kind("digital", _each(Contrast, 0.75, 0.5, 0.4, 0.3, 0.15), _each(Contrast, 0.4, 0.3, 0.2, 0.1, 0.05)),
    "elastic_transform": Kind(
        "digital",
        _elastic(32, (0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)),
        _elastic(244, (2, 0.7, 0.1), (2, 0.08, 0.2), (0.05, 0.01, 0.02), (0.07, 0.01, 0.02), (0.12, 0.01, 0.02)),
    ),
    "pixelate": Kind(
        "digital", _each(Pixelate, 0.95, 0.9, 0.85, 0.75, 0.65), _each(Pixelate, 0.6, 0.5, 0.4, 0.3, 0.25)
    ),
    "jpeg_compression": Kind("digital", _each(JPEG, 80, 65, 58, 50, 40), _each(JPEG, 25, 18, 15, 10, 7)),
    "speckle_noise": Kind(
        "extra", _each(SpeckleNoise, 0.06, 0.1, 0.12, 0.16, 0.2), _each(SpeckleNoise, 0.15, 0.2, 0.35, 0.45, 0.6)
    ),
    "gaussian_blur": Kind("extra", _each(GaussianBlur, 0.4, 0.6, 0.7, 0.8, 1), _each(GaussianBlur, 1, 2, 3, 4, 6)),
    "spatter": Kind(
        "extra",
        (
            *_each(Water, (0.62, 0.1, 0.7, 0.7, 0.5), (0.65, 0.1, 0.8, 0.7, 0.5), (0.65, 0.3, 1, 0.69, 0.5)),
            *_each(Mud, (0.65, 0.1, 0.7, 0.69, 0.6), (0.65, 0.1, 0.5, 0.68, 0.6)),
        ),
        (
            *_each(Water, (0.65, 0.3, 4, 0.69, 0.6), (0.65, 0.3, 3, 0.68, 0.6), (0.65, 0.3, 2, 0.68, 0.5)),
            *_each(Mud, (0.65, 0.3, 1, 0.65, 1.5), (0.67, 0.4, 1, 0.65, 1.5)),
        ),
    ),
    "saturate": Kind(
        "extra",
        _each(Saturate, (0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)),
        _each(Saturate, (0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)),
    ),
}

USUAL = tuple(name for name, kind in KINDS.items() if kind.group != "extra")  # the benchmark's fifteen
RAT_PAPER = tuple(name for name in USUAL if KINDS[name].group != "noise")  # the twelve of the RAT paper's Table 2


def corruption(kind: str, severity: int, shape: Sequence[int], overlays: str = "") -> Corruption:
    """The corruption of that name and severity for images of shape (C, H, W). overlays: see `Frost`.

    Raises: UsageError for a name that is none, a severity outside 1..5, or images of fewer than 8 pixels.
    """
    if kind not in KINDS:
        raise unknown("corruption", kind, KINDS)
    require(severity in SEVERITIES, "severity", severity, "in 1..5")
    table, by = _table(shape)
    made = getattr(KINDS[kind], table)[severity - 1]
    made = made if by == 1 else made.scaled(by)
    return replace(made, overlays=overlays) if isinstance(made, Frost) and overlays else made


def constants(shape: Sequence[int]) -> str:
    """Which constants images of shape (C, H, W) get, in words."""
    table, by = _table(shape)
    side, of = min(shape[1:]), {"cifar": 32, "imagenet": 224}[table]
    name = {"cifar": "CIFAR", "imagenet": "ImageNet"}[table]
    return f"those of {name}" if by == 1 else f"those of {name}, lengths times {side}/{of}"


def _table(shape: Sequence[int]) -> tuple[str, float]:
    """(whose constants, what lengths are multiplied with)."""
    side = min(shape[1:])
    require(
        side >= _LEAST, "the shorter side of the images", side, f"at least {_LEAST} pixels for them to be corrupted"
    )
    return ("cifar", side / 32) if side <= 32 else ("imagenet", side / 224)


def corrupt(images: Tensor, kind: str, severity: int, noise: Noise, *, overlays: str = "") -> Tensor:
    """uint8 (N, C, H, W): images, likewise, under a corruption of `KINDS`, each image with random numbers of its own.

    noise: a row for each image; each kind and severity gets others from it. overlays: a folder with the release's pictures of
    frost; left empty, ice is drawn.

    Raises: UsageError for images of another type or of fewer than 8 pixels a side, noise of another number of rows, an unknown
    kind, or a severity outside 1..5.
    """
    if images.dtype != torch.uint8 or images.ndim != 4:
        raise UsageError(f"Images are {images.dtype} {tuple(images.shape)}; they must be uint8 (N, C, H, W).")
    require(len(noise) == len(images), "noise", f"of {len(noise)} rows", f"of {len(images)}, one for each image")
    made = corruption(kind, severity, images.shape[1:], overlays)
    return made.apply(images, noise.derive(f"{kind} {severity}")) if len(images) else images
