"""RobustBench's model zoo: what it calls a network, which of its classes makes it, and the names of the tensors there."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from hardy.models.classifier import Architecture, Classifier
from hardy.models.own import OwnNetwork, Wrapped
from hardy.models.preact_resnet import PreActResNet18
from hardy.models.resnet import ResNet18
from hardy.models.wide_resnet import WideResNet

# (the name of our settings of the images, and of the ball) -> the radius of that leaderboard; its other images are ImageNet's
LEADERBOARDS: Mapping[tuple[str, str], float] = {
    ("CIFAR10", "Linf"): 8 / 255,
    ("CIFAR10", "L2"): 0.5,
    ("CIFAR100", "Linf"): 8 / 255,
}
_WIDTH = 64  # of its ResNets, which have no other


@dataclass(frozen=True)
class Entry:
    """architecture: as its model_info has it. made: what makes the network in its code; None where it has no class for it."""

    architecture: str
    made: str | None


def entry(architecture: Architecture, classes: int) -> Entry:
    """What RobustBench has for a network.

    Source: RobustBench/robustbench @3c3ee54, model_zoo/architectures/resnet.py and wide_resnet.py; the spelling of
    model_info/cifar100/Linf/Addepalli2021Towards_PARN18.json, cifar10/Linf/Addepalli2021Towards_RN18.json and
    Wang2023Better_WRN-28-10.json. Its own PreActResNet18() is another network: without batch norm before the last layer, and
    with shortcuts that start before the activation.
    """
    match architecture:
        case WideResNet(depth=depth, widen=widen):
            made = f"WideResNet(depth={depth}, widen_factor={widen}, num_classes={classes})"
            return Entry(f"WideResNet-{depth}-{widen}", made)
        case PreActResNet18(width=width):
            made = f"PreActResNet(PreActBlockV2, [2, 2, 2, 2], num_classes={classes}, bn_before_fc=True)"
            return _of_width("PreActResNet-18", width, made)
        case ResNet18(width=width):
            return _of_width("ResNet-18", width, f"ResNet(BasicBlock, [2, 2, 2, 2], num_classes={classes})")
        case OwnNetwork(source=source):
            return Entry(source, None)
    sizes = {name: value for name, value in vars(architecture).items() if name not in ("mean", "deviation")}
    told = ", ".join(f"{name} {value}" for name, value in sizes.items())
    return Entry(f"{type(architecture).__name__} ({told})", None)


def _of_width(name: str, width: int, made: str) -> Entry:
    return Entry(name, made) if width == _WIDTH else Entry(f"{name} (width {width})", None)


def tensors(model: Classifier) -> dict[str, Tensor]:
    """The network's state under RobustBench's names, on the CPU; `hardy.models.foreign.load` reads it back.

    Layers are called there as they are here: the names to which the tables in `foreign` bring all others. A network that
    normalises has the buffers `mu` and `sigma` besides, (1, C, 1, 1), as the zoo's classes that normalise do.
    """
    state = (model.module if isinstance(model, Wrapped) else model).state_dict()
    if bool((model.mean != 0).any() or (model.deviation != 1).any()):
        state |= {"mu": model.mean, "sigma": model.deviation}
    layout = torch.contiguous_format
    return {name: value.detach().to("cpu", copy=True, memory_format=layout) for name, value in state.items()}
