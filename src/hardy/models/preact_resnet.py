"""PreActResNet-18 for small images: batch norm and ReLU before each convolution, a 3x3 stem."""

from torch import Tensor, nn
from torch.nn.functional import relu

from hardy.describe import require, settings
from hardy.models.classifier import Architecture, Classifier
from hardy.types import Features, Logits, Maps


@settings
class PreActResNet18(Architecture):
    """PreActResNet-18 whose four groups are 1, 2, 4 and 8 times `width` wide.

    Parameters are named as in the code of "Overfitting in adversarially robust deep learning" (Rice et al., 2020), with
    the batch norm before the pooling that some CIFAR code leaves out.

    Source: He et al., "Identity mappings in deep residual networks", ECCV 2016, figure 4 (e).
    Differs: 3x3 stem with stride 1 and no max-pooling, as is usual for 32x32 images.
    Raises: UsageError for a width below 1.
    """

    width: int = 64
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.width >= 1, "width", self.width, "at least 1")

    def empty(self, classes: int, channels: int) -> "PreActResNet18Module":
        return PreActResNet18Module(self.width, classes, channels)


class PreActResNet18Module(Classifier):
    """The layers of a `PreActResNet18`."""

    fixed_graph = True

    def __init__(self, width: int, classes: int, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.layer1 = nn.Sequential(_Block(width, width, 1), _Block(width, width, 1))
        self.layer2 = nn.Sequential(_Block(width, 2 * width, 2), _Block(2 * width, 2 * width, 1))
        self.layer3 = nn.Sequential(_Block(2 * width, 4 * width, 2), _Block(4 * width, 4 * width, 1))
        self.layer4 = nn.Sequential(_Block(4 * width, 8 * width, 2), _Block(8 * width, 8 * width, 1))
        self.bn = nn.BatchNorm2d(8 * width)
        self.linear = nn.Linear(8 * width, classes)

    def trunk(self, x: Tensor) -> Maps:
        x = self.layer4(self.layer3(self.layer2(self.layer1(self.conv1(x)))))
        return relu(self.bn(x), inplace=True)

    def head(self, z: Features) -> Logits:
        logits: Logits = self.linear(z)
        return logits


class _Block(nn.Module):
    """Batch norm, ReLU and convolution, twice, added to the input, or to a projection of the activated input."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.shortcut: nn.Module | None = None
        if inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        activated = relu(self.bn1(x), inplace=True)
        shortcut = x if self.shortcut is None else self.shortcut(activated)
        out: Tensor = self.conv2(relu(self.bn2(self.conv1(activated)), inplace=True))
        return out.add_(shortcut)


def preact_resnet_18(
    width: int = 64, *, mean: tuple[float, ...] = (), deviation: tuple[float, ...] = ()
) -> PreActResNet18:
    """PreActResNet-18: 11,172,170 parameters for 10 classes at width 64."""
    return PreActResNet18(width, mean, deviation)
