"""The wide residual networks of Madry's, AVmixup's and RLFAT's TensorFlow code: w32_10 and w40_2."""

import torch
from torch import Tensor, fx, nn
from torch.nn.functional import avg_pool2d, leaky_relu, pad

from hardy.describe import require, settings
from hardy.models.classifier import Architecture, Classifier, initialise
from hardy.randomness import Noise
from hardy.types import Features, Logits, Maps

_SLOPE = 0.1

fx.wrap("_pad_same")  # it does arithmetic on sizes, which a trace cannot follow


@settings
class MadryResNet(Architecture):
    """A wide residual network without convolutions in its shortcuts, with leaky ReLU (slope 0.1) as activation.

    Where widths differ the shortcut is averaged over stride x stride pixels, and half of the missing channels are added
    as zeros on each side. Only the very first unit's shortcut starts from the activated input.

    units: residual units in each of three groups. widen: the groups' widths are 16, 32 and 64 times this.

    Source: MadryLab/cifar10_challenge, model.py; JHL-HUST/RLFAT, model_bn.py.
    Differs: batch norm's eps is 1e-3, TensorFlow's default, which that code leaves unsaid (AVmixup sets 1e-5). Strided
    convolutions are padded as TensorFlow's SAME does: at the bottom and right only where the size is even. For odd
    sizes, where that code fails, the average of the shortcut's last row and column is over the pixels that exist. The
    images are not standardised one by one, which Madry's and AVmixup's code does and RLFAT's does not.
    Raises: UsageError for units or a widening below 1.
    """

    units: int = 5
    widen: int = 10
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.units >= 1, "units", self.units, "at least 1")
        require(self.widen >= 1, "widen", self.widen, "at least 1")

    def empty(self, classes: int, channels: int) -> "MadryResNetModule":
        return MadryResNetModule(self.units, self.widen, classes, channels)


class MadryResNetModule(Classifier):
    """The layers of a `MadryResNet`."""

    fixed_graph = True

    def __init__(self, units: int, widen: int, classes: int, channels: int) -> None:
        super().__init__()
        width = 16 * widen
        self.conv1 = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
        self.block1 = _group(units, 16, width, 1)
        self.block2 = _group(units, width, 2 * width, 2)
        self.block3 = _group(units, 2 * width, 4 * width, 2)
        self.bn = _batch_norm(4 * width)
        self.fc = nn.Linear(4 * width, classes)

    def initialise(self, noise: Noise) -> None:
        """As everywhere, but the last layer has TF's uniform unit scaling, U(-sqrt(3/in), sqrt(3/in)), bias 0."""
        initialise(self, noise)
        bound = (3 / self.fc.in_features) ** 0.5
        with torch.no_grad():
            self.fc.weight.copy_(noise.derive("fc.weight").uniform(self.fc.weight.shape, -bound, bound)[0])
            self.fc.bias.zero_()

    def trunk(self, x: Tensor) -> Maps:
        x = self.block3(self.block2(self.block1(self.conv1(x))))
        return leaky_relu(self.bn(x), _SLOPE, inplace=True)

    def head(self, z: Features) -> Logits:
        logits: Logits = self.fc(z)
        return logits


class _Unit(nn.Module):
    """Batch norm, leaky ReLU and convolution, twice, added to the input: `shared` says the input after activation."""

    def __init__(self, inputs: int, outputs: int, stride: int, *, shared: bool) -> None:
        super().__init__()
        self.bn1 = _batch_norm(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1 if stride == 1 else 0, bias=False)
        self.bn2 = _batch_norm(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.stride, self.missing, self.shared = stride, outputs - inputs, shared

    def forward(self, x: Tensor) -> Tensor:
        activated = leaky_relu(self.bn1(x), _SLOPE, inplace=True)
        shortcut = activated if self.shared else x
        if self.stride > 1:
            activated = _pad_same(activated, self.stride)
            shortcut = avg_pool2d(shortcut, self.stride, ceil_mode=True)
        if self.missing:
            # 16 * widen and its doublings: the number of missing channels is even
            shortcut = pad(shortcut, (0, 0, 0, 0, self.missing // 2, self.missing // 2))
        out: Tensor = self.conv2(leaky_relu(self.bn2(self.conv1(activated)), _SLOPE, inplace=True))
        return out.add_(shortcut)


def _group(units: int, inputs: int, outputs: int, stride: int) -> nn.Sequential:
    others = [_Unit(outputs, outputs, 1, shared=False) for _ in range(units - 1)]
    return nn.Sequential(_Unit(inputs, outputs, stride, shared=stride == 1), *others)


def _batch_norm(width: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(width, eps=1e-3, momentum=0.1)


def _pad_same(x: Tensor, stride: int) -> Tensor:
    """Zeros around x so that a 3x3 convolution without padding sees the windows of TensorFlow's SAME."""
    (top, bottom), (left, right) = (_same(size, stride) for size in x.shape[2:])
    return pad(x, (left, right, top, bottom))


def _same(size: int, stride: int) -> tuple[int, int]:
    """(before, after): as few zeros as give ceil(size / stride) windows of 3, the odd one after."""
    total = max((-(-size // stride) - 1) * stride + 3 - size, 0)
    return total // 2, total - total // 2


def w32_10(*, mean: tuple[float, ...] = (), deviation: tuple[float, ...] = ()) -> MadryResNet:
    """The papers' "w32-10" (as deep as WRN-34-10): 45,901,914 parameters for 10 classes."""
    return MadryResNet(5, 10, mean, deviation)


def w40_2(*, mean: tuple[float, ...] = (), deviation: tuple[float, ...] = ()) -> MadryResNet:
    """RLFAT's "40-2", for STL-10: 2,232,794 parameters for 10 classes."""
    return MadryResNet(6, 2, mean, deviation)
