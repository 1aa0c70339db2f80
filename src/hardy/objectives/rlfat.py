"""RLFAT and RBSAT: learn robust local features from block-shuffled adversarial images, and transfer them to whole ones.

    RLFAT-P   minimise   E[ CE(f(RBS(x')), y) ]                            + eta * E[ ||f(RBS(x')) - f(x')||^2 ]
    RLFAT-T   minimise   E[ CE(f(x), y) + beta * KL(f(x) || f(RBS(x'))) ]  + eta * E[ ||f(RBS(x')) - f(x')||^2 ]

with x' crafted on the whole image, by cross-entropy (P) or by KL from the clean prediction (T), and f the logits. The first
part alone (eta = 0) is RBSAT.

Source:  Song et al., "Robust local features for improving the generalization of adversarial training", ICLR 2020,
         eqs. (7)-(10), Algorithm 1; the squared distance is summed over classes and both its sides get the gradient, as in
         the authors' code.
Differs: KL is exact, where the authors' Keras clips probabilities to [1e-7, 1]. Batch norm is in eval mode while crafting
         unless `batch_norm` says "train", as in their code. With eta = 0 the pass over the whole x' is left out, and with it
         that pass's update of the running statistics.
"""

from torch import Tensor

from hardy.attacks import KL, PGD, Attack
from hardy.data.block_shuffle import Cuts, block_shuffle
from hardy.describe import require, settings
from hardy.losses.labels import check_smoothing
from hardy.losses.logits import cross_entropy, kl, squared_distance
from hardy.models.classifier import BatchNormMode, Classifier
from hardy.objectives.objective import Objective, Terms
from hardy.objectives.trades import away_from_clean
from hardy.randomness import Noise
from hardy.types import Images, Labels, Logits


@settings
class RLFATP(Objective):
    """RLFAT on PGD-AT; RBSAT-P where eta is 0."""

    attack: Attack = PGD()  # maximises cross-entropy
    eta: float = 0.5  # weight of the transfer of local features
    k: int = 2  # blocks along each axis
    cuts: Cuts = "random"
    per_image: bool = False  # a shuffle for each image instead of one for the batch
    batch_norm: BatchNormMode = "eval"  # its mode while crafting
    smoothing: float = 0.0  # share of the label spread over the other classes in the cross-entropy

    def __post_init__(self) -> None:
        _check(self.eta, self.k, self.smoothing)

    def check(self, shape: tuple[int, int, int]) -> None:
        side = min(shape[1:])
        require(self.k <= side, "objective.k", self.k, f"the number of blocks, 1 to the image's side ({side})")

    def terms(self, model: Classifier, x: Images, y: Labels, made: Images, noise: Noise) -> Terms:
        shuffled = model(block_shuffle(made, self.k, noise.derive("rbs"), cuts=self.cuts, per_image=self.per_image))
        return {
            "local": cross_entropy(shuffled, y, self.smoothing).mean(),
            **_transfer(model, made, shuffled, self.eta),
        }


@settings
class RLFATT(Objective):
    """RLFAT on TRADES; RBSAT-T where eta is 0."""

    attack: Attack = PGD(start_at="gaussian", loss=KL())  # maximises KL from the clean prediction
    beta: float = 6.0  # weight of agreement; lambda in the paper
    eta: float = 1.0  # weight of the transfer of local features
    k: int = 2  # blocks along each axis
    cuts: Cuts = "random"
    per_image: bool = False  # a shuffle for each image instead of one for the batch
    batch_norm: BatchNormMode = "eval"  # its mode while crafting
    smoothing: float = 0.0  # share of the label spread over the other classes in the cross-entropy

    def __post_init__(self) -> None:
        require(self.beta >= 0, "beta", self.beta, "at least 0")
        _check(self.eta, self.k, self.smoothing)

    def check(self, shape: tuple[int, int, int]) -> None:
        side = min(shape[1:])
        require(self.k <= side, "objective.k", self.k, f"the number of blocks, 1 to the image's side ({side})")

    def craft(self, model: Classifier, x: Images, y: Labels, noise: Noise) -> Images:
        return away_from_clean(model, x, self.attack, self.batch_norm, noise)

    def terms(self, model: Classifier, x: Images, y: Labels, made: Images, noise: Noise) -> Terms:
        clean = model(x)
        shuffled = model(block_shuffle(made, self.k, noise.derive("rbs"), cuts=self.cuts, per_image=self.per_image))
        return {
            "natural": cross_entropy(clean, y, self.smoothing).mean(),
            "local agreement": self.beta * kl(shuffled, clean.softmax(1)).mean(),
            **_transfer(model, made, shuffled, self.eta),
        }


def _check(eta: float, k: int, smoothing: float) -> None:
    require(eta >= 0, "eta", eta, "at least 0")
    require(k >= 1, "k", k, "at least 1 block")
    check_smoothing(smoothing)


def _transfer(model: Classifier, x_adv: Images, shuffled: Logits, eta: float) -> dict[str, Tensor]:
    """The RLFT term, where it has a weight: one pass over the whole adversarial images."""
    return {"transfer": eta * squared_distance(shuffled, model(x_adv)).mean()} if eta else {}
