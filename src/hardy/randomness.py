"""Noise: random numbers keyed by (seed, purpose, step or image, draw), the same on every device."""

import hashlib
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from hardy.describe import require

_LOW = 0xFFFFFFFF
_ROUNDS = 10
_CHUNK = 1 << 15  # counters worked on at once: the intermediate tensors stay in a processor's cache
_SHARED = 0xFFFFFFFF  # the row that belongs to no image


def philox(
    counter: tuple[Tensor, ...], key: tuple[int | Tensor, int | Tensor]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Philox-4x32-10: four 32-bit words (as int64 tensors) from a counter of four words and a key of two.

    Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        p0, p1 = c0 * 0xD2511F53, c2 * 0xCD9E8D57  # 32 x 32 bits: the wrapped int64 holds all 64 bits of the product
        # an arithmetic shift fills with the sign; the mask takes the high word's 32 bits back
        c0, c1, c2, c3 = (
            (p1 >> 32).bitwise_and_(_LOW).bitwise_xor_(c1).bitwise_xor_(k0),
            p1.bitwise_and_(_LOW),
            (p0 >> 32).bitwise_and_(_LOW).bitwise_xor_(c3).bitwise_xor_(k1),
            p0.bitwise_and_(_LOW),
        )
        k0, k1 = (k0 + 0x9E3779B9) & _LOW, (k1 + 0xBB67AE85) & _LOW
    return c0, c1, c2, c3


class Noise:
    """A stream of random numbers for each row (image) of a batch, every one a pure function of its key.

    The key is (seed, purpose, step, row, draw). Nothing is consumed: the same Noise asked twice gives the same numbers;
    `derive` and `draw` give others. Numbers of a row do not depend on which other rows stand beside it. Uniform numbers
    and integers are equal to the bit on every device, normal ones within 1e-6.

    seed and step: integers in [0, 2**32). rows: int64 (N,), image indices in evaluation, places in the batch in
    training. draws: an integer or int64 (N,), one for each row.
    """

    def __init__(self, seed: int, rows: Tensor, *, step: int = 0, purpose: str = "", draws: Tensor | int = 0) -> None:
        require(0 <= seed <= _LOW, "seed", seed, "an integer in [0, 2**32)")
        require(0 <= step <= _LOW, "step", step, "an integer in [0, 2**32)")
        self.seed, self.rows, self.step, self.purpose, self.draws = seed, rows, step, purpose, draws

    @classmethod
    def of_batch(
        cls, n: int, seed: int = 0, *, step: int = 0, purpose: str = "", device: torch.device | str = "cpu"
    ) -> "Noise":
        """Noise for n rows numbered from 0."""
        return cls(seed, torch.arange(n, device=device), step=step, purpose=purpose)

    def __len__(self) -> int:
        return len(self.rows)

    def _with(
        self, *, rows: Tensor | None = None, purpose: str | None = None, draws: Tensor | int | None = None
    ) -> "Noise":
        return Noise(
            self.seed,
            self.rows if rows is None else rows,
            step=self.step,
            purpose=self.purpose if purpose is None else purpose,
            draws=self.draws if draws is None else draws,
        )

    def derive(self, purpose: str) -> "Noise":
        """Numbers independent of these, for another purpose."""
        return self._with(purpose=f"{self.purpose}/{purpose}")

    def draw(self, number: Tensor | int) -> "Noise":
        """The number-th independent set of numbers; int64 (N,) where the rows are at different draws."""
        return self._with(draws=number)

    def __getitem__(self, index: Tensor | slice) -> "Noise":
        draws = self.draws[index] if isinstance(self.draws, Tensor) else self.draws
        return self._with(rows=self.rows[index], draws=draws)

    @staticmethod
    def cat(parts: Sequence["Noise"]) -> "Noise":
        """The rows of several parts of one stream, one after another, each at its own draw."""
        draws = torch.cat([part._row_draws() for part in parts])
        return parts[0]._with(rows=torch.cat([part.rows for part in parts]), draws=draws)

    def _row_draws(self) -> Tensor:
        """int64 (N,): the draw each row is at."""
        return torch.as_tensor(self.draws, dtype=torch.int64, device=self.rows.device).expand(len(self.rows))

    @property
    def shared(self) -> "Noise":
        """One row that belongs to the batch as a whole: the same whatever images, or how many, are in it."""
        rows = torch.full((1,), _SHARED, dtype=torch.int64, device=self.rows.device)
        draws = 0 if isinstance(self.draws, Tensor) else self.draws
        return self._with(rows=rows, draws=draws)

    def bits(self, shape: Sequence[int]) -> Tensor:
        """int64 (N, *shape): 32 random bits in each element."""
        count, device = math.prod(shape), self.rows.device
        blocks = -(-count // 4)
        purpose = int.from_bytes(hashlib.blake2b(self.purpose.encode(), digest_size=4).digest(), "little")
        rows = self.rows.bitwise_and(_LOW)
        draws = self._row_draws().bitwise_and(_LOW)
        at_once = max(1, _CHUNK // max(1, blocks)) if device.type == "cpu" else max(1, len(rows))
        position = torch.arange(blocks, device=device)
        parts = []
        for first in range(0, len(rows), at_once):
            some = slice(first, first + at_once)
            n = len(rows[some])
            counter = torch.broadcast_tensors(
                position.view(1, -1),
                draws[some].view(-1, 1),
                rows[some].view(-1, 1),
                torch.full((1, 1), purpose, device=device),
            )
            words = philox(counter, (self.seed, self.step))
            parts.append(torch.stack(words, 2).view(n, 4 * blocks)[:, :count])
        joined = torch.cat(parts) if parts else torch.empty((0, count), dtype=torch.int64, device=device)
        return joined.reshape(len(rows), *shape)

    def uniform(self, shape: Sequence[int], low: float = 0.0, high: float = 1.0) -> Tensor:
        """float32 (N, *shape), uniform between low (included) and high (where rounding may include it)."""
        unit = (self.bits(shape) >> 8).to(torch.float32) * 2.0**-24  # 24 bits: exact in float32, on any device
        return unit if (low, high) == (0.0, 1.0) else unit * (high - low) + low

    def normal(self, shape: Sequence[int]) -> Tensor:
        """float32 (N, *shape), standard normal (Box-Muller in float64, so that devices agree within 1e-6)."""
        count = math.prod(shape)
        half = -(-count // 2)
        bits = self.bits((2, half))
        radius = bits[:, 0].to(torch.float64).add_(0.5).mul_(2.0**-32).log_().mul_(-2).sqrt_()
        angle = bits[:, 1].to(torch.float64).mul_(2.0**-32 * 2 * math.pi)
        both = torch.cat([(radius * angle.cos()).to(torch.float32), (radius * angle.sin()).to(torch.float32)], 1)
        return both[:, :count].reshape(len(self), *shape)

    def integers(self, high: int, shape: Sequence[int]) -> Tensor:
        """int64 (N, *shape), uniform in [0, high); high at most 2**31, where the bias is below high / 2**32."""
        require(0 < high <= 2**31, "high", high, "an integer in [1, 2**31]")
        return (self.bits(shape) * high) >> 32

    def permutation(self, n: int) -> Tensor:
        """int64 (N, n): a random order of 0 .. n-1 for each row."""
        return self.bits((n,)).argsort(dim=1, stable=True)
