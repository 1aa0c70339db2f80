"""Training methods, one a file, each beside its equation."""

from hardy.objectives.adt import ADT
from hardy.objectives.alp import ALP
from hardy.objectives.avmixup import AVmixup
from hardy.objectives.awp import AWP
from hardy.objectives.feature_matching import FeatureMatching
from hardy.objectives.feature_scatter import FeatureScatterAT
from hardy.objectives.fgsm_rs import FGSMRS
from hardy.objectives.infofeature import InfoFeatureAT
from hardy.objectives.interpolation import InterpolationAT
from hardy.objectives.mart import MART
from hardy.objectives.objective import Objective, Terms
from hardy.objectives.pgd_at import PGDAT, RolledPGDAT
from hardy.objectives.rat import RAT, DistanceLabels, RegionalSampler
from hardy.objectives.rlfat import RLFATP, RLFATT
from hardy.objectives.standard import Standard
from hardy.objectives.trades import TRADES

__all__ = [
    "ADT", "ALP", "AWP", "FGSMRS", "MART", "PGDAT", "RAT", "RLFATP", "RLFATT", "TRADES", "AVmixup", "DistanceLabels",
    "FeatureMatching", "FeatureScatterAT", "InfoFeatureAT", "InterpolationAT", "Objective", "RegionalSampler", "RolledPGDAT",
    "Standard", "Terms",
]  # fmt: skip
