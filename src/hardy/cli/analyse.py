"""hardy analyse: what the papers show beside accuracy."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy.typing as npt
import torch
import tyro
from torch import Tensor

from hardy.cli import directions, sweeps
from hardy.cli.checks import device, new_file
from hardy.cli.console import err, out, table
from hardy.cli.evaluate import storing
from hardy.cli.flags import admit, parse, swap
from hardy.data.block_shuffle import Cuts, block_order, block_shuffle
from hardy.data.dataset import Dataset
from hardy.data.digits import Digits
from hardy.data.split import Split
from hardy.describe import require
from hardy.errors import UsageError, unknown
from hardy.evaluation.sensitivity import BRIGHTNESS, GAMMA, loss_sensitivity
from hardy.jobs.measure import about_weights, test_images
from hardy.models.checkpoints import Which, find_weights, load, read_weights
from hardy.randomness import Noise
from hardy.report.plots import COLOURS, format_of, panels
from hardy.results import Measurement
from hardy.training.precision import prepare


@dataclass(frozen=True)
class Sensitivity:
    """Mean norm of the loss gradient on shifted test images: the lower, the smoother the loss (RLFAT paper, Table 2)."""

    sources: Annotated[
        tuple[Path, ...],
        tyro.conf.Positional,
        tyro.conf.arg(metavar="RUN|WEIGHTS ...", help="folders of runs, or weights files that hardy wrote"),
    ]
    brightness: tuple[float, ...] = BRIGHTNESS  # shifts of the value in HSV, in [-1, 1]
    gamma: tuple[float, ...] = GAMMA  # exponents
    n: int = 1000  # test images, the first ones; at most all of them
    weights: Which | None = None  # of a run; left out, the best if it chose one on held-out images, else the last
    model: str | None = None  # module:function of one's own network, where the weights are of one
    data_root: Path | None = None  # folder of the data set's files; else $HARDY_DATA, then the user's cache
    offline: bool = False  # open no connection
    device: str | None = None  # cpu, cuda, cuda:1; a GPU where there is one

    def __post_init__(self) -> None:
        require(self.n >= 1, "n", self.n, "at least 1 image")
        require(bool(self.sources), "sources", self.sources, "at least one run's folder or weights file")
        shifts = self.brightness + self.gamma
        require(bool(shifts), "brightness and gamma together", shifts, "at least one number")


@dataclass(frozen=True)
class Shuffle:
    """A picture: an image, its shuffles with several k, and below them where each block went.

    The data set goes by its name, as in `hardy list data`: --data cifar10, or --data folder --data.path IMAGES.
    """

    data: Dataset = field(default_factory=Digits)  # whose test image is shown
    image: int = 0  # which test image
    k: tuple[int, ...] = (2, 3, 4)  # numbers of blocks along each axis
    cuts: Cuts = "random"
    seed: int = 0
    out: Path = Path("shuffle.png")  # the picture; its ending chooses the format; it must not exist yet
    data_root: Path | None = None  # folder of the data set's files; else $HARDY_DATA, then the user's cache
    offline: bool = False  # open no connection

    def __post_init__(self) -> None:
        require(0 <= self.seed < 2**32, "seed", self.seed, "in [0, 2**32)")
        require(bool(self.k), "k", self.k, "at least one number of blocks")
        format_of(self.out)


def main(args: list[str]) -> None:
    """Run `hardy analyse NAME`."""
    wide = max(map(len, _ANALYSES))
    usage = "usage: hardy analyse NAME ...\n\n" + "\n".join(
        f"  {name:<{wide}}  {what}" for name, (what, _) in _ANALYSES.items()
    )
    if not args or args[0] in ("-h", "--help"):
        out.print(usage)
        if not args:
            raise UsageError(f"An analysis is missing: {' or '.join(_ANALYSES)}.")
        return
    if args[0] not in _ANALYSES:
        raise unknown("analysis", args[0], _ANALYSES)
    _ANALYSES[args[0]][1](args[1:])


def _sensitivity(args: list[str]) -> None:
    sensitivity(parse(Sensitivity, args, "hardy analyse sensitivity"))


def _shuffle(args: list[str]) -> None:
    default, left = swap(Shuffle(), args)
    shuffle(parse(Shuffle, left, "hardy analyse shuffle", default))


_ANALYSES: dict[str, tuple[str, Callable[[list[str]], None]]] = {
    "sensitivity": ("loss gradients on brighter, darker and gamma-mapped images (RLFAT paper, Table 2)", _sensitivity),
    "shuffle": ("a picture of what random block shuffle does to an image (RLFAT paper, Fig. 1)", _shuffle),
    "eps": ("robust accuracy of several networks as an attack's radius grows (RAT paper, Figs. 5, 8)", sweeps.eps),
    "steps": ("robust accuracy after each of an attack's steps (RAT paper, Figs. 4, 7)", sweeps.steps),
    "restarts": ("robust accuracy in the worst case of 1, 2, 4, ... restarts", sweeps.restarts),
    "strength": ("several attacks by their number of steps (InfoFeature paper, Fig. 4)", sweeps.strength),
    "perturbations": ("how far two attacks' images lie apart (InfoFeature paper, Table 2)", directions.perturbations),
    "direction": ("the loss along an attack's direction as the scale grows (RAT paper, Fig. 2)", directions.direction),
    "surface": ("the loss over an attack's direction and a random one", directions.surface),
}


def sensitivity(options: Sensitivity) -> None:
    """Measure every network, print them side by side, and add the rows to each run's results."""
    if options.model is not None:
        admit(options.model)
    on = device(options.device)
    found = [find_weights(source, options.weights) for source in options.sources]
    networks = [load(file) for file, _ in found]  # all of them before the first is measured
    measured = {}
    with storing() as store:
        for source, (file, which), network in zip(options.sources, found, networks, strict=True):
            _, header = read_weights(file)
            model = prepare(network, on, "float32")
            test = test_images(header, file, options.data_root, offline=options.offline).take(slice(options.n)).to(on)
            err.print(f"{file}; {test.origin}, the first {len(test)}")
            rows = loss_sensitivity(
                model,
                test,
                shifts=options.brightness,
                exponents=options.gamma,
                run=str(header.get("run", file.stem)),
                settings=about_weights(file, which, header),
            )
            measured[str(source)] = rows
            if which:
                store(source / "results.jsonl", rows)
        columns = [row.what.removeprefix("loss sensitivity at ") for row in next(iter(measured.values()))]
        shown = ([name, *map(_with_interval, rows)] for name, rows in measured.items())
        table("Loss sensitivity (mean gradient norm, ± 95 %)", ["", *columns], shown)


def _with_interval(row: Measurement) -> str:
    return f"{row.value:.3f}" if row.high is None else f"{row.value:.3f} ± {row.high - row.value:.3f}"


def shuffle(options: Shuffle) -> None:
    """Draw an image, its shuffles, and the same shuffles of its coloured blocks."""
    new_file(options.out, "--out")
    split = options.data.load(options.data_root, offline=options.offline)[1]
    require(0 <= options.image < len(split), "image", options.image, f"in 0..{len(split) - 1}")
    x = split.x(slice(options.image, options.image + 1))
    noise = Noise.of_batch(1, options.seed, purpose="picture")
    rows: list[list[tuple[str, npt.NDArray[Any]] | None]] = [[("the image", _picture(x))], [None], [None]]
    for k in options.k:
        blocks = _blocks(k, split, options.cuts, noise)
        shuffled = block_shuffle(x, k, noise, cuts=options.cuts)
        # random cuts and orders leave everything in place now and then: with k = 2 in a quarter of all draws
        said = "nothing moved this time" if torch.equal(shuffled, x) else "shuffled"
        rows[0].append((f"k = {k}: {said}", _picture(shuffled)))
        rows[1].append((f"blocks that moved, k = {k}", _picture(blocks)))
        rows[2].append(("and where they went", _picture(block_shuffle(blocks, k, noise, cuts=options.cuts))))
    panels(options.out, rows)
    name = split.classes[int(split.labels[options.image])]
    out.print(f"{options.out}: image {options.image}, of class {name}; {split.origin}")


def _picture(x: Tensor) -> npt.NDArray[Any]:
    """(1, C, H, W) as matplotlib takes it."""
    shown: npt.NDArray[Any] = x[0].permute(1, 2, 0).numpy()
    return shown[:, :, 0] if shown.shape[2] == 1 else shown


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
