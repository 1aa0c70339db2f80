"""Square: a black-box attack by random search over squares; sees the logits, no gradient.

Linf: every pixel of a random square goes to +eps or -eps, one sign a channel; the start is vertical stripes of such signs.
L2:   a random square takes the perturbation of a second one, and gets a pattern of two opposite peaks added; the start is a
      grid of such patterns. Both: kept where the margin z_y - max_{c != y} z_c falls. The squares shrink by a schedule.

Source:  Andriushchenko et al., "Square Attack", ECCV 2020, Algorithms 1 to 3; constants of AutoAttack's standard version
         (Croce and Hein, ICML 2020), which runs 5,000 queries on the schedule made for 10,000.
Differs: AutoAttack draws one square for all images of a batch, here each image has its own. As there, a square never reaches
         the last row and column where it could be moved. An image on the boundary (a margin of exactly 0, still classified
         correctly) is searched on; AutoAttack leaves it. The L2 start takes the shorter side's grid and leaves out squares
         that do not fit; AutoAttack fails on such images.
"""

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import torch
from torch import Tensor

from hardy.attacks.attack import Forward, Iterative, State, of_unfinished
from hardy.attacks.balls import L2, Ball, Linf
from hardy.describe import require, settings
from hardy.losses.criteria import check_labels, to_fall, true_class
from hardy.randomness import Noise
from hardy.types import Images, Logits, PerSample

_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # iterations, of 10,000, after which p is halved
_AHEAD = 32  # iterations whose random numbers are drawn at once: philox is a hundred small tensor operations
_TOGETHER, _MOST = 64, 8  # more images at once, or queries of one image, are hardly quicker
_TINY = 1e-12


@dataclass
class SquareState(State):
    """margin: the least margin so far, that of x_adv. words: int64 (N, 32, k), random numbers of the iterations at hand."""

    margin: Tensor
    words: Tensor
    noise: Noise


@settings
class Square(Iterative):
    """Random search over squares; an image is left as soon as it is misclassified. Towards a class where it is given pairs."""

    ball: Ball = Linf()
    queries: int = 5000  # after the one of the starting point
    p_init: float = 0.8  # share of the image that the first squares cover
    schedule: Literal["fixed", "rescaled"] = "fixed"  # p shrinks as for 10,000 queries, or as much within `queries`
    together: int = (
        1  # images that may pass through f at once where fewer are attacked, in several queries; changes no result
    )

    def __post_init__(self) -> None:
        require(isinstance(self.ball, Linf | L2), "ball", self.ball, "Linf or L2")
        require(self.queries >= 0, "queries", self.queries, "at least 0")
        require(0 < self.p_init <= 1, "p_init", self.p_init, "in (0, 1]")
        require(self.together >= 1, "together", self.together, "at least 1")

    @property
    def iterations(self) -> int:
        return self.queries

    @property
    def stops_at_success(self) -> bool:
        return True

    @property
    def summary(self) -> str:
        return f"Square, {self.ball}, {self.queries} queries, p {self.p_init:g} at first, {self.schedule} schedule"

    def filling(self, images: int) -> "Square":
        return replace(self, together=max(self.together, min(images, _TOGETHER)))

    def start(self, f: Forward, x: Images, target: Any, noise: Noise) -> SquareState:
        check_labels(true_class(target))
        start = noise.draw(0)
        with torch.no_grad():
            x_adv = _patterned(self.ball, x, start) if isinstance(self.ball, L2) else _striped(self.ball, x, start)
            least, wrong = _judged(f(x_adv), target)
        step = torch.zeros(len(x), dtype=torch.int64, device=x.device)
        words = step.new_zeros(len(x), _AHEAD, self._words(x.shape[1]))
        return SquareState(x_adv, wrong | (step >= self.queries), step, least, words, noise)

    def advance(self, f: Forward, x: Images, target: Any, state: State) -> State:
        with torch.no_grad():
            return of_unfinished(lambda *of: self._search(f, *of), x, target, state)

    def _search(self, f: Forward, x: Images, target: Tensor, state: State) -> SquareState:
        """One query for each image, or several where there are few images: a small batch costs hardly less than a larger one.

        Most queries change nothing, so that the next one is known before it; those after the first that does are not used.
        """
        assert isinstance(state, SquareState)
        words, n = self._drawn(state), len(x)
        k = max(1, min(_MOST, self.together // n))
        of = torch.arange(n, device=x.device).repeat_interleave(k)
        step = state.step[of] + torch.arange(k, device=x.device).repeat(n)
        # what would go beyond the random numbers at hand, or the last query, is not asked
        within = (step // _AHEAD == state.step[of] // _AHEAD) & (step < self.queries)
        at, of, step = within.nonzero().squeeze(1), of[within], step[within]
        proposal = self._proposed(x[of], state.x_adv[of], words[of, step % _AHEAD], step)
        reached, wrong = _judged(f(proposal), target[of])
        better = (reached < state.margin[of]) | (reached <= 0)

        first = at.new_full((n * k,), k).index_copy(0, at[better], (at % k)[better]).view(n, k).amin(1)
        row = torch.full_like(first, -1)
        taken = better & (at % k == first[of])
        row[of[taken]] = taken.nonzero().squeeze(1)
        moved = row >= 0
        asked = torch.where(moved, first + 1, within.view(n, k).sum(1))
        new = SquareState(state.x_adv.clone(), state.done, state.step + asked, state.margin.clone(), words, state.noise)
        new.x_adv[moved], new.margin[moved] = proposal[row[moved]], reached[row[moved]]
        new.done = new.step >= self.queries
        new.done[moved] |= wrong[row[moved]]
        return new

    def _proposed(self, x: Images, x_adv: Images, drawn: Tensor, step: Tensor) -> Images:
        """The query of each image in its iteration."""
        sizes, sides, places = _plan(self, x.shape[2], x.shape[3], x.device)
        if isinstance(self.ball, L2):
            table = _patterns(sizes, x.device, x.dtype)
            return _moved(self.ball, x, x_adv, drawn, sides[step], table, places[step])
        return _signed(self.ball, x, x_adv, drawn, sides[step])

    def share(self, step: int) -> float:
        """p: the share of the image that a square covers in an iteration, counted from 0."""
        at = int(step / self.queries * 10_000) if self.schedule == "rescaled" else step
        return self.p_init * 0.5 ** sum(at > end for end in _HALVINGS)

    def side(self, step: int, height: int, width: int) -> int:
        """The square's side in an iteration, counted from 0, in pixels."""
        side = round(math.sqrt(self.share(step) * height * width))
        side = max(side, 3) | 1 if isinstance(self.ball, L2) else max(side, 1)  # odd: the patterns have a middle
        return min(side, height, width)

    def _words(self, channels: int) -> int:
        """How many random numbers an iteration takes: row and column (L2: of two squares, and a direction), signs."""
        return channels + (5 if isinstance(self.ball, L2) else 2)

    def _drawn(self, state: SquareState) -> Tensor:
        """The random numbers at hand, those of the next iterations where they were used up."""
        due = (state.step % _AHEAD == 0).nonzero().squeeze(1)
        if not len(due):
            return state.words
        ahead = state.noise[due].draw(1 + state.step[due] // _AHEAD)
        return state.words.index_copy(0, due, ahead.bits(state.words.shape[1:]))


def _judged(logits: Logits, target: Tensor) -> tuple[PerSample, Tensor]:
    """(what is to fall, who is misclassified); what is not a number is as bad as can be."""
    falling = to_fall(logits, target)
    unknown = falling.isnan()
    return falling.masked_fill(unknown, torch.inf), (logits.argmax(1) != true_class(target)) & ~unknown


# Linf


def _striped(ball: Ball, x: Images, noise: Noise) -> Images:
    """Columns at +eps or -eps, each channel's drawn by itself."""
    return ball.project(x + _signs(noise.bits((x.shape[1], 1, x.shape[3])), x), x)


def _signed(ball: Ball, x: Images, x_adv: Images, drawn: Tensor, side: Tensor) -> Images:
    """The pixels of a square at +eps or -eps."""
    row, column = _offsets(drawn[:, :2], side, x)
    signs = _signs(drawn[:, 2:, None, None], x)
    return torch.where(_inside(row, column, side), ball.project(x + signs, x), x_adv)  # x + 1 is beyond every ball


# L2


def _patterned(ball: Ball, x: Images, noise: Noise) -> Images:
    """A grid of five patterns along the shorter side (more along the longer one), in random directions and signs."""
    n, c, h, w = x.shape
    side = max(min(h, w) // 5, 1)
    first = (min(h, w) - 5 * side) // 2 if min(h, w) >= 5 else 0
    down, along = (min(length // side, (length - first) // side) for length in (h, w))
    drawn = noise.bits((down * along, 1 + c))
    pattern = _patterns((side,), x.device, x.dtype)[drawn[:, :, 0] >> 31]  # (n, squares, side, side)
    signed = pattern[:, :, None] * _signs(drawn[:, :, 1:, None, None], x)
    offset = torch.zeros_like(x)
    offset[:, :, first : first + down * side, first : first + along * side] = (
        signed.view(n, down, along, c, side, side).permute(0, 3, 1, 4, 2, 5).reshape(n, c, down * side, along * side)
    )
    return _of_length_eps(ball, x, offset)


def _moved(ball: Ball, x: Images, x_adv: Images, drawn: Tensor, side: Tensor, table: Tensor, place: Tensor) -> Images:
    """The second square's perturbation in the first one, with a pattern added to what was there.

    table: what `_patterns` gives. place: int64 (N,), of the square's side among the sizes there.
    """
    row, column = _offsets(drawn[:, :2], side, x)
    there = _inside(row, column, side)
    cleared = _inside(*_offsets(drawn[:, 2:4], side, x), side)
    kind = 2 * place + (drawn[:, 4] >> 31)
    last = table.shape[1] - 1
    pattern = table[kind[:, None, None], row.clamp(0, last)[:, :, None], column.clamp(0, last)[:, None, :]][:, None]

    old = x_adv - x
    squares = old.square()
    within, both = (_root(squares * some) for some in (there, there | cleared))
    free = (ball.eps**2 - squares.sum((1, 2, 3), keepdim=True)).clamp_min(0) / x.shape[1]
    new = (pattern * _signs(drawn[:, 5:, None, None], x) + old / (_TINY + within)) * there
    new = new / (_TINY + _root(new.square())) * (free + both.square()).sqrt()
    return _of_length_eps(ball, x, torch.where(there, new, old.masked_fill(cleared, 0)))


def _of_length_eps(ball: Ball, x: Images, offset: Tensor) -> Images:
    length = offset.square().sum((1, 2, 3), keepdim=True).sqrt()
    return ball.project(x + offset * (ball.eps / (length + _TINY)), x)


def _root(squares: Tensor) -> Tensor:
    """Norm of each channel, (N, C, 1, 1)."""
    return squares.sum((2, 3), keepdim=True).sqrt()


@lru_cache(maxsize=16)
def _patterns(sizes: tuple[int, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    """(2 * sizes, largest, largest): for each size, the pattern one above the other and side by side; 0 beyond it."""
    table = torch.zeros(2 * len(sizes), max(sizes), max(sizes), dtype=torch.float64)
    for i, size in enumerate(sizes):
        upright = torch.cat([_peak(size // 2, size), -_peak(size - size // 2, size)])
        upright = upright / upright.square().sum().sqrt()
        table[2 * i, :size, :size], table[2 * i + 1, :size, :size] = upright, upright.T
    return table.to(device, dtype)


def _peak(height: int, width: int) -> Tensor:
    """Sum of 1 / (k + 1)^2 over the squares of side 2k + 1 around the middle that hold a pixel; of norm 1."""
    ring = torch.maximum(
        (torch.arange(height) - height // 2).abs()[:, None], (torch.arange(width) - width // 2).abs()[None, :]
    )
    heights = 1 / torch.arange(1, max(height // 2, width // 2) + 2, dtype=torch.float64).square()
    peak = heights.flip(0).cumsum(0).flip(0)[ring]
    return peak / peak.square().sum().sqrt()


# squares


@lru_cache(maxsize=16)
def _plan(attack: Square, height: int, width: int, device: torch.device) -> tuple[tuple[int, ...], Tensor, Tensor]:
    """(the sides that squares have, int64 (queries,): the side in every iteration, its place among them)."""
    sides = [attack.side(step, height, width) for step in range(attack.queries)]
    sizes = tuple(sorted(set(sides)))
    places = [sizes.index(side) for side in sides]
    return sizes, torch.tensor(sides, device=device), torch.tensor(places, device=device)


def _offsets(drawn: Tensor, side: Tensor, x: Images) -> tuple[Tensor, Tensor]:
    """How far below the square's first row (N, H), and right of its first column (N, W), the pixels lie. drawn: (N, 2)."""
    first = ((size - side) * drawn[:, i] >> 32 for i, size in enumerate(x.shape[2:]))
    row, column = (
        torch.arange(size, device=x.device) - at[:, None] for size, at in zip(x.shape[2:], first, strict=True)
    )
    return row, column


def _inside(row: Tensor, column: Tensor, side: Tensor) -> Tensor:
    """Bool (N, 1, H, W): which pixels the square holds."""
    rows, columns = ((at >= 0) & (at < side[:, None]) for at in (row, column))
    return (rows[:, :, None] & columns[:, None, :])[:, None]


def _signs(words: Tensor, x: Images) -> Tensor:
    """-1 or 1 by the first of 32 random bits, in the type of x."""
    return ((words >> 31) * 2 - 1).to(x.dtype)
