"""Networks: classifiers of pixels in [0, 1], and the settings they are built from."""

from hardy.models.classifier import (
    Architecture,
    BatchNormMode,
    Classifier,
    crafting,
    frozen,
    initialise,
    parameter_count,
)
from hardy.models.madry_resnet import MadryResNet, w32_10, w40_2
from hardy.models.own import OwnNetwork, Wrapped, own, wrap
from hardy.models.preact_resnet import PreActResNet18, preact_resnet_18
from hardy.models.resnet import ResNet18, resnet_18
from hardy.models.small import SmallCNN, small_cnn
from hardy.models.wide_resnet import WideResNet, wrn_28_10, wrn_34_10, wrn_40_2

__all__ = [
    "Architecture",
    "BatchNormMode",
    "Classifier",
    "MadryResNet",
    "OwnNetwork",
    "PreActResNet18",
    "ResNet18",
    "SmallCNN",
    "WideResNet",
    "Wrapped",
    "crafting",
    "frozen",
    "initialise",
    "own",
    "parameter_count",
    "preact_resnet_18",
    "resnet_18",
    "small_cnn",
    "w32_10",
    "w40_2",
    "wrap",
    "wrn_28_10",
    "wrn_34_10",
    "wrn_40_2",
]
