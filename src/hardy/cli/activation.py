"""hardy analyse activation: where several networks see an image's class, before and after an attack."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from hardy.cli.chosen import Common
from hardy.cli.console import percent
from hardy.cli.examples import FEW, Examples, attack_on_common, attacked, below_images
from hardy.cli.outputs import command, kept
from hardy.cli.several import Network, flat, interval, of_all, options
from hardy.evaluation.activation import Activations, activation_maps
from hardy.evaluation.examples import Attacked
from hardy.evaluation.path import Tell
from hardy.report.analysis import Analysis, Tabular
from hardy.report.figures import Picture, heat, picture
from hardy.types import Images

_COVER = 0.55  # of the image, by the map

_SAYS = (
    "Where a network sees an image's class: the class activation map of its label, with negative terms cut off as in the "
    "InfoFeature paper's eq. (6), enlarged to the image's size and laid over it, the lighter the larger; below it that of the "
    "attack's image. Both are divided by the larger of their maxima, so that they compare with each other, and not with another "
    f"network's. The distances are those between the two maps. After the InfoFeature paper's Fig. 2. {FEW}"
)


@dataclass(frozen=True)
class Activation(Examples):
    """Class activation maps of a few images, and of what an attack makes of them (InfoFeature paper, Fig. 2)."""

    attack: str = "infofeature-7"  # as in `hardy list attacks`


def activation(args: list[str]) -> None:
    """Run `hardy analyse activation`."""
    made = options(Activation(), args, "activation")
    common, attack = attack_on_common(made)

    def measured(network: Network, tell: Tell) -> tuple[Attacked, Activations]:
        of = attacked(made, attack, network, tell)
        return of, activation_maps(
            network.model, network.test, of.x_adv, name=made.attack, batch=made.batch,
            run=network.run, settings=of.rows[0].settings,
        )  # fmt: skip

    found = of_all(common.networks, measured)
    rows = {name: [*maps.rows, of.rows[0]] for name, (of, maps) in found.items()}
    heads = ("network", "cosine distance", "L2 distance", "% broken")
    means = tuple(
        (name, interval(cosine), interval(l2), percent(broken.value, broken.low, broken.high))
        for name, (cosine, l2, broken) in rows.items()
    )
    table = Tabular(f"Over all images [95 % interval]; {attack.summary}", heads, means)
    x, shown = common.one.test.x(), []
    for name, (of, maps) in found.items():
        top = torch.maximum(maps.clean, maps.attacked).flatten(1).amax(1).clamp_min(1e-12).view(-1, 1, 1)
        shown.append((f"{name}\nimage", _laid(common, x, maps.clean / top)))
        shown.append((f"{name}\n{made.attack}", _laid(common, of.x_adv, maps.attacked / top)))
    figure = below_images(f"class activation maps; {made.attack} at {attack.ball}", common, shown)
    asked = command("activation", args)
    kept(made, Analysis("activation", "Class activation", _SAYS, asked, (table,), figure, flat(rows), (common.remark,)))


def _laid(common: Common, x: Images, maps: Tensor) -> tuple[Picture, ...]:
    """Maps (N, h, w) with values in [0, 1] over images (N, C, H, W) in grey."""
    large = F.interpolate(maps[:, None], x.shape[2:], mode="bilinear").squeeze(1).cpu().numpy()
    grey = x.mean(1).unsqueeze(3).cpu().numpy()
    return tuple(picture(common.title(i), (1 - _COVER) * grey[i] + _COVER * heat(large[i])) for i in range(len(grey)))
