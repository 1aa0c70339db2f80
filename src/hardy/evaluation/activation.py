"""Class activation maps: where an image's class is seen, and how far an attack moves that.

    M(x) = sum over d of max(w_yd A_d(x), 0),   A the activations before pooling, w the last layer's weights, y the label

Source:  InfoFeature paper, section 3.1, eqs. (5)-(7), Fig. 2; Zhou et al., CVPR 2016.
Differs: the paper shows no map of a network; the two distances, between M(x) and M(x'), are its eq. (7)'s L2 and the cosine that
         section 3.2 names beside it, which does not depend on the scale of the activations.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hardy.attacks.attack import Forward, looking
from hardy.data.split import Split
from hardy.describe import require
from hardy.evaluation.checks import check_network
from hardy.evaluation.memory import Room, usable_batch
from hardy.evaluation.rows import Meter, Row
from hardy.losses.features import Clip, class_activation_maps, map_distance, of_class
from hardy.models.classifier import frozen
from hardy.models.full_precision import full_precision
from hardy.results import Measurement
from hardy.types import Images


@dataclass(frozen=True)
class Activations:
    """clean, attacked: float32 (N, h, w), maps of the images and of the attack's. rows: how far they are apart."""

    clean: Tensor
    attacked: Tensor
    rows: list[Measurement]


def activation_maps(
    model: Forward,
    split: Split,
    x_adv: Images,
    *,
    clip: Clip = "terms",
    name: str = "attack",
    batch: int | None = None,
    run: str = "",
    settings: Mapping[str, Any] | None = None,
) -> Activations:
    """The label's maps of the images and of x_adv, an attack's images of them, and two rows: their mean distances.

    In evaluation mode and full precision. clip: see `class_activation_maps`. name: of the attack, in rows. settings: what else
    belongs into each row; the attack, above all.

    Raises: UsageError for a network whose activations cannot be had, or what `check_network` raises.
    """
    require(len(x_adv) == len(split), "x_adv", tuple(x_adv.shape), f"{len(split)} images, one of each")
    check_network(model, split)
    meter, room = Meter(model), Room(usable_batch(model, split, batch))
    look = looking(meter.network, lambda f, x: class_activation_maps(f.maps(x), f.head_weight, clip))

    def maps(which: Tensor) -> tuple[Tensor, Tensor]:
        y = split.labels[which]
        return of_class(look(split.x(which)), y).squeeze(1), of_class(look(x_adv[which]), y).squeeze(1)

    with frozen(model), full_precision(model), torch.no_grad():
        parts = [made for _, made in room.parts(maps, torch.arange(len(split), device=split.labels.device))]
    clean, attacked = (torch.cat(column) for column in zip(*parts, strict=True))
    about, costs = {**(settings or {}), "data": split.origin, "clip": clip}, meter.lap()
    rows = [
        Row(f"{norm} distance of activation maps under {name}", run, about, costs).mean(
            map_distance(clean, attacked, norm, floor=0.0), f"{norm} distance"
        )
        for norm in ("cosine", "l2")
    ]
    return Activations(clean, attacked, rows)
