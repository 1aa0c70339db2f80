"""hardy analyse corruptions, corrupted: accuracy on naturally corrupted images, and pictures of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from torch import Tensor

from hardy.cli.console import percent
from hardy.cli.flags import parse, swap
from hardy.cli.outputs import Outputs, check_new, command, kept
from hardy.cli.several import Network, Rows, Several, flat, images, networks, of_all, options
from hardy.data.cifar_c import Released
from hardy.data.corrupted import Corrupted, Made
from hardy.data.corruptions import KINDS, SEVERITIES
from hardy.data.dataset import Dataset
from hardy.data.digits import Digits
from hardy.data.frost import Overlays
from hardy.data.split import Split
from hardy.describe import require
from hardy.evaluation.corruption import corruption_accuracy, wanted
from hardy.evaluation.path import Tell
from hardy.report.analysis import Analysis, Tabular
from hardy.report.figures import Bar, Bars, Picture, Pictures, picture
from hardy.results import Measurement

_SAYS = (
    "The share of test images that are still classified correctly once they are noisy, blurred, in bad weather or badly stored, "
    "the mean over severities for each type. mCA-12 is the mean over the twelve types of the RAT paper's Table 2, which has no "
    "noise; mCA-15 that over the usual fifteen. Both are accuracies, and not mCE, the error relative to AlexNet's; they are not "
    "to be compared with each other."
)
_BESIDE = 6  # pictures, at most, unless those of one type are more


@dataclass(frozen=True)
class Corruptions(Several):
    """Accuracy on naturally corrupted images, by type and severity: the RAT paper's Table 2."""

    types: tuple[str, ...] = tuple(KINDS)  # spaces between
    severities: tuple[int, ...] = SEVERITIES  # spaces between; mCA needs all five
    images: Literal["made", "released"] = (
        "made"  # released: CIFAR-10-C or CIFAR-100-C, 2.9 GB where they are downloaded
    )
    overlays: str = ""  # folder with the release's pictures of frost, frost1.png to frost5.jpg; left out, ice is drawn
    n: int = 1000  # test images, the first ones; at most all of them
    seed: int = 0  # of the random numbers of images that are made
    batch: int | None = None  # images at once; changes no number

    def __post_init__(self) -> None:
        super().__post_init__()
        wanted(self.types, self.severities)
        if self.overlays:
            Overlays.read(self.overlays, 1.0)
        fits = self.images == "made" or not self.overlays
        require(fits, "overlays", self.overlays, "left out for released images, which have their frost already")

    def source(self, split: Split) -> Corrupted:
        """Where the corrupted images come from."""
        if self.images == "released":
            return Released.of(split, self.data_root, offline=self.offline)
        return Made(split.shape, self.seed, self.overlays)


@dataclass(frozen=True)
class Looks(Outputs):
    """A picture: an image under each type of corruption, at several severities.

    The data set goes by its name, as in `hardy list data`: --data cifar10, or --data folder --data.path IMAGES.
    """

    data: Dataset = field(default_factory=Digits)  # whose test image is shown
    image: int = 0  # which test image
    types: tuple[str, ...] = tuple(KINDS)  # spaces between
    severities: tuple[int, ...] = (1, 3, 5)  # spaces between
    overlays: str = ""  # folder with the release's pictures of frost, frost1.png to frost5.jpg; left out, ice is drawn
    seed: int = 0
    data_root: Path | None = None  # folder of the data set's files; else $HARDY_DATA, then the user's cache
    offline: bool = False  # open no connection

    def __post_init__(self) -> None:
        super().__post_init__()
        wanted(self.types, self.severities)
        if self.overlays:
            Overlays.read(self.overlays, 1.0)
        require(0 <= self.seed < 2**32, "seed", self.seed, "in [0, 2**32)")


def corruptions(args: list[str]) -> None:
    """Run `hardy analyse corruptions`."""
    made = options(Corruptions(), args, "corruptions")
    found = networks(made)
    corrupted = made.source(next(iter(found.values())).test)

    def measured(network: Network, tell: Tell) -> list[Measurement]:
        return corruption_accuracy(
            network.model, network.test, kinds=made.types, severities=made.severities, corrupted=corrupted,
            batch=made.batch, run=network.run, settings=network.about, tell=tell,
        )  # fmt: skip

    rows = of_all(found, measured)
    several = len(made.severities) > 1
    shown = (_means(made, rows), *(_by_severity(made, name, of) for name, of in rows.items() if several))
    groups = ("clean", *made.types, *_summaries(next(iter(rows.values()))))
    bars = tuple(tuple(_bar(_of(made, of, group)) for group in groups) for of in rows.values())
    title = f"{images(found, 'lines on bars')}; corrupted images: {corrupted.says}"
    figure = Bars(title, "accuracy (%)", groups, tuple(rows), bars)
    remarks = (f"Corrupted images: {corrupted.says}.",)
    about, asked = "Accuracy on corrupted images", command("corruptions", args)
    kept(made, Analysis("corruptions", about, _SAYS, asked, shown, figure, flat(rows), remarks))


def _summaries(rows: Sequence[Measurement]) -> list[str]:
    return [row.what for row in rows if row.what.startswith("mCA")]


def _of(made: Corruptions, rows: Sequence[Measurement], group: str) -> Measurement:
    """The row of a type (its mean, where there are several severities), of a summary, or of the clean images."""
    if group == "clean" or group not in KINDS:
        what = "clean accuracy" if group == "clean" else group
    elif len(made.severities) > 1:
        what = f"accuracy under {group}, mean over severities"
    else:
        what = f"accuracy under {group}, severity {made.severities[0]}"
    return next(row for row in rows if row.what == what)


def _bar(row: Measurement) -> Bar:
    low, high = (None if bound is None else 100 * bound for bound in (row.low, row.high))
    return Bar(100 * row.value, low, high)


def _means(made: Corruptions, rows: Rows) -> Tabular:
    """A line for each type and summary, a column for each network."""
    over = "mean over severities" if len(made.severities) > 1 else "severity"
    title = f"Accuracy in % [95 % interval]; {over} {', '.join(map(str, sorted(made.severities)))}"
    heads = ("type", *(f"{name} (n = {of[0].n})" for name, of in rows.items()))
    groups = ("clean", *made.types, *_summaries(next(iter(rows.values()))))
    lines = []
    for group in groups:
        found = [_of(made, of, group) for of in rows.values()]
        lines.append((group, *(percent(row.value, row.low, row.high) for row in found)))
    return Tabular(title, heads, tuple(lines))


def _by_severity(made: Corruptions, name: str, rows: Sequence[Measurement]) -> Tabular:
    """A line for each type, a column for each severity."""
    at = {(row.settings.get("kind"), row.settings.get("severity")): percent(row.value) for row in rows}
    severities = sorted(made.severities)
    heads = ("type", *(f"severity {severity}" for severity in severities))
    lines = tuple((kind, *(at[kind, severity] for severity in severities)) for kind in made.types)
    return Tabular(f"{name}: accuracy in % by severity", heads, lines)


def corrupted(args: list[str]) -> None:
    """Run `hardy analyse corrupted`: the image, then each type at each severity, several types in a row."""
    default, left = swap(Looks(), args)
    made = parse(Looks, left, "hardy analyse corrupted", default)
    check_new(made, "corrupted")
    test = made.data.load(made.data_root, offline=made.offline)[1]
    require(0 <= made.image < len(test), "image", made.image, f"in 0..{len(test) - 1}")
    one = test.take(slice(made.image, made.image + 1))
    source = Made(one.shape, made.seed, made.overlays)
    of = {
        kind: tuple(_shown(f"{kind} {s}", source.images(kind, s, one)) for s in sorted(made.severities))
        for kind in made.types
    }
    beside = max(1, _BESIDE // len(made.severities))
    rows: list[tuple[Picture, ...]] = [(_shown("the image", one.images),)]
    for first in range(0, len(made.types), beside):
        rows.append(tuple(cell for kind in made.types[first : first + beside] for cell in of[kind]))
    name = test.classes[int(one.labels[0])]
    figure = Pictures(f"image {made.image}, of class {name}; {source.says}", tuple(rows))
    says = (
        "One test image under each type of natural corruption: how much of it is left to see. Types and constants are those of "
        "Hendrycks and Dietterich's benchmark."
    )
    remarks = (f"{figure.title}; {test.origin}",)
    asked = command("corrupted", args)
    kept(made, Analysis("corrupted", "Corrupted images", says, asked, (), figure, (), remarks))


def _shown(title: str, images: Tensor) -> Picture:
    """Uint8 (1, C, H, W) as a picture."""
    return picture(title, images[0].permute(1, 2, 0).numpy() / 255)
