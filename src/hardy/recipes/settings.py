"""What several recipes share: the methods of the RLFAT paper and their controls, around given attacks."""

from hardy.attacks import KL, PGD
from hardy.attacks.balls import Ball
from hardy.models.classifier import BatchNormMode
from hardy.objectives import PGDAT, RLFATP, RLFATT, TRADES, Objective, RolledPGDAT, Standard

METHODS = {
    "standard": "no adversary",
    "pgdat": "PGD adversarial training (Madry et al. 2018)",
    "trades": "TRADES (Zhang et al. 2019)",
    "rbsat-p": "PGD-AT on block-shuffled adversarial images (Song et al. 2020, eq. 7)",
    "rbsat-t": "TRADES with block-shuffled adversarial images (Song et al. 2020, eq. 8)",
    "rlfat-p": "robust local features on PGD-AT (Song et al. 2020, eqs. 7, 9, 10)",
    "rlfat-t": "robust local features on TRADES (Song et al. 2020, eqs. 8-10)",
    "pgdat-rolled": "control: PGD-AT on adversarial images rolled by a random offset",
}


def objective(
    method: str, ball: Ball, steps: int, step_size: float | None = None, batch_norm: BatchNormMode = "eval"
) -> Objective:
    """The method with the weights of the RLFAT paper: beta (its lambda) 6, eta 0.5 (P) and 1 (T), k 2."""
    attack = PGD(ball, steps, step_size)
    away = PGD(ball, steps, step_size, start_at="gaussian", loss=KL())
    made: dict[str, Objective] = {
        "standard": Standard(),
        "pgdat": PGDAT(attack, batch_norm),
        "trades": TRADES(away, batch_norm=batch_norm),
        "rbsat-p": RLFATP(attack, eta=0.0, batch_norm=batch_norm),
        "rbsat-t": RLFATT(away, eta=0.0, batch_norm=batch_norm),
        "rlfat-p": RLFATP(attack, batch_norm=batch_norm),
        "rlfat-t": RLFATT(away, batch_norm=batch_norm),
        "pgdat-rolled": RolledPGDAT(attack, batch_norm),
    }
    return made[method]
