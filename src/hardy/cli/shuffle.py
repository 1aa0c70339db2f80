"""hardy analyse shuffle: a picture of what random block shuffle does to an image."""

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from hardy.cli.flags import parse, swap
from hardy.cli.outputs import Outputs, check_new, command, kept
from hardy.data.block_shuffle import Cuts, block_order, block_shuffle
from hardy.data.dataset import Dataset
from hardy.data.digits import Digits
from hardy.data.split import Split
from hardy.describe import require
from hardy.randomness import Noise
from hardy.report.analysis import Analysis
from hardy.report.charts import COLOURS
from hardy.report.figures import Picture, Pictures, picture


@dataclass(frozen=True)
class Shuffle(Outputs):
    """A picture: an image, its shuffles with several k, and below them where each block went.

    The data set goes by its name, as in `hardy list data`: --data cifar10, or --data folder --data.path IMAGES.
    """

    data: Dataset = field(default_factory=Digits)  # whose test image is shown
    image: int = 0  # which test image
    k: tuple[int, ...] = (2, 3, 4)  # numbers of blocks along each axis
    cuts: Cuts = "random"
    seed: int = 0
    data_root: Path | None = None  # folder of the data set's files; else $HARDY_DATA, then the user's cache
    offline: bool = False  # open no connection

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.seed < 2**32, "seed", self.seed, "in [0, 2**32)")
        require(bool(self.k), "k", self.k, "at least one number of blocks")


def shuffle(args: list[str]) -> None:
    """Run `hardy analyse shuffle`: an image, its shuffles, and the same shuffles of its coloured blocks."""
    default, left = swap(Shuffle(), args)
    made = parse(Shuffle, left, "hardy analyse shuffle", default)
    check_new(made, "shuffle")
    split = made.data.load(made.data_root, offline=made.offline)[1]
    require(0 <= made.image < len(split), "image", made.image, f"in 0..{len(split) - 1}")
    x = split.x(slice(made.image, made.image + 1))
    noise = Noise.of_batch(1, made.seed, purpose="picture")
    rows: list[list[Picture | None]] = [[_shown("the image", x)], [None], [None]]
    for k in made.k:
        blocks = _blocks(k, split, made.cuts, noise)
        shuffled = block_shuffle(x, k, noise, cuts=made.cuts)
        # random cuts and orders leave everything in place now and then: with k = 2 in a quarter of all draws
        said = "nothing moved this time" if torch.equal(shuffled, x) else "shuffled"
        rows[0].append(_shown(f"k = {k}: {said}", shuffled))
        rows[1].append(_shown(f"blocks that moved, k = {k}", blocks))
        rows[2].append(_shown("and where they went", block_shuffle(blocks, k, noise, cuts=made.cuts)))
    name = split.classes[int(split.labels[made.image])]
    says = (
        "Random block shuffle cuts an image into k bands along each axis, at random places, and puts them in random order; "
        "RLFAT trains on adversarial images that are so shuffled. After the RLFAT paper's Fig. 1."
    )
    figure = Pictures(f"image {made.image}, of class {name}; {split.origin}", tuple(map(tuple, rows)))
    kept(
        made,
        Analysis("shuffle", "Random block shuffle", says, command("shuffle", args), (), figure, (), (figure.title,)),
    )


def _shown(title: str, x: Tensor) -> Picture:
    """(1, C, H, W) as a picture."""
    return picture(title, x[0].permute(1, 2, 0).numpy())


def _blocks(k: int, split: Split, cuts: Cuts, noise: Noise) -> Tensor:
    """(1, 3, H, W): every block of the unshuffled image in a colour of its own."""
    _, height, width = split.shape
    shared = noise.shared
    starts = [
        _block_of(block_order(k, side, cuts, shared.derive(axis))[0])
        for side, axis in ((height, "rows"), (width, "columns"))
    ]
    palette = torch.tensor([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in COLOURS])
    index = (starts[0][:, None] * k + starts[1][None, :]) % len(palette)
    shade = 1 - 0.45 * ((starts[0][:, None] * k + starts[1][None, :]) // len(palette) % 2)
    return (palette[index] * shade[:, :, None]).permute(2, 0, 1)[None].contiguous()


def _block_of(order: Tensor) -> Tensor:
    """The block's number at each place of the unshuffled axis, read off where the shuffle's runs begin."""
    begins = torch.ones_like(order)
    begins[order[1:]] = (order[1:] != order[:-1] + 1).long()
    begins[0] = 1
    return begins.cumsum(0) - 1
