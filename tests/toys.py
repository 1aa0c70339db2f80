"""Toys: linear classifiers whose worst case is known in closed form, tiny networks with random weights, made-up images."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hardy.data.split import Split
from hardy.models.classifier import Classifier, initialise
from hardy.randomness import Noise

SHAPE = (1, 4, 4)


class Linear(nn.Module):
    """Logits <w_c, x> + b_c. weight: (K, C, H, W); bias: (K,)."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.zeros_like(weight[:, 0, 0, 0]) if bias is None else bias)

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("nchw,kchw->nk", x, self.weight) + self.bias

    def direction(self, y: Tensor) -> Tensor:
        """With two classes: the gradient of the margin z_y - z_other, for each label."""
        return self.weight[y] - self.weight[1 - y]

    def margin(self, x: Tensor, y: Tensor) -> Tensor:
        """With two classes: z_y - z_other."""
        return (self.direction(y) * x).sum((1, 2, 3)) + self.bias[y] - self.bias[1 - y]


def linear(classes: int = 2, shape: Sequence[int] = SHAPE, seed: int = 0, dtype: torch.dtype = torch.float32) -> Linear:
    """A linear classifier with weights N(0, 1), balanced so that grey images have equal logits."""
    weight = Noise.of_batch(classes, seed, purpose="linear").normal(shape).to(dtype)
    return Linear(weight, -weight.sum((1, 2, 3)) / 2).eval()


def worst_linf(model: Linear, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """The image of least margin within an Linf distance eps of x and within [0, 1]; two classes."""
    return (x - eps * model.direction(y).sign()).clamp(0, 1).detach()


def worst_l2(model: Linear, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """The image of least margin within an L2 distance eps of x, where that needs no clipping; two classes."""
    down = model.direction(y)
    return (x - eps * down / down.square().sum((1, 2, 3), keepdim=True).sqrt()).detach()


class Smooth(nn.Module):
    """Two convolutions with tanh and a linear layer: differentiable everywhere, no batch norm."""

    def __init__(self, classes: int, channels: int, width: int = 6) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.last = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        z = torch.tanh(self.second(torch.tanh(3 * self.first(x - 0.5))))
        logits: Tensor = 20 * self.last(z.mean((2, 3)))
        return logits


class ToyClassifier(Classifier):
    """A `Classifier` of two convolutions, the first with batch norm."""

    def __init__(self, classes: int, channels: int, width: int = 6) -> None:
        super().__init__((0.5,) * channels, (0.25,) * channels)
        self.first = nn.Conv2d(channels, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.linear = nn.Linear(width, classes)

    def trunk(self, x: Tensor) -> Tensor:
        return torch.relu(self.second(torch.relu(self.norm(self.first(x)))))

    def head(self, z: Tensor) -> Tensor:
        logits: Tensor = self.linear(z)
        return logits


def smooth(classes: int = 3, shape: Sequence[int] = SHAPE, seed: int = 0, dtype: torch.dtype = torch.float32) -> Smooth:
    """A `Smooth` network in evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        model = Smooth(classes, shape[0])
    initialise(model, Noise.of_batch(1, seed, purpose="smooth"))
    return model.to(dtype).eval()


def classifier(classes: int = 3, shape: Sequence[int] = SHAPE, seed: int = 0) -> ToyClassifier:
    """A `ToyClassifier` in evaluation mode, with running statistics that differ from those of a new one."""
    with torch.random.fork_rng(devices=[]):
        model = ToyClassifier(classes, shape[0])
    noise = Noise.of_batch(1, seed, purpose="classifier")
    initialise(model, noise)
    width = len(model.norm.running_mean)
    model.norm.running_mean.copy_(noise.derive("mean").normal((width,))[0] * 0.3)
    model.norm.running_var.copy_(noise.derive("variance").uniform((width,), 0.5, 2.0)[0])
    with torch.no_grad():
        model.linear.weight.mul_(20)
    return model.eval()


def images(
    n: int, shape: Sequence[int] = SHAPE, seed: int = 0, dtype: torch.dtype = torch.float32, low: float = 0.0, high: float = 1.0
) -> Tensor:  # fmt: skip
    """Random images with pixels in [low, high)."""
    return Noise.of_batch(n, seed, purpose="images").uniform(shape, low, high).to(dtype)


def labels(n: int, classes: int = 3, seed: int = 0) -> Tensor:
    """Random labels."""
    return Noise.of_batch(n, seed, purpose="labels").integers(classes, ())


def predicted(model: nn.Module, x: Tensor) -> Tensor:
    """The network's own labels: none of the images is misclassified unperturbed."""
    with torch.no_grad():
        return model(x).argmax(1)


def split_of(x: Tensor, y: Tensor, classes: int) -> Split:
    """A split of these images, rounded to bytes."""
    names = tuple("abcdefghij"[:classes])
    return Split((x * 255).round().to(torch.uint8), y, names, torch.arange(len(x)), "made up")


def split(
    n: int, model: nn.Module | None = None, classes: int = 3, shape: Sequence[int] = SHAPE, seed: int = 0
) -> Split:
    """A split of random images; its labels are those of the network, or random ones."""
    made = split_of(images(n, shape, seed), labels(n, classes, seed), classes)
    return made if model is None else split_of(made.x(), predicted(model, made.x()), classes)
