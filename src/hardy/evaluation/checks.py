"""What is checked of a network and its images before any number: a number would be meaningless where a check fails."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hardy.attacks.attack import Attack, Forward, is_logits, kind
from hardy.data.split import Split
from hardy.describe import first_line, fitted, require
from hardy.errors import UsageError
from hardy.evaluation.stream import verdict
from hardy.models.classifier import Classifier, frozen, set_normalisation
from hardy.models.full_precision import full_precision
from hardy.randomness import Noise
from hardy.results import wilson
from hardy.types import Images, Logits

_ROUNDING = 1e-3  # of the logits' spread: convolutions of another batch size differ by less, batch norm by more
_SUM = 1e-4  # how far from 1 the sum of rounded probabilities may be
_TOGETHER = 4  # images that are looked at alone and in company


@dataclass(frozen=True)
class Normalisations:
    """Clean accuracy (fractions) of the same n images with a mean and deviation, and on the pixels as they are."""

    own: float
    none: float
    n: int

    @property
    def better(self) -> bool:
        """Whether the network is at least as accurate with them as without."""
        return self.own >= self.none

    @property
    def summary(self) -> str:
        """Both accuracies in a sentence, and which is better."""
        better = "neither is better" if self.own == self.none else f"better is with{'' if self.better else 'out'} it"
        return (
            f"Clean accuracy on {self.n} images is {self.own:.1%} with the weights' own normalisation and {self.none:.1%} "
            f"without; {better}."
        )


def check_network(model: Forward, split: Split) -> None:
    """Raises UsageError unless there are images, and the network turns them into finite logits, one a class of the data."""
    if not callable(model):
        raise UsageError(f"The network is {kind(model)}; it must be a module or function, such as hardy.load gives.")
    if not isinstance(split, Split):
        raise UsageError(
            f"The data is {kind(split)}; it must be one hardy.data.Split, such as test of run.data.load()."
        )
    require(len(split) > 0, "n", len(split), "at least 1 image")
    with full_precision(model), frozen(model), torch.no_grad():
        try:
            out = model(split.x(slice(0, 2)))
        except UsageError:
            raise
        except (RuntimeError, ValueError) as error:  # batch norm in training mode refuses a single image by ValueError
            raise UsageError(f"The network cannot take images of shape {split.shape}: {first_line(error)}.") from error
    wanted = (min(2, len(split)), len(split.classes))
    if not is_logits(out) or tuple(out.shape) != wanted:
        raise UsageError(
            f"For {wanted[0]} images the network gives {kind(out)}; logits {wanted} are needed for {wanted[1]} classes."
        )
    if not bool(out.isfinite().all()):
        raise UsageError("The network gives NaN or infinite logits on unperturbed images; are its weights damaged?")


def inspect(model: Forward, split: Split, images: int = 200, batch: int = 50) -> list[str]:
    """What a reader of the network's numbers should know, in sentences; the first is its clean accuracy.

    images: how many are looked at, the first ones. The network is in evaluation mode meanwhile where it is a module, and is
    left as it was; its forward passes are in full precision.

    Raises: UsageError where a number would be meaningless: what `check_network` raises; pixels of 0 and 1 among bytes; NaN,
    infinite values or probabilities in place of logits; logits that depend on the other images in the batch.
    """
    require(fitted(images, int, "images") >= 1, "images", images, "at least 1")
    require(fitted(batch, int, "batch") >= 1, "batch", batch, "at least 1")
    check_network(model, split)
    split = split.take(slice(images))
    _check_pixels(split)
    logits = _logits(model, split, batch)
    _check_logits(logits)
    notes = [_clean(logits, split)]
    if bool((logits <= 0).all()) and bool((logits.logsumexp(1).abs() < _SUM).all()):
        notes.append("The network gives log-probabilities; they serve as logits.")
    if len(split) > 1 and bool((logits == logits[:1]).all()):
        notes.append("The network gives the same logits for every image: it does not look at them.")
    return notes + _check_company(model, split)


def check_attack(name: str, attack: Attack, networks: Sequence[Forward], split: Split) -> None:
    """Raises UsageError where the attack cannot be made on one of the networks: too few classes, or no activations to look at.

    networks: those it is crafted on. It costs the attack's first passes, on one image, where it iterates; others are not tried.
    """
    x, y = split.x(slice(0, 1)), split.labels[:1]
    noise = Noise(0, split.indices[:1], purpose="check")
    for network in networks:
        with frozen(network):
            try:
                for stage, drawn in zip(attack.stages, attack.noises(noise), strict=True):
                    stage.start(stage.view(network), x, y, drawn)
            except UsageError as error:
                raise UsageError(f"{name} cannot be made on this network. {error}") from error


def check_alone(attack: Attack) -> None:
    """Raises UsageError for an attack on groups of images: what it makes of one depends on the others."""
    if attack.group is not None:
        raise UsageError(
            f"The attack is {attack.summary!r}; it must be one whose direction depends on an image alone, as PGD's."
        )


def normalisation(
    model: Classifier, mean: tuple[float, ...], deviation: tuple[float, ...], split: Split, batch: int = 200
) -> Normalisations:
    """Clean accuracy with this mean and deviation, and on the pixels as they are; the network is left as it was.

    Files of weights carry a normalisation that their network was not always trained with: what `better` says should be taken,
    by `hardy.models.classifier.set_normalisation`.

    Raises: UsageError for no images, or a normalisation that does not fit.
    """
    require(len(split) > 0, "n", len(split), "at least 1 image")
    require(len(mean) in (1, split.shape[0]), "mean", mean, f"1 number or {split.shape[0]}, one a channel")
    before = model.mean, model.deviation
    try:
        set_normalisation(model, mean, deviation)
        own = _accuracy(model, split, batch)
        set_normalisation(model)
        return Normalisations(own, _accuracy(model, split, batch), len(split))
    finally:
        model.mean, model.deviation = before


def _accuracy(model: Classifier, split: Split, batch: int) -> float:
    with frozen(model):
        parts = [verdict(model, split.x(part), split.labels[part]) for part in _parts(split, batch)]
    return float(torch.cat(parts).double().mean())


def _parts(split: Split, batch: int) -> list[slice]:
    return [slice(first, first + batch) for first in range(0, len(split), batch)]


def _logits(model: Forward, split: Split, batch: int) -> Logits:
    with full_precision(model), frozen(model), torch.no_grad():
        return torch.cat([_passed(model, split.x(part)) for part in _parts(split, batch)])


def _check_pixels(split: Split) -> None:
    """A split's pixels are bytes, and in [0, 1] as networks take them; but bytes may have been made of pixels in [0, 1]."""
    highest = int(split.images.max())
    if highest <= 1:
        raise UsageError(
            f"The brightest of the pixels is {highest} of 255: the images were divided by 255 before they became bytes, "
            "or are empty. A split holds bytes from 0 to 255."
        )


def _check_logits(logits: Logits) -> None:
    bad = int((~logits.isfinite().all(1)).sum())
    if bad:
        raise UsageError(
            f"The network gives NaN or infinite logits for {bad} of {len(logits)} unperturbed images; are its weights damaged?"
        )
    if bool((logits >= 0).all()) and bool(((logits.sum(1) - 1).abs() < _SUM).all()):
        raise UsageError(
            "The network gives probabilities (each row is at least 0 and sums to 1); attacks on them fail for want of gradient, "
            "and look like robustness. Let it return what goes into its softmax."
        )


def _clean(logits: Logits, split: Split) -> str:
    right, n, chance = int((logits.argmax(1) == split.labels).sum()), len(split), 1 / len(split.classes)
    said = f"Clean accuracy is {right / n:.1%} on the first {n} images"
    if wilson(right, n)[0] > chance:
        return f"{said}."
    return (
        f"{said}, where guessing gives {chance:.1%}: perhaps the network was trained with another normalisation, range of "
        "pixels or order of classes."
    )


def _check_company(model: Forward, split: Split) -> list[str]:
    """Raises UsageError if an image's logits depend on the others in its batch; a note if they are random."""
    x = split.x(slice(_TOGETHER))
    # others before and behind, and never an image opposite itself, even where there is but one
    company = torch.cat([1 - x, x, x.flip(3), 1 - x.flip(3)])
    with full_precision(model), frozen(model), torch.no_grad():
        together = _passed(model, company)[len(x) : 2 * len(x)]
        again = _passed(model, company)[len(x) : 2 * len(x)]
        alone = torch.cat([_passed(model, x[i : i + 1]) for i in range(len(x))])
    if _differ(together, again):
        return [
            "The network gives other logits each time it sees the same images: it is random, and so are its numbers; an "
            "attack on it must average over many passes."
        ]
    if _differ(together, alone):
        raise UsageError(
            f"The logits of an image change by up to {float((together - alone).abs().max()):.2g} with the other images in its "
            "batch: batch norm uses the statistics of the batch, or another layer mixes images. Call eval() in the function "
            "that gives the logits, and mix no images there."
        )
    return []


def _passed(model: Forward, x: Images) -> Tensor:
    try:
        out: Tensor = model(x)
    except UsageError:
        raise
    except (RuntimeError, ValueError) as error:
        raise UsageError(
            f"The network takes no batch of {len(x)}, as evaluation needs it to: {first_line(error)}."
        ) from error
    if not is_logits(out) or len(out) != len(x):
        raise UsageError(f"For a batch of {len(x)} the network gives {kind(out)}; logits of as many rows are needed.")
    return out


def _differ(one: Logits, other: Logits) -> bool:
    spread = (one - one.mean(1, keepdim=True)).abs().max()  # what decides; all logits of a row may be large
    return bool((one - other).abs().max() > _ROUNDING * spread + 1e-5 * one.abs().max())
