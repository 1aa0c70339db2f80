"""hardy analyse: what the papers show beside accuracy."""

from collections.abc import Callable

from hardy.cli import directions, sweeps
from hardy.cli.ablation import ablation
from hardy.cli.activation import activation
from hardy.cli.console import out
from hardy.cli.corruptions import corrupted, corruptions
from hardy.cli.curves import curves
from hardy.cli.examples import examples
from hardy.cli.gaps import gaps
from hardy.cli.saliency import saliency
from hardy.cli.sensitivity import sensitivity
from hardy.cli.shuffle import shuffle
from hardy.cli.transfer import transfer
from hardy.errors import UsageError, unknown

ANALYSES: dict[str, tuple[str, Callable[[list[str]], None]]] = {
    "sensitivity": ("loss gradients on brighter, darker and gamma-mapped images (RLFAT paper, Table 2)", sensitivity),
    "shuffle": ("a picture of what random block shuffle does to an image (RLFAT paper, Fig. 1)", shuffle),
    "eps": ("robust accuracy of several networks as an attack's radius grows (RAT paper, Figs. 5, 8)", sweeps.eps),
    "steps": ("robust accuracy after each of an attack's steps (RAT paper, Figs. 4, 7)", sweeps.steps),
    "restarts": ("robust accuracy in the worst case of 1, 2, 4, ... restarts", sweeps.restarts),
    "strength": ("several attacks by their number of steps (InfoFeature paper, Fig. 4)", sweeps.strength),
    "perturbations": ("how far two attacks' images lie apart (InfoFeature paper, Table 2)", directions.perturbations),
    "direction": ("the loss along an attack's direction as the scale grows (RAT paper, Fig. 2)", directions.direction),
    "corruptions": ("accuracy on noisy, blurred, snowy, ... images, by type; mCA (RAT paper, Table 2)", corruptions),
    "corrupted": ("pictures of a test image under each corruption", corrupted),
    "surface": ("the loss over an attack's direction and a random one", directions.surface),
    "saliency": ("SmoothGrad maps of several networks on the same images (RLFAT paper, Figs. 3, 4)", saliency),
    "examples": ("what an attack makes of a few images, and what several networks say of them", examples),
    "activation": ("class activation maps before and after an attack (InfoFeature paper, Fig. 2)", activation),
    "ablation": (
        "clean accuracy and the mean over attacks of runs that differ in few settings (RLFAT paper, Fig. 2)",
        ablation,
    ),
    "curves": ("accuracy on held-out images and loss of runs over their epochs (InfoFeature paper, Fig. 3)", curves),
    "gaps": ("accuracy on training images minus that on test images (RAT paper, Figs. 3, 6)", gaps),
    "transfer": ("each network on what attacks on each of them found (InfoFeature paper, Table 6)", transfer),
}


def main(args: list[str]) -> None:
    """Run `hardy analyse NAME`."""
    wide = max(map(len, ANALYSES))
    usage = "usage: hardy analyse NAME ...\n\n" + "\n".join(
        f"  {name:<{wide}}  {what}" for name, (what, _) in ANALYSES.items()
    )
    if not args or args[0] in ("-h", "--help"):
        out.print(usage)
        if not args:
            raise UsageError(f"An analysis is missing: {' or '.join(ANALYSES)}.")
        return
    if args[0] not in ANALYSES:
        raise unknown("analysis", args[0], ANALYSES)
    ANALYSES[args[0]][1](args[1:])
