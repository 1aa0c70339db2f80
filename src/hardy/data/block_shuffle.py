"""Random block shuffle (RBS): cut an image into k bands, put them in random order; rows first, then columns.

Source:  RLFAT paper, section 3.1 and Fig. 1.
Differs: the figure shows equal blocks; in the authors' code, and here by default, the k - 1 cuts are drawn uniformly from
         0 .. N-1 with repetition, so that blocks are unequal and may be empty, and one draw serves the whole batch. With
         k = 2 this is, on each axis, a roll by a random offset with probability 1/2, and nothing otherwise.
"""

from typing import Literal

import torch
from torch import Tensor

from hardy.describe import require
from hardy.randomness import Noise
from hardy.types import Images

Cuts = Literal["random", "equal"]


def block_order(k: int, length: int, cuts: Cuts, noise: Noise) -> Tensor:
    """int64 (N, length): for each row of the noise, which place each place of the shuffled axis is taken from.

    Raises: UsageError unless 1 <= k <= length.
    """
    require(1 <= k <= length, "k", k, f"the number of blocks, 1 to the image's side ({length})")
    n, device = len(noise), noise.rows.device
    if cuts == "random":
        at = noise.derive("cuts").integers(length, (k - 1,)).sort(1).values
    else:
        at = (torch.arange(1, k, device=device) * length / k).round().long().expand(n, -1)
    place = torch.arange(length, device=device).expand(n, -1).contiguous()
    block = torch.searchsorted(at.contiguous(), place, right=True)
    new_rank = noise.derive("order").permutation(k)
    return new_rank.gather(1, block).argsort(dim=1, stable=True)


def block_shuffle(x: Images, k: int, noise: Noise, *, cuts: Cuts = "random", per_image: bool = False) -> Images:
    """Every image with its blocks shuffled; one draw for all, or one for each image.

    A permutation of pixels, all channels together; k = 1 gives x.
    """
    source = noise if per_image else noise.shared
    rows = block_order(k, x.shape[2], cuts, source.derive("rows"))
    columns = block_order(k, x.shape[3], cuts, source.derive("columns"))
    if per_image:
        image = torch.arange(len(x), device=x.device).view(-1, 1, 1)
        return x.permute(0, 2, 3, 1)[image, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    return x.index_select(2, rows[0]).index_select(3, columns[0])


def random_roll(x: Images, noise: Noise) -> Images:
    """Every image rolled around on both axes, always, by one uniformly drawn offset for each: a control for RBS."""
    rows, columns = (
        noise.shared.derive(axis).integers(side, (1,))
        for axis, side in zip(("rows", "columns"), x.shape[2:], strict=True)
    )
    height, width = x.shape[2:]
    take_row = (torch.arange(height, device=x.device) - rows[0]) % height
    take_column = (torch.arange(width, device=x.device) - columns[0]) % width
    return x.index_select(2, take_row).index_select(3, take_column)
