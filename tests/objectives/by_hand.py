"""What the tests of the objectives share: attacks and networks that do as told, and the losses written out."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from hardy.attacks import Iterative
from hardy.models import small_cnn
from hardy.models.classifier import Classifier
from hardy.randomness import Noise


class Told(Iterative):
    """Hands back x + offset(x) and notes what it was called with."""

    def __init__(self, offset: Callable[[Tensor], Tensor] | float = 0.1) -> None:
        self.offset = offset if callable(offset) else lambda x: torch.full_like(x, offset)
        self.x = self.target = self.training = self.grads = None

    def start(self, f, x, target, noise):
        raise NotImplementedError

    advance = start
    iterations = 1
    summary = "as told"

    def perturb(self, f, x, target, noise):
        self.x, self.target, self.training = x.clone(), target, f.training
        self.grads = any(p.requires_grad for p in f.parameters())
        return (x + self.offset(x)).clamp(0, 1)


class Linear(Classifier):
    """Logits of the images' channel means: no batch norm, no memory."""

    def __init__(self, classes: int = 5, channels: int = 3, scale: float = 4.0) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, classes)
        with torch.no_grad():
            for name, p in self.linear.named_parameters():
                p.copy_(scale * Noise.of_batch(1, purpose=name).normal(p.shape)[0])

    def trunk(self, x):
        return x

    def head(self, z):
        return self.linear(z)


class Scripted(nn.Module):
    """Gives its logits one after another, whatever the images."""

    def __init__(self, *logits: Tensor) -> None:
        super().__init__()
        self.logits = list(logits)

    def forward(self, x):
        return self.logits.pop(0)


def network() -> Classifier:
    """A small network with batch norm, in training mode, its running statistics moved from where they start."""
    model = small_cnn(width=4).build(5, 3)
    with torch.no_grad():
        model(images(6, seed=9))
    return model


def images(n: int = 4, side: int = 8, seed: int = 0) -> Tensor:
    return Noise.of_batch(n, seed, purpose="images").uniform((3, side, side))


def labels(n: int = 4) -> Tensor:
    return torch.arange(n) * 3 % 5


def noise(n: int = 4, step: int = 0, seed: int = 0) -> Noise:
    return Noise.of_batch(n, seed, step=step, purpose="objective")


def probabilities(logits: Tensor) -> Tensor:
    powers = (logits - logits.detach().amax(1, keepdim=True)).exp()
    return powers / powers.sum(1, keepdim=True)


def mean_cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    return -torch.stack([probabilities(logits)[i, label].log() for i, label in enumerate(y.tolist())]).mean()


def mean_smoothed(logits: Tensor, y: Tensor, share: float) -> Tensor:
    """Cross-entropy with labels that have 1 - share on y and the rest in equal parts on the other classes."""
    log_p, (n, classes) = probabilities(logits).log(), logits.shape
    targets = [[1 - share if c == label else share / (classes - 1) for c in range(classes)] for label in y.tolist()]
    return -sum(targets[i][c] * log_p[i, c] for i in range(n) for c in range(classes)) / n


def mean_divergence(p: Tensor, q: Tensor) -> Tensor:
    """KL(p || q) of probabilities."""
    return (p * (p / q).log()).sum() / len(p)


def gradients(loss: Tensor, model: nn.Module) -> list[Tensor]:
    return list(torch.autograd.grad(loss, list(model.parameters())))


def assert_near(a: list[Tensor], b: list[Tensor]) -> None:
    assert sum(float(g.abs().sum()) for g in b) > 0
    for one, other in zip(a, b, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def far(a: list[Tensor], b: list[Tensor]) -> bool:
    return any(not torch.allclose(one, other, rtol=1e-2, atol=1e-3) for one, other in zip(a, b, strict=True))


def batch_norms(model: nn.Module) -> list[nn.BatchNorm2d]:
    return [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]


def forwards_counted(objective, n: int = 4) -> set[int]:
    """How many forward passes in training mode each batch norm saw during one call of the objective."""
    model = small_cnn(width=4).build(5, 3)
    objective(model, images(n), labels(n), noise(n))
    return {int(layer.num_batches_tracked) for layer in batch_norms(model)}


def statistics(model: nn.Module) -> list[Tensor]:
    return [value.clone() for layer in batch_norms(model) for value in layer.buffers()]
