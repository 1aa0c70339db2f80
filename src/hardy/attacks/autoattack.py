"""AutoAttack: four attacks without parameters, one after another on what is left; the number a reviewer asks for.

    standard   APGD on cross-entropy; APGD on the targeted DLR loss, FAB towards the same nine classes; Square
    plus       APGD on cross-entropy and on DLR, and FAB, five times each; Square; APGD and FAB towards nine classes
    rand       APGD on cross-entropy and on DLR, each gradient the mean of 20 passes: for networks that are random

Source:  Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free attacks",
         ICML 2020; what each version holds is that of their code.
Differs: an image leaves at its first misclassified iterate, where their APGD goes on; only images that could still be broken
         cost anything. A network of K < 10 classes is attacked towards K - 1 of them.
"""

from typing import Literal

from hardy.attacks.apgd import APGD
from hardy.attacks.attack import Attack, Iterative
from hardy.attacks.balls import Ball, Linf
from hardy.attacks.combine import Combined, Restarts, Targeted, Worst
from hardy.attacks.fab import FAB
from hardy.attacks.square import Square
from hardy.describe import settings
from hardy.losses.criteria import DLR, CrossEntropy, TargetedDLR

_RESTARTS, _CLASSES, _PASSES = 5, 9, 20  # of plus; of targeted attacks; of rand


@settings
class AutoAttack(Combined):
    """The worst case of APGD, FAB and Square."""

    ball: Ball = Linf()
    version: Literal["standard", "plus", "rand"] = "standard"

    @property
    def parts(self) -> dict[str, Attack]:
        ball = self.ball
        targeted = {
            "apgd-t": Targeted(APGD(ball, loss=TargetedDLR()), _CLASSES),
            "fab-t": Targeted(FAB(ball), _CLASSES),
        }
        match self.version:
            case "standard":
                return {"apgd-ce": APGD(ball, loss=CrossEntropy()), **targeted, "square": Square(ball)}
            case "plus":
                return {
                    "apgd-ce": Restarts(APGD(ball, loss=CrossEntropy()), _RESTARTS),
                    "apgd-dlr": Restarts(APGD(ball, loss=DLR()), _RESTARTS),
                    # the first from the image itself
                    "fab": Worst((FAB(ball), Restarts(FAB(ball, start_at="random"), _RESTARTS - 1))),
                    "square": Square(ball),
                    **targeted,
                }
            case "rand":
                return {
                    "apgd-ce": APGD(ball, loss=CrossEntropy(), passes=_PASSES),
                    "apgd-dlr": APGD(ball, loss=DLR(), passes=_PASSES),
                }

    @property
    def stages(self) -> tuple[Iterative, ...]:
        return tuple(stage for part in self.parts.values() for stage in part.stages)

    @property
    def summary(self) -> str:
        return f"AutoAttack ({self.version}: {', '.join(self.parts)}), {self.ball}"
