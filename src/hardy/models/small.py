"""A small convolutional network that learns digits in seconds on two CPU cores."""

from torch import Tensor, nn

from hardy.describe import require, settings
from hardy.models.classifier import Architecture, Classifier
from hardy.types import Features, Logits, Maps


@settings
class SmallCNN(Architecture):
    """Four 3x3 convolutions, each with batch norm and ReLU, of 1, 2, 4 and 4 times `width` channels.

    The middle two halve the image's sides. Made for images of 8 to 32 pixels a side.

    Raises: UsageError for a width below 1.
    """

    width: int = 16
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.width >= 1, "width", self.width, "at least 1")

    def empty(self, classes: int, channels: int) -> "SmallCNNModule":
        return SmallCNNModule(self.width, classes, channels)


class SmallCNNModule(Classifier):
    """The layers of a `SmallCNN`."""

    fixed_graph = True

    def __init__(self, width: int, classes: int, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *_layer(channels, width, 1),
            *_layer(width, 2 * width, 2),
            *_layer(2 * width, 4 * width, 2),
            *_layer(4 * width, 4 * width, 1),
        )
        self.linear = nn.Linear(4 * width, classes)

    def trunk(self, x: Tensor) -> Maps:
        maps: Maps = self.layers(x)
        return maps

    def head(self, z: Features) -> Logits:
        logits: Logits = self.linear(z)
        return logits


def _layer(inputs: int, outputs: int, stride: int) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
    return convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)


def small_cnn(width: int = 16, *, mean: tuple[float, ...] = (), deviation: tuple[float, ...] = ()) -> SmallCNN:
    """The network of the demonstration: 61,050 parameters for ten classes of one-channel images at width 16."""
    return SmallCNN(width, mean, deviation)
