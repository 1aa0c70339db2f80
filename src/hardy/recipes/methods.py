"""The training methods by name: where each is from, what is known of it, and its objective around given settings of an attack."""

from collections.abc import Callable
from dataclasses import dataclass

from hardy.attacks import (
    KL,
    PGD,
    AdversarialDistribution,
    AdversarialInterpolation,
    FeatureScatter,
    InfoFeature,
    Linf,
)
from hardy.errors import unknown
from hardy.models.classifier import BatchNormMode
from hardy.objectives import (
    ADT,
    ALP,
    AWP,
    FGSMRS,
    MART,
    PGDAT,
    RAT,
    RLFATP,
    RLFATT,
    TRADES,
    AVmixup,
    FeatureMatching,
    FeatureScatterAT,
    InfoFeatureAT,
    InterpolationAT,
    Objective,
    RolledPGDAT,
    Standard,
)


@dataclass(frozen=True)
class Inner:
    """What of the inner problem is a matter of the budget, and not of the method: ball, steps, and batch norm's mode."""

    ball: Linf
    steps: int
    step_size: float | None = None  # pixel units of [0, 1]; None is eps / 4
    batch_norm: BatchNormMode = "eval"

    @property
    def attack(self) -> PGD:
        """PGD on cross-entropy."""
        return PGD(self.ball, self.steps, self.step_size)

    @property
    def away(self) -> PGD:
        """PGD on KL from the clean prediction, as TRADES has it."""
        return PGD(self.ball, self.steps, self.step_size, start_at="gaussian", loss=KL())


@dataclass(frozen=True)
class Method:
    """A training method.

    equation: what is minimised, and its number where the three papers that this library follows have one; x' is what was
    crafted, f the logits, M a class activation map. autoattack: a known accuracy, and its source.
    """

    what: str
    paper: str
    year: int | None
    equation: str
    autoattack: str
    build: Callable[[Inner], Objective]


_NONE = "none found"
_SONG = "Song et al., ICLR"

METHODS: dict[str, Method] = {
    "standard": Method(
        "no adversary", "", None,
        "CE(x, y)", "0.00 (WRN-28-10, clean 94.78, RobustBench)",
        lambda inner: Standard(),
    ),
    "pgdat": Method(
        "PGD adversarial training", "Madry et al., ICLR", 2018,
        "CE(x', y); eqs. (4), (5)",
        "44.04 (w32-10, clean 87.14, AutoAttack's README)",
        lambda inner: PGDAT(inner.attack, inner.batch_norm),
    ),
    "trades": Method(
        "accuracy traded for agreement", "Zhang et al., ICML", 2019,
        "CE(x, y) + 6 KL(x, x'); eq. (6)",
        "53.08 (WRN-34-10, clean 84.92, eps 0.031, AutoAttack's README)",
        lambda inner: TRADES(inner.away, batch_norm=inner.batch_norm),
    ),
    "rbsat-p": Method(
        "PGD-AT on block-shuffled adversarial images", _SONG, 2020,
        "CE(rbs x', y); eq. (7)", _NONE,
        lambda inner: RLFATP(inner.attack, eta=0.0, batch_norm=inner.batch_norm),
    ),
    "rbsat-t": Method(
        "TRADES with block-shuffled adversarial images", _SONG, 2020,
        "CE(x, y) + 6 KL(x, rbs x'); eq. (8)", _NONE,
        lambda inner: RLFATT(inner.away, eta=0.0, batch_norm=inner.batch_norm),
    ),
    "rlfat-p": Method(
        "robust local features on PGD-AT", _SONG, 2020,
        "CE(rbs x', y) + 0.5 |f(rbs x') - f(x')|^2; eqs. (7), (9), (10)", _NONE,
        lambda inner: RLFATP(inner.attack, batch_norm=inner.batch_norm),
    ),
    "rlfat-t": Method(
        "robust local features on TRADES", _SONG, 2020,
        "CE(x, y) + 6 KL(x, rbs x') + |f(rbs x') - f(x')|^2; eqs. (8)-(10)", _NONE,
        lambda inner: RLFATT(inner.away, batch_norm=inner.batch_norm),
    ),
    "pgdat-rolled": Method(
        "control: PGD-AT on images rolled by a random offset", "", None,
        "CE(rolled x', y)", _NONE,
        lambda inner: RolledPGDAT(inner.attack, inner.batch_norm),
    ),
    "alp": Method(
        "PGD-AT with paired logits", "Kannan et al., arXiv", 2018,
        "(CE(x, y) + CE(x', y)) / 2 + 0.1 MSE(f(x), f(x'))",
        "none found; 0.1 by PGD (ImageNet-64, eps 16/255, Engstrom et al. 2018)",
        lambda inner: ALP(inner.attack, batch_norm=inner.batch_norm),
    ),
    "feature-matching": Method(
        "PGD-AT with paired activation maps", "Li et al., IEEE Access", 2020,
        "(CE(x, y) + CE(x', y)) / 2 + 10 MSE(M(x), M(x')) + 2 MSE(f(x), f(x'))", _NONE,
        lambda inner: FeatureMatching(inner.attack, batch_norm=inner.batch_norm),
    ),
    "feature-scatter": Method(
        "a batch moved away from itself", "Zhang and Wang, NeurIPS", 2019,
        "CE(x', y smoothed by 0.5), x' by transport of the batch's logits",
        "36.64 (WRN-28-10, clean 89.98, RobustBench)",
        lambda inner: FeatureScatterAT(FeatureScatter(inner.ball), inner.batch_norm),
    ),
    "adv-interp": Method(
        "images moved towards others, labels away", "Zhang and Xu", 2020,
        "CE(x', y and not the partner's y), x' towards the partner's features",
        "36.45 (WRN-28-10, clean 90.25, RobustBench)",
        lambda inner: InterpolationAT(AdversarialInterpolation(inner.ball), batch_norm=inner.batch_norm),
    ),
    "infofeature": Method(
        "attacks that change class activation maps", "Yan and Yeung", 2021,
        "CE(x', y), x' by CE + 0.1 |M(x) - M(x')|; eqs. (6)-(8)", _NONE,
        lambda inner: InfoFeatureAT(InfoFeature(inner.ball, inner.steps, inner.step_size), inner.batch_norm),
    ),
    "avmixup": Method(
        "mixtures of images and points beyond adversarial ones", "Lee et al., CVPR", 2020,
        "CE(w x + (1 - w) v, mixed y), v = x + 2 (x' - x)", _NONE,
        lambda inner: AVmixup(inner.attack, batch_norm=inner.batch_norm),
    ),
    "adt": Method(
        "a learned distribution of perturbations", "Deng et al., NeurIPS", 2020,
        "CE(x', y), x' a sample of argmax E CE + 0.01 entropy", _NONE,
        lambda inner: ADT(AdversarialDistribution(inner.ball), inner.batch_norm),
    ),
    "rat": Method(
        "points of the region of an attack's path", "Song et al., arXiv", 2021,
        "CE(x + s (x' - x), y smoothed by s), x' between the first fooling point and the path's end; eqs. (5)-(7)", _NONE,
        lambda inner: RAT(inner.attack, batch_norm=inner.batch_norm),
    ),
    "mart": Method(
        "misclassified images count more", "Wang et al., ICLR", 2020,
        "BCE(x', y) + 5 KL(x, x') (1 - p_y(x))",
        "56.29 (WRN-28-10 with 500,000 more images, clean 87.50, AutoAttack's README)",
        lambda inner: MART(PGD(inner.ball, inner.steps, inner.step_size, start_at="gaussian"), batch_norm=inner.batch_norm),
    ),
    "fgsm-rs": Method(
        "one large step from a random start", "Wong et al., ICLR", 2020,
        "CE(x', y), x' one step of 1.25 eps",
        "43.21 (PreActResNet-18, clean 83.34, AutoAttack's README)",
        lambda inner: FGSMRS(PGD(inner.ball, 1, 1.25 * inner.ball.eps), inner.batch_norm),
    ),
    "awp-pgdat": Method(
        "PGD-AT at weights moved to raise its loss", "Wu et al., NeurIPS", 2020,
        "CE(x', y) at w + v, |v| = 0.01 |w|",
        "53.97 (WRN-34-10, clean 85.36, the authors' README)",
        lambda inner: AWP(METHODS["pgdat"].build(inner)),
    ),
    "awp-trades": Method(
        "TRADES at weights moved to raise its loss", "Wu et al., NeurIPS", 2020,
        "TRADES at w + v, |v| = 0.005 |w|",
        "56.17 (WRN-34-10, clean 85.36, RobustBench)",
        lambda inner: AWP(METHODS["trades"].build(inner), gamma=0.005),
    ),
}  # fmt: skip


def objective(method: str, inner: Inner) -> Objective:
    """The method of that name with the weights of its paper. `awp-` before any name puts AWP around it.

    Raises: UsageError, with the nearest names, where there is no such method.
    """
    if method not in METHODS:
        name = method.removeprefix("awp-")
        if name == method or name not in METHODS:
            raise unknown("method", method, METHODS)
        return AWP(objective(name, inner))
    return METHODS[method].build(inner)
