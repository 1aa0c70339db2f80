"""ResNet-18 for small images: a 3x3 stem and no pooling before the last layer."""

from torch import Tensor, nn
from torch.nn.functional import relu

from hardy.describe import require, settings
from hardy.models.classifier import Architecture, Classifier
from hardy.types import Features, Logits, Maps


@settings
class ResNet18(Architecture):
    """ResNet-18 whose four groups are 1, 2, 4 and 8 times `width` wide.

    Parameters are named as in the CIFAR code that most of the field descends from.

    Source: He et al., "Deep residual learning for image recognition", CVPR 2016, table 1.
    Differs: 3x3 stem with stride 1 and no max-pooling, as is usual for 32x32 images.
    Raises: UsageError for a width below 1.
    """

    width: int = 64
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.width >= 1, "width", self.width, "at least 1")

    def empty(self, classes: int, channels: int) -> "ResNet18Module":
        return ResNet18Module(self.width, classes, channels)


class ResNet18Module(Classifier):
    """The layers of a `ResNet18`."""

    fixed_graph = True

    def __init__(self, width: int, classes: int, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = nn.Sequential(_Block(width, width, 1), _Block(width, width, 1))
        self.layer2 = nn.Sequential(_Block(width, 2 * width, 2), _Block(2 * width, 2 * width, 1))
        self.layer3 = nn.Sequential(_Block(2 * width, 4 * width, 2), _Block(4 * width, 4 * width, 1))
        self.layer4 = nn.Sequential(_Block(4 * width, 8 * width, 2), _Block(8 * width, 8 * width, 1))
        self.linear = nn.Linear(8 * width, classes)

    def trunk(self, x: Tensor) -> Maps:
        x = relu(self.bn1(self.conv1(x)), inplace=True)
        maps: Maps = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return maps

    def head(self, z: Features) -> Logits:
        logits: Logits = self.linear(z)
        return logits


class _Block(nn.Module):
    """Two convolutions with batch norm, added to the input (or its projection) before the last ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if inputs != outputs:
            self.shortcut.append(nn.Conv2d(inputs, outputs, 1, stride, bias=False))
            self.shortcut.append(nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        out = relu(self.bn1(self.conv1(x)), inplace=True)
        out = self.bn2(self.conv2(out)).add_(self.shortcut(x))
        return relu(out, inplace=True)


def resnet_18(width: int = 64, *, mean: tuple[float, ...] = (), deviation: tuple[float, ...] = ()) -> ResNet18:
    """ResNet-18: 11,173,962 parameters for 10 classes at width 64."""
    return ResNet18(width, mean, deviation)
