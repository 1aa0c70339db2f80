"""Training methods, one a file, each beside its equation."""

from hardy.objectives.objective import Objective, Terms
from hardy.objectives.pgd_at import PGDAT, RolledPGDAT
from hardy.objectives.rlfat import RLFATP, RLFATT
from hardy.objectives.standard import Standard
from hardy.objectives.trades import TRADES

__all__ = ["PGDAT", "RLFATP", "RLFATT", "TRADES", "Objective", "RolledPGDAT", "Standard", "Terms"]
