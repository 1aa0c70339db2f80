"""hardy analyse saliency: SmoothGrad maps of several networks on the same images."""

from dataclasses import dataclass

from hardy.cli.chosen import Common, as_picture, on_common_images
from hardy.cli.console import percent
from hardy.cli.outputs import command, kept
from hardy.cli.several import Network, Several, flat, interval, of_all, options
from hardy.describe import require
from hardy.evaluation.path import Tell
from hardy.evaluation.saliency import SaliencyMaps, SmoothGrad, check_percentile, saliency_maps, scaled
from hardy.report.analysis import Analysis, Tabular
from hardy.report.figures import Pictures

_SAYS = (
    "Which pixels the score of an image's class reacts to: the gradient of its logit, averaged over noisy copies of the image, "
    "summed over the channels in absolute value. Each map is divided by its own percentile {percentile:g} and cut off at 1: "
    "black is no reaction, white the strongest of that map, so that the maps show where a network reacts, and not how strongly. "
    "The numbers are of the maps before that: the share that the highest 10 % of pixels hold, the Gini index (0: all pixels are "
    "equal; 1: a single one has everything), and the gradient's L1 norm, which grows with the logits, robust or not. After the "
    "RLFAT paper's Figs. 3 and 4, whose images are STL-10's."
)


@dataclass(frozen=True)
class Saliency(Several):
    """SmoothGrad saliency maps of images that all networks classify correctly (RLFAT paper, Figs. 3 and 4)."""

    n: int = 50  # images measured, taken from the classes in turn
    shown: int = 8  # of these, in the figure
    seed: int = 0  # of the noise
    batch: int | None = None  # noisy copies looked at at once; left out, as many as memory holds; changes no number
    noise: float = SmoothGrad.noise  # standard deviation, as a share of an image's range; 0: the plain gradient
    samples: int = SmoothGrad.samples  # noisy copies of each image
    percentile: float = 99  # of a map, where it becomes white

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.shown >= 1, "shown", self.shown, "at least 1 image")
        check_percentile(self.percentile)
        _ = self.by

    @property
    def by(self) -> SmoothGrad:
        """How the maps are made."""
        return SmoothGrad(self.noise, self.samples)


def saliency(args: list[str]) -> None:
    """Run `hardy analyse saliency`."""
    made = options(Saliency(), args, "saliency")
    common = on_common_images(made)

    def measured(network: Network, tell: Tell) -> SaliencyMaps:
        return saliency_maps(
            network.model, network.test, made.by, seed=made.seed, batch=made.batch,
            run=network.run, settings=network.about, tell=tell,
        )  # fmt: skip

    found = of_all(common.networks, measured)
    rows = {name: of.rows for name, of in found.items()}
    told = f"noise {made.noise:g} of an image's range, {made.by.copies} copies"
    heads = ("network", "% in the top 10 % of pixels", "Gini index", "L1 norm")
    shown_rows = tuple(
        (name, percent(share.value, share.low, share.high), interval(gini), interval(norm))
        for name, (share, gini, norm) in rows.items()
    )
    title = f"Means over images [95 % interval]; {told}"
    asked = command("saliency", args)
    kept(made, Analysis(
        "saliency", "Saliency maps", _SAYS.format(percentile=made.percentile), asked, (Tabular(title, heads, shown_rows),),
        _figure(made, common, found, told), flat(rows), (common.remark,),
    ))  # fmt: skip


def _figure(made: Saliency, common: Common, found: dict[str, SaliencyMaps], told: str) -> Pictures:
    """A row for each image: the image, and the map of each network."""
    count = min(made.shown, len(common.one.test))
    x = common.one.test.x(slice(count))
    columns = {name: scaled(of.maps[:count], made.percentile) for name, of in found.items()}
    rows = tuple(
        (as_picture("image", x[i]), *(as_picture(name, of[i]) for name, of in columns.items())) for i in range(count)
    )
    return Pictures(f"{common.data}; SmoothGrad, {told}", rows, tuple(common.title(i) for i in range(count)))
