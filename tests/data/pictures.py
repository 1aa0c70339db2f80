"""Made-up images with what photographs have: smooth areas, edges, grain, black and white."""

import numpy as np
import torch

from hardy.data.filters import plasma
from hardy.randomness import Noise


def pictures(n: int = 4, c: int = 3, h: int = 32, w: int = 32, seed: int = 0) -> torch.Tensor:
    """uint8 (N, C, H, W)."""
    noise = Noise.of_batch(n * c, seed, purpose="pictures")
    smooth = plasma(64, 2.0, noise.uniform((64 * 64 - 1,), -1, 1))[:, :h, :w]
    x = 1.3 * smooth - 0.15 + 0.03 * noise.derive("grain").normal((h, w))
    x = x.clamp(0, 1).view(n, c, h, w)
    x[:, :, h // 4 : h // 2, w // 3 : w // 2] = 1.0
    x[:, :, h // 2 :, : w // 4] *= 0.1
    return (255 * x).to(torch.uint8)


def numpied(images: torch.Tensor) -> np.ndarray:
    """(N, H, W, C), as other libraries have them."""
    return images.permute(0, 2, 3, 1).numpy()


def is_cut(made: torch.Tensor, wanted: np.ndarray | torch.Tensor) -> bool:
    """Whether bytes are these real numbers, each cut to the next smaller whole one.

    Where a number is whole but for rounding, the one below will do as well.
    """
    got, real = made.numpy().astype(float), np.clip(np.asarray(wanted, dtype=float), 0, 255)
    whole = np.abs(real - real.round()) < 1e-5
    return bool(((got == np.floor(real)) | (whole & ((got == real.round()) | (got == real.round() - 1)))).all())
