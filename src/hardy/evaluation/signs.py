"""Signs that gradients are masked: each a pure function of which images held under which attack, with an exact test.

Two tests, both one-sided and exact, both at the 1 % level over the images at hand:

    paired   of the images that only one of two attacks breaks, more than half are broken by the one that should not win:
             P(Bin(b + c, 1/2) >= b), McNemar's test
    share    of the n images that are classified correctly unperturbed, more than a share q behave in a way: P(Bin(n, q) >= k)

A sign is "not enough images" where the most extreme outcome there could be, every image in question speaking for the sign and
none against it, would still have a p-value above 1 %. In a paired test the images in question are those that the attack which
should win left over; where it left none, though there were enough to be attacked, nothing is left that could be masked: "not
seen". Shares are of the correct images, not of those that an attack left: of the last few of these another attack often breaks
half, on honest networks too, and that overstates nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from scipy.special import betainc
from torch import Tensor

from hardy.attacks.balls import fraction
from hardy.evaluation import sign_kinds as kinds
from hardy.evaluation.sign_kinds import Kind, Result, Sign

LEVEL = 0.01  # of every sign's test
FEWEST = 10  # images that a share is of: a small one would be exceeded by two or three at the level

Verdict = Literal["no sign", "suspicious", "masked"]


def at_least(k: int, n: int, share: float) -> float:
    """P(Bin(n, share) >= k), for a share within (0, 1)."""
    return 1.0 if k <= 0 else float(betainc(k, n - k + 1, share))


@dataclass(frozen=True)
class _Test:
    """p: the p-value. least: the smallest that there could have been. few: why images are too few whatever that is."""

    p: float
    least: float
    few: str = ""

    def of(self, kind: Kind, numbers: Mapping[str, float], threshold: float | None = None) -> Sign:
        """The sign as tested. threshold: where it is not the kind's own."""
        q = kind.threshold if threshold is None else threshold
        if self.few or self.least > LEVEL:
            note = self.few or f"the smallest p-value that the images at hand could have given is {self.least:.2g}"
            return Sign(kind.name, kind.weight, "not enough images", None, numbers, q, kind.bounds, kind.why, note)
        result: Result = "seen" if self.p <= LEVEL else "not seen"
        return Sign(kind.name, kind.weight, result, self.p, numbers, q, kind.bounds, kind.why)


def _share(k: int, n: int, q: float) -> _Test:
    """Whether more than a share q of n images do."""
    few = "" if n >= FEWEST else f"a share of fewer than {FEWEST} correct images is not tested"
    return _Test(at_least(k, n, q), q**n, few)


def _paired(suspect: Tensor, pgd: Tensor, correct: Tensor) -> tuple[_Test, int, int]:
    """(the test, images broken only by the suspect attack, only by the other); bool (N,), who holds under each."""
    b, c, left = (int(which.sum()) for which in (pgd & ~suspect, suspect & ~pgd, pgd))
    return _Test(at_least(b, b + c, 0.5), 0.5 ** (left or int(correct.sum()))), b, c


def _accuracy(held: Tensor) -> float:
    return float(held.double().mean())


def _against_pgd(kind: Kind, title: str, suspect: Tensor, pgd: Tensor, correct: Tensor) -> Sign:
    test, b, c = _paired(suspect, pgd, correct)
    numbers = {
        "PGD-20": _accuracy(pgd),
        title: _accuracy(suspect),
        f"broken only by {title}": b,
        "broken only by PGD-20": c,
    }
    return test.of(kind, numbers)


def _of_left(kind: Kind, what: str, left: Tensor, after: Mapping[str, Tensor], correct: Tensor) -> Sign:
    """Share of the correct images that an attack left and others break; bool (N,), who holds before, after each of these."""
    held, n = left.clone(), int(correct.sum())
    numbers: dict[str, float] = {"images": n, f"left by {what}": int(left.sum())}
    for title, holds in after.items():
        held &= holds
        numbers[f"of these broken by {title}"] = int((left & ~holds).sum())
    broken = int((left & ~held).sum())
    if len(after) > 1:
        numbers["of these broken by any"] = broken
    return _share(broken, n, kind.threshold).of(kind, numbers)


def one_step(fgsm: Tensor, pgd: Tensor, correct: Tensor) -> Sign:
    """FGSM against PGD-20: who holds under each, and unperturbed; bool (N,), here and below."""
    return _against_pgd(kinds.ONE_STEP, "FGSM", fgsm, pgd, correct)


def square_against(square: Tensor, pgd: Tensor, correct: Tensor) -> Sign:
    """Square alone against PGD-20."""
    return _against_pgd(kinds.SQUARE, "Square", square, pgd, correct)


def square_after(square: Tensor, gradient: Tensor, correct: Tensor) -> Sign:
    """Square on what all gradient attacks left."""
    return _of_left(kinds.SQUARE_AFTER, "all gradient attacks", gradient, {"Square": square}, correct)


def nattack_after(nattack: Tensor, gradient: Tensor, correct: Tensor) -> Sign:
    """NATTACK on what all gradient attacks left of the images that it was tried on."""
    return _of_left(kinds.NATTACK_AFTER, "all gradient attacks", gradient, {"NATTACK": nattack}, correct)


def margin_loss(cw: Tensor, pgd: Tensor, correct: Tensor) -> Sign:
    """CW-20, which is PGD-20 on the margin, on what PGD-20 left."""
    sign = _of_left(kinds.MARGIN, "PGD-20", pgd, {"CW-20": cw}, correct)
    return _with(sign, {"PGD-20": _accuracy(pgd), "CW-20": _accuracy(cw)})


def effort(tried: Mapping[str, Tensor], pgd: Tensor, correct: Tensor) -> Sign:
    """More steps, restarts, other step sizes and losses on what PGD-20 left."""
    return _of_left(kinds.EFFORT, "PGD-20", pgd, tried, correct)


def autoattack_below(autoattack: Tensor, pgd: Tensor, correct: Tensor) -> Sign:
    """AutoAttack on what PGD-20 left."""
    sign = _of_left(kinds.AUTOATTACK, "PGD-20", pgd, {"AutoAttack": autoattack}, correct)
    return _with(sign, {"PGD-20": _accuracy(pgd), "AutoAttack": _accuracy(pgd & autoattack)})


def chance(held: Tensor, correct: Tensor, labels: Tensor, eps: float) -> Sign:
    """Who holds in a ball of radius eps that holds the same grey image for all."""
    n, commonest = len(labels), float(labels.bincount().max()) / len(labels)
    k = int(held.sum())
    # where all images are of one class, nothing is above its share
    p, least = (1.0, 1.0) if commonest == 1 else (at_least(j, n, commonest) for j in (k, int(correct.sum())))
    numbers = {"eps": eps, "accuracy": k / n, "share of the commonest class": commonest}
    return _Test(p, least).of(kinds.CHANCE, numbers, commonest)


def rising(held: Mapping[float, Tensor], correct: Tensor) -> Sign:
    """PGD-20 at growing radii: each with the next, and the p-value times the number of comparisons (Bonferroni)."""
    radii = sorted(held)
    found = [(*_paired(held[small], held[large], correct), small, large) for small, large in pairwise(radii)]
    worst, b, c, small, large = min(found, key=lambda one: one[0].p)
    numbers: dict[str, float] = {f"accuracy at {fraction(radius)}": _accuracy(held[radius]) for radius in radii}
    numbers |= {f"broken only at {fraction(small)}": b, f"broken only at {fraction(large)}": c}
    least = min(test.least for test, *_ in found)
    return _Test(min(1.0, len(found) * worst.p), min(1.0, len(found) * least)).of(kinds.RISING, numbers)


def gradients(zero: Tensor, vanishing: Tensor, pgd: Tensor, correct: Tensor) -> Sign:
    """Zero or non-finite gradients of the loss, and such as plain noise refutes, at the images that PGD-20 left.

    Where PGD-20 broke an image the gradient on the way was a guide, whatever it is at the image: far beyond the radius that a
    network was trained for, noise often does more than the flat gradient at the image allows.
    """
    n, useless = int(correct.sum()), int((pgd & (zero | vanishing)).sum())
    numbers = {
        "images": n,
        "left by PGD-20": int(pgd.sum()),
        "gradient of these exactly zero or not finite": int((pgd & zero).sum()),
        "noise does more to these than the gradient allows": int((pgd & vanishing).sum()),
    }
    return _share(useless, n, kinds.GRADIENT.threshold).of(kinds.GRADIENT, numbers)


def transfer(transferred: Tensor, pgd: Tensor, correct: Tensor) -> Sign:
    """PGD-20 crafted on a plainly trained network against PGD-20 crafted on the network itself."""
    return _against_pgd(kinds.TRANSFER, "transfer", transferred, pgd, correct)


def noise(draws: Tensor, pgd: Tensor, correct: Tensor) -> Sign:
    """A few random points of the ball against PGD-20."""
    return _against_pgd(kinds.NOISE, "noise", draws, pgd, correct)


def changing(logits: Tensor, classes: Tensor) -> Sign:
    """Whose logits, and whose class, change from pass to pass: a single one refutes that outputs depend on images alone."""
    changed = int(logits.sum())
    numbers = {"images": len(logits), "logits change": changed, "class changes": int(classes.sum())}
    return _Test(0.0 if changed else 1.0, 0.0).of(kinds.CHANGING, numbers)


def averaged(over_passes: Tensor, pgd: Tensor, correct: Tensor) -> Sign:
    """PGD-20 with the gradient of many passes' mean logits against PGD-20 with that of one, both judged at the last iterate."""
    return _against_pgd(kinds.AVERAGED, "PGD-20 on averages", over_passes, pgd, correct)


def _with(sign: Sign, numbers: Mapping[str, float]) -> Sign:
    return Sign(**{**vars(sign), "numbers": {**numbers, **sign.numbers}})


def verdict(signs: Sequence[Sign]) -> tuple[Verdict, str]:
    """(the verdict, a sentence why): "masked" by a strong sign or two hints, "suspicious" by one hint."""
    seen = [sign for sign in signs if sign.result == "seen"]
    tested = sum(sign.result in ("seen", "not seen") for sign in signs)
    counted = f"{tested} of {len(signs)} signs could be tested"
    if not seen:
        if not tested:
            return "no sign", f"None of the {len(signs)} signs could be tested, so that nothing is known."
        return "no sign", f"No sign of masked gradients was seen; {counted}, each at the {100 * LEVEL:g} % level."
    named = "; ".join(sign.name for sign in seen)
    if len(seen) > 1 or seen[0].weight == "strong":
        said = "Gradients are masked, so that accuracy under PGD-20 says little"
        return "masked", f"{said}: {named} ({counted}, each at the {100 * LEVEL:g} % level)."
    return "suspicious", f"One hint of masked gradients was seen: {named} ({counted}); it has honest explanations, too."
