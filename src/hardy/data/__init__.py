"""Data sets, batches, augmentation."""

from hardy.data.augment import Augment
from hardy.data.block_shuffle import block_shuffle, random_roll
from hardy.data.cifar import CIFAR10, CIFAR100
from hardy.data.dataset import Dataset
from hardy.data.digits import Digits
from hardy.data.split import Split, batches

__all__ = ["CIFAR10", "CIFAR100", "Augment", "Dataset", "Digits", "Split", "batches", "block_shuffle", "random_roll"]
