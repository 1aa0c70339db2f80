"""hardy analyse examples: what an attack makes of a few images, and what several networks say of them before and after."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hardy.attacks.attack import Attack
from hardy.attacks.balls import fraction
from hardy.cli.chosen import Common, as_picture, on_common_images
from hardy.cli.console import percent
from hardy.cli.outputs import command, kept
from hardy.cli.several import (
    Network,
    Several,
    attack_on_one,
    check,
    check_single,
    flat,
    interval,
    of_all,
    options,
    radius,
)
from hardy.evaluation.examples import Attacked, adversarial_examples
from hardy.evaluation.path import Tell
from hardy.report.analysis import Analysis, Tabular
from hardy.report.figures import Picture, Pictures

Row = tuple[str, tuple[Picture, ...]]  # of pictures, with its name

FEW = "The images are few, and chosen: the shares are no robust accuracy, which `hardy evaluate` measures."


@dataclass(frozen=True)
class Examples(Several):
    """What an attack makes of a few images that all networks classify correctly, and what the networks say of it."""

    n: int = 6  # images, taken from the classes in turn
    attack: str = "pgd-20"  # as in `hardy list attacks`
    eps: float | None = None  # Linf radius; left out, that of the networks' training, else 8/255

    def __post_init__(self) -> None:
        super().__post_init__()
        check_single(self.attack, self.eps)


def examples(args: list[str]) -> None:
    """Run `hardy analyse examples`."""
    made = options(Examples(), args, "examples")
    common, attack = attack_on_common(made)
    found = of_all(common.networks, lambda network, tell: attacked(made, attack, network, tell))
    rows = {name: of.rows for name, of in found.items()}
    heads = ("network", "% broken", "confidence before", "confidence after", "L2 distance")
    means = tuple(
        (name, percent(broken.value, broken.low, broken.high), *map(interval, others))
        for name, (broken, *others) in rows.items()
    )
    tables = (Tabular(f"Over all images [95 % interval]; {attack.summary}", heads, means), _said(common, found))
    eps = attack.ball.eps
    times = f"{1 / (2 * eps):.3g}"
    says = (
        "What an attack makes of the same images on each network, and the class that the network names before and after it, with "
        f"the probability of its softmax. Perturbations are magnified {times} times about grey: in each channel, black is "
        f"-{fraction(eps)}, white +{fraction(eps)}, and grey no change. {FEW}"
    )
    shown = [row for name, of in found.items() for row in _rows(made, common, name, of, eps)]
    figure = below_images(f"{made.attack} at {attack.ball}; perturbations x {times}", common, shown)
    asked = command("examples", args)
    kept(made, Analysis("examples", "Attacked images", says, asked, tables, figure, flat(rows), (common.remark,)))


def attack_on_common(made: Examples) -> tuple[Common, Attack]:
    """The networks on the images that all classify correctly, and the attack, which can be made on each of them."""
    common = on_common_images(made)
    attack = attack_on_one(made.attack, radius(made.eps, common.networks))
    check(made.attack, attack, common.networks)
    return common, attack


def attacked(made: Examples, attack: Attack, network: Network, tell: Tell) -> Attacked:
    """What the attack makes of a network's images."""
    return adversarial_examples(
        network.model, network.test, attack, name=made.attack, seed=made.seed, batch=made.batch,
        run=network.run, settings=network.about, tell=tell,
    )  # fmt: skip


def below_images(title: str, common: Common, rows: Sequence[Row]) -> Pictures:
    """The images, and rows of pictures that belong to them."""
    images = tuple(as_picture(common.title(i), x) for i, x in enumerate(common.one.test.x()))
    return Pictures(
        f"{common.data}; {title}", (images, *(shown for _, shown in rows)), ("image", *(name for name, _ in rows))
    )


def _rows(made: Examples, common: Common, name: str, of: Attacked, eps: float) -> list[Row]:
    """A network's two rows: the attack's images, and the perturbations."""
    classes, x = common.one.test.classes, common.one.test.x()
    images, differences = [], []
    for i, x_adv in enumerate(of.x_adv):
        said = f"{of.before.words(i, classes)}\n→ {of.after.words(i, classes)}"
        images.append(as_picture(said, x_adv))
        differences.append(as_picture(f"L2 {float(of.l2[i]):.2f}", 0.5 + (x_adv - x[i]) / (2 * eps)))
    return [(f"{name}\n{made.attack}", tuple(images)), ("perturbation", tuple(differences))]


def _said(common: Common, found: Mapping[str, Attacked]) -> Tabular:
    """A line for each network and image."""
    test = common.one.test
    heads = ("network", "image", "class", "before", "after", "Linf x 255", "L2")
    lines = tuple(
        (
            name, str(int(test.indices[i])), common.title(i), of.before.words(i, test.classes),
            of.after.words(i, test.classes), f"{255 * float(of.linf[i]):.1f}", f"{float(of.l2[i]):.2f}",
        )
        for name, of in found.items()
        for i in range(len(test))
    )  # fmt: skip
    return Tabular("Each image", heads, lines, left=5)
