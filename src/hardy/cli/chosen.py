"""What analyses show pictures of: the same test images for all networks, which all of them classify correctly."""

from dataclasses import dataclass, replace

from torch import Tensor

from hardy.cli.several import Network, Several, on_all_images
from hardy.describe import counted
from hardy.evaluation.choice import classified_by_all
from hardy.report.figures import Picture, picture


@dataclass(frozen=True)
class Common:
    """networks: by what the user calls them, each on the images that were chosen. remark: how these were found."""

    networks: dict[str, Network]
    remark: str

    @property
    def one(self) -> Network:
        """Any of the networks: for the images."""
        return next(iter(self.networks.values()))

    @property
    def data(self) -> str:
        """The name of the data set and part: what stands first in where images come from."""
        return self.one.test.origin.partition(",")[0]

    def title(self, i: int) -> str:
        """The class of an image, for people."""
        return self.one.test.classes[int(self.one.test.labels[i])]


def on_common_images(made: Several) -> Common:
    """The networks on the first n test images, taken from the classes in turn, that all of them classify correctly.

    Raises: UsageError where there is none.
    """
    found = on_all_images(made)
    whole = next(iter(found.values())).test
    chosen = classified_by_all([network.model for network in found.values()], whole, made.n, made.batch)
    test = whole.take(chosen.index)
    by = "all networks classify" if len(found) > 1 else "the network classifies"
    remark = (
        f"{counted(len(test), 'image')} that {by} correctly, taken from the classes in turn; "
        f"{chosen.passed_over:,} others were passed over. {whole.origin}."
    )
    if len(test) < made.n:
        remark += f" There are no more than these; {made.n:,} were asked for."
    about = {"images": test.indices.tolist()}
    return Common({name: replace(it, test=test, about={**it.about, **about}) for name, it in found.items()}, remark)


def as_picture(title: str, x: Tensor) -> Picture:
    """An image (C, H, W), or a map (H, W), with values in [0, 1], as a picture."""
    return picture(title, (x.permute(1, 2, 0) if x.ndim == 3 else x).cpu().numpy())
