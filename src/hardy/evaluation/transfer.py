"""Averaged: several networks as one, whose logits are the mean of theirs; what transfer attacks are crafted on."""

from collections.abc import Sequence

import torch
from torch import nn

from hardy.attacks.attack import Forward
from hardy.describe import require
from hardy.types import Images, Logits


class Averaged(nn.Module):
    """The mean of several networks' logits (N, K)."""

    def __init__(self, networks: Sequence[Forward]) -> None:
        super().__init__()
        self.networks = tuple(networks)
        # modules among them are registered, so that evaluation mode reaches them
        self.modules_among = nn.ModuleList(network for network in networks if isinstance(network, nn.Module))

    def forward(self, x: Images) -> Logits:
        return torch.stack([network(x) for network in self.networks]).mean(0)


def surrogate(networks: Forward | Sequence[Forward] | None) -> Forward | None:
    """One network of those that an attack is crafted on; None where it is crafted on the one that it is judged by.

    Raises: UsageError for an empty list, or one of other things than networks.
    """
    if networks is None or callable(networks):
        return networks
    fits = isinstance(networks, list | tuple) and bool(networks) and all(map(callable, networks))
    require(fits, "craft_on", networks, "a network, or a list of networks (modules or functions of images)")
    return networks[0] if len(networks) == 1 else Averaged(networks)
