"""Wide residual networks in their usual PyTorch form: WRN-28-10, WRN-34-10, WRN-40-2."""

from torch import Tensor, nn
from torch.nn.functional import relu

from hardy.describe import require, settings
from hardy.models.classifier import Architecture, Classifier
from hardy.types import Features, Logits, Maps


@settings
class WideResNet(Architecture):
    """A wide residual network of pre-activation units, with a 1x1 convolution in the shortcut where widths differ.

    Parameters are named as in the checkpoints of TRADES and RobustBench.

    depth: 6n + 4 for n units in each of three groups. widen: the groups' widths are 16, 32 and 64 times this.

    Source: Zagoruyko & Komodakis, "Wide residual networks", BMVC 2016, table 1.
    Differs: no dropout, as in the code of all methods here; a global mean where the usual code pools 8x8, so that any
    image size will do.
    Raises: UsageError for a depth that is not 6n + 4, or a widening below 1.
    """

    depth: int = 28
    widen: int = 10
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        fits = self.depth >= 10 and self.depth % 6 == 4
        require(fits, "depth", self.depth, "6n + 4 with n at least 1, such as 16, 28, 34 or 40")
        require(self.widen >= 1, "widen", self.widen, "at least 1")

    def empty(self, classes: int, channels: int) -> "WideResNetModule":
        return WideResNetModule(self.depth, self.widen, classes, channels)


class WideResNetModule(Classifier):
    """The layers of a `WideResNet`."""

    fixed_graph = True

    def __init__(self, depth: int, widen: int, classes: int, channels: int) -> None:
        super().__init__()
        units, width = (depth - 4) // 6, 16 * widen
        self.conv1 = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
        self.block1 = _Group(units, 16, width, 1)
        self.block2 = _Group(units, width, 2 * width, 2)
        self.block3 = _Group(units, 2 * width, 4 * width, 2)
        self.bn1 = nn.BatchNorm2d(4 * width)
        self.fc = nn.Linear(4 * width, classes)

    def trunk(self, x: Tensor) -> Maps:
        x = self.block3(self.block2(self.block1(self.conv1(x))))
        return relu(self.bn1(x), inplace=True)

    def head(self, z: Features) -> Logits:
        logits: Logits = self.fc(z)
        return logits


class _Group(nn.Module):
    """Units of one width; it exists for the word `layer` in the parameters' names."""

    def __init__(self, units: int, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        others = [_Unit(outputs, outputs, 1) for _ in range(units - 1)]
        self.layer = nn.Sequential(_Unit(inputs, outputs, stride), *others)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x)
        return out


class _Unit(nn.Module):
    """Batch norm, ReLU and convolution, twice, added to the input, or to a convolution of the activated input."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.convShortcut = None if inputs == outputs else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        activated = relu(self.bn1(x), inplace=True)
        shortcut = x if self.convShortcut is None else self.convShortcut(activated)
        out: Tensor = self.conv2(relu(self.bn2(self.conv1(activated)), inplace=True))
        return out.add_(shortcut)


def wrn_28_10(*, mean: tuple[float, ...] = (), deviation: tuple[float, ...] = ()) -> WideResNet:
    """InfoFeature's, feature scatter's and ADT's network: 36,479,194 parameters for 10 classes."""
    return WideResNet(28, 10, mean, deviation)


def wrn_34_10(*, mean: tuple[float, ...] = (), deviation: tuple[float, ...] = ()) -> WideResNet:
    """TRADES's and RAT's network: 46,160,474 parameters for 10 classes."""
    return WideResNet(34, 10, mean, deviation)


def wrn_40_2(*, mean: tuple[float, ...] = (), deviation: tuple[float, ...] = ()) -> WideResNet:
    """A thin one: 2,243,546 parameters for 10 classes. RLFAT's "40-2" is `w40_2`."""
    return WideResNet(40, 2, mean, deviation)
