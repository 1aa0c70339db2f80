"""Data sets, batches, augmentation."""

from hardy.data.augment import Augment
from hardy.data.block_shuffle import block_shuffle, random_roll
from hardy.data.cifar import CIFAR10, CIFAR100
from hardy.data.corruptions import corrupt
from hardy.data.dataset import Dataset
from hardy.data.digits import Digits
from hardy.data.extra import Extra
from hardy.data.folder import Folder
from hardy.data.imagenette import Imagenette
from hardy.data.split import Split, batches
from hardy.data.stl10 import STL10
from hardy.data.svhn import SVHN

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "STL10",
    "SVHN",
    "Augment",
    "Dataset",
    "Digits",
    "Extra",
    "Folder",
    "Imagenette",
    "Split",
    "batches",
    "block_shuffle",
    "corrupt",
    "random_roll",
]
