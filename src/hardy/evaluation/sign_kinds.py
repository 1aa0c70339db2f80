"""What there is to each sign of masked gradients before anything is measured: its weight, its threshold, and why it is one.

Thresholds of shares lie between what was measured on networks known to be honest and on masked ones; the numbers are beside them.

Source:  Athalye, Carlini and Wagner, "Obfuscated gradients give a false sense of security", ICML 2018; Carlini et al., "On
         evaluating adversarial robustness", 2019; Croce and Hein, "Reliable evaluation of adversarial robustness", ICML 2020;
         the RAT paper's section on obfuscated gradients.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Weight = Literal["strong", "hint"]
Result = Literal["seen", "not seen", "not enough images", "not tested"]

# Shares of the images that are classified correctly unperturbed.
# CW-20 after PGD-20. Honest: at most 6.7 % on small networks on digits, a linear one, 5.4 % on CIFAR-10. Labels smoothed
# by 0.99: 9 to 15 %; RAT on CIFAR-100 16 % as published.
CW_GAIN = 0.075
# What restarts, steps and losses add to PGD-20. Honest: at most 8 %, on a plainly trained network with logits times 3.
EFFORT_GAIN = 0.1
# AutoAttack after PGD-20. Honest: at most 9.5 % on small networks (10.5 % with logits times 3), 3 to 6 % as published. Labels
# smoothed by 0.99: 14 to 22 %; feature scattering 27 %, bilateral training 31 %, adversarial interpolation 36 % as published.
AUTOATTACK_GAIN = 0.1
# A black box after all gradient attacks. Honest: none of some 50 images each on small networks. Quantised input: 12 to 36 %.
BLACK_BOX_GAIN = 0.03
# Useless gradients of what PGD-20 left. Honest: at most 2.8 %, a little beyond the radius of training (of what PGD-20 broke far
# beyond it, up to 21 %). Scaled logits and quantised input: 100 %; saturating input: 20 %; k-winners-take-all: 6 to 9 %.
USELESS_GRADIENTS = 0.03


@dataclass(frozen=True)
class Sign:
    """What one sign says. p: of the exact test; None where there was none. note: why it was not tested, where it was not.

    numbers: accuracies are fractions of all images, the others count images. threshold: what the test holds a share against;
    bounds: the share of what. weight: "strong" where hardly anything but masked gradients explains the sign.
    """

    name: str
    weight: Weight
    result: Result
    p: float | None
    numbers: Mapping[str, float]
    threshold: float
    bounds: str
    why: str
    note: str = ""


@dataclass(frozen=True)
class Kind:
    """A sign that is still to be tested."""

    name: str
    weight: Weight
    threshold: float
    bounds: str
    why: str

    def untested(self, note: str) -> Sign:
        """The sign left out. note: for what reason."""
        return Sign(self.name, self.weight, "not tested", None, {}, self.threshold, self.bounds, self.why, note)


def _only(one: str, other: str = "PGD-20") -> str:
    return f"share of {one} among the images that only one of {one} and {other} breaks"


def _left(by: str, and_broken_by: str) -> str:
    return f"share of the correct images that {by} leave and {and_broken_by} breaks"


ONE_STEP = Kind(
    "one step beats many", "hint", 0.5, _only("FGSM"),
    "Many small steps can do whatever a single large one does; where they do worse, the gradient points astray on the way "
    "(Athalye et al. 2018, 3.1).",
)  # fmt: skip
SQUARE = Kind(
    "black box beats white box", "strong", 0.5, _only("Square"),
    "Who sees the gradient knows more than who sees only logits; where the latter does better, the gradient hides what there "
    "is (Athalye et al. 2018, 3.1; the RAT paper's own test).",
)  # fmt: skip
SQUARE_AFTER = Kind(
    "black box breaks what gradients leave", "strong", BLACK_BOX_GAIN, _left("all gradient attacks", "Square"),
    "On honest networks Square adds next to nothing to APGD and FAB (Croce and Hein 2020); where it does, all of these were led "
    "astray.",
)  # fmt: skip
NATTACK_AFTER = Kind(
    "NATTACK breaks what gradients leave", "strong", BLACK_BOX_GAIN, _left("all gradient attacks", "NATTACK"),
    "A search that uses no gradient must not find what those that use it miss (Athalye et al. 2018, 3.1; the RAT paper's test).",
)  # fmt: skip
MARGIN = Kind(
    "margin beats cross-entropy", "hint", CW_GAIN, _left("20 steps of PGD", "CW-20"),
    "Equally many steps of the same length on the margin find as much on honest networks; cross-entropy fails alone where its "
    "gradient vanishes or points elsewhere (Carlini et al. 2019; Croce and Hein 2020, section 4).",
)  # fmt: skip
EFFORT = Kind(
    "more effort breaks much more", "hint", EFFORT_GAIN, _left("20 steps of PGD", "the same with more effort"),
    "On an honest network PGD has all but converged after 20 steps: more steps, restarts, other step sizes and losses change "
    "little (Carlini et al. 2019).",
)  # fmt: skip
CHANCE = Kind(
    "accuracy above chance in the largest ball", "strong", 0.1,
    "accuracy in a ball that holds the same grey image for all; chance is the share of the commonest class",
    "A classifier gives one grey image one class, so that no defence is right on more; an attack that leaves more fails "
    "(Athalye et al. 2018, 3.1; Carlini et al. 2019).",
)  # fmt: skip
RISING = Kind(
    "accuracy rises with eps", "strong", 0.5, _only("PGD-20 at a smaller eps", "PGD-20 at the next larger one"),
    "The larger ball holds the smaller one; an attack that finds less there is led astray (Carlini et al. 2019).",
)  # fmt: skip
GRADIENT = Kind(
    "gradients are zero or vanish", "strong", USELESS_GRADIENTS,
    "share of the correct images that 20 steps of PGD leave and whose gradient says nothing",
    "Where the gradient of the loss is exactly zero or not finite, PGD cannot step; where plain noise moves the margin further "
    "than the gradient says that anything in the ball could, it is no guide (Athalye et al. 2018, section 3).",
)  # fmt: skip
TRANSFER = Kind(
    "transfer beats white box", "strong", 0.5, _only("transfer"),
    "Images made to fool another network must fool this one less often than images made for it (Athalye et al. 2018; Carlini et "
    "al. 2019).",
)  # fmt: skip
NOISE = Kind(
    "noise beats PGD-20", "hint", 0.5, _only("noise"),
    "A few random points of the ball must find less than a search does (Carlini et al. 2019).",
)  # fmt: skip
AUTOATTACK = Kind(
    "AutoAttack far below PGD-20", "hint", AUTOATTACK_GAIN, _left("20 steps of PGD", "AutoAttack"),
    "AutoAttack takes 4 % of the correct images from PGD on TRADES, 27 % on feature scattering, 36 % on adversarial "
    "interpolation (Croce and Hein 2020).",
)  # fmt: skip
CHANGING = Kind(
    "outputs change from pass to pass", "hint", 0.0, "share of images whose logits change",
    "An attack that sees one pass climbs a loss that is another one the next time; neither PGD nor AutoAttack's standard version "
    "say anything certain about a random network (Athalye et al. 2018, stochastic gradients).",
)  # fmt: skip
AVERAGED = Kind(
    "averaged gradients break more", "strong", 0.5, _only("PGD-20 with gradients of many passes"),
    "Where the mean gradient of many passes does better than that of one, randomness hid the way (Athalye et al. 2018: "
    "expectation over transformation).",
)  # fmt: skip
KINDS = (
    ONE_STEP, SQUARE, SQUARE_AFTER, NATTACK_AFTER, MARGIN, EFFORT, CHANCE, RISING, GRADIENT, TRANSFER, NOISE, AUTOATTACK,
    CHANGING, AVERAGED,
)  # fmt: skip
