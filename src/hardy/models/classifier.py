"""Classifier: normalise -> maps -> pooled features -> head; and crafting(), the state a network is attacked in."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import ClassVar, Literal
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from hardy.describe import first_line, fitted, require
from hardy.errors import UsageError
from hardy.models.folding import can_be_folded, folded
from hardy.models.products import as_products
from hardy.randomness import Noise
from hardy.types import Features, Images, Logits, Maps

BatchNormMode = Literal["eval", "train", "batch"]


class Classifier(nn.Module, ABC):
    """An image classifier that takes pixels in [0, 1] and gives logits; normalisation is its first layer.

    A leaf implements `trunk` (normalised images to activation maps) and owns a linear layer that `head` applies. Only
    the trunk runs in a lower precision (`autocast`); what it returns, and the head, are float32 (or wider).

    mean, deviation: one number a channel, or one for all; (x - mean) / deviation is what the trunk sees.
    fixed_graph: whether the trunk is a fixed graph of layers, with no randomness in eval mode and nothing that depends on the
    images' values: it may then be traced, to be run in a quicker form while the network is attacked in low precision.
    """

    fixed_graph: ClassVar[bool] = False
    mean: Tensor
    deviation: Tensor

    def __init__(self, mean: Sequence[float] = (0.0,), deviation: Sequence[float] = (1.0,)) -> None:
        super().__init__()
        # not saved with the weights: they are part of the settings, and TRADES-style checkpoints do not have them
        self.register_buffer("mean", _per_channel(mean), persistent=False)
        self.register_buffer("deviation", _per_channel(deviation), persistent=False)
        self.autocast: torch.dtype | None = None

    @abstractmethod
    def trunk(self, x: Tensor) -> Maps:
        """Activation maps before pooling, of normalised images (N, C, H, W)."""

    @abstractmethod
    def head(self, z: Features) -> Logits:
        """Logits of pooled features."""

    def initialise(self, noise: Noise) -> None:
        """Set every parameter and statistic anew; a leaf overrides it where its authors' code starts otherwise."""
        initialise(self, noise)

    def maps(self, x: Images) -> Maps:
        """Activation maps before pooling; what class activation maps weigh."""
        return self._through_trunk(x)

    def _through_trunk(self, x: Images) -> Tensor:
        """What the trunk makes of pixels, in its precision; float32 (or wider)."""
        x = (x - self.mean) / self.deviation
        if self.autocast is None:
            return self.trunk(x)
        quicker = nullcontext() if self._another_trunk else as_products(x.device, self.autocast)
        with torch.autocast(x.device.type, self.autocast), quicker:
            trunk = self.trunk if self.training else _quick_trunks.get(self, self.trunk)
            return trunk(x).float()

    @property
    def _another_trunk(self) -> bool:
        """Whether the instance was given one in place of its class's, such as torch.compile's."""
        return "trunk" in vars(self)

    @contextmanager
    def quickened(self) -> Iterator[None]:
        """While nothing of the network changes: in low precision, the trunk in the form that is quickest for attacks."""
        before = _quick_trunks.get(self)
        if self.autocast is not None and self.fixed_graph and not self._another_trunk and can_be_folded(self):
            _quick_trunks[self] = folded(self, self.trunk, self.autocast)
        try:
            yield
        finally:
            _quick_trunks.pop(self, None)
            if before is not None:
                _quick_trunks[self] = before

    def features(self, x: Images) -> Features:
        """Pooled activations: all the heavy work."""
        return self.maps(x).mean((2, 3))

    def forward(self, x: Images) -> Logits:
        return self.head(self.features(x))

    def with_features(self, x: Images) -> tuple[Logits, Features]:
        """Logits and pooled features, in one pass."""
        z = self.features(x)
        return self.head(z), z

    def with_maps(self, x: Images) -> tuple[Logits, Maps]:
        """Logits and activation maps, in one pass."""
        maps = self.maps(x)
        return self.head(maps.mean((2, 3))), maps

    @property
    def head_weight(self) -> Tensor:
        """(K, D): what the last linear layer weighs the features with, for each class.

        Raises: UsageError where there is none.
        """
        linear = [layer for layer in self.modules() if isinstance(layer, nn.Linear)]
        if not linear:
            raise UsageError("The network has no linear layer whose weights could be its classes'.")
        return linear[-1].weight


# while a network is attacked, in place of its `trunk` in low precision; not in the network, whose copies and state have none
_quick_trunks: WeakKeyDictionary[Classifier, Callable[[Tensor], Tensor]] = WeakKeyDictionary()


class Architecture(ABC):
    """The settings of a network; `build` makes it. Concrete ones are settings classes.

    mean, deviation: what pixels in [0, 1] are normalised with, one number a channel; empty: they are not.

    Raises: UsageError where mean and deviation are not of one length, or a deviation is not above 0.
    """

    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        fits = len(self.deviation) == len(self.mean)
        require(fits, "deviation", self.deviation, f"as long as mean, which has length {len(self.mean)}")
        require(all(d > 0 for d in self.deviation), "deviation", self.deviation, "above 0 in every channel")

    @abstractmethod
    def empty(self, classes: int, channels: int) -> Classifier:
        """The network's layers; their values, and the normalisation, are set by `build`."""

    def build(self, classes: int, channels: int = 3, noise: Noise | None = None) -> Classifier:
        """The network, initialised from `noise` (a fixed seed where left out), in training mode, on the CPU.

        The numbers of a parameter depend on its name alone, not on the order in which layers were made.

        Raises: UsageError for fewer than two classes, a normalisation of another number of channels, or sizes that no memory
        has room for.
        """
        allowed = f"empty or have {channels} numbers, one for each channel of the images"
        require(len(self.mean) in (0, channels), "mean", self.mean, allowed)
        noise = Noise.of_batch(1) if noise is None else noise.shared
        with outside_inference():
            model = self.outline(classes, channels)
            try:
                model.to_empty(device="cpu")
            except RuntimeError as error:
                raise UsageError(f"There is no room for {self}: {first_line(error)}.") from error
            model.mean = _per_channel(self.mean or (0.0,) * channels)
            model.deviation = _per_channel(self.deviation or (1.0,) * channels)
            model.initialise(noise.derive("weights"))
        return model.train()

    def outline(self, classes: int, channels: int) -> Classifier:
        """The network in float32 on the meta device, which takes no memory and no random numbers, whatever its sizes.

        Raises: UsageError for fewer than two classes, or sizes that no tensor can have.
        """
        require(fitted(classes, int, "classes") >= 2, "classes", classes, "at least 2")
        require(fitted(channels, int, "channels") >= 1, "channels", channels, "at least 1")
        try:
            with torch.device("meta"):
                return self.empty(classes, channels).float()
        except (RuntimeError, TypeError, OverflowError) as error:  # as many kinds as there are ways to be too large
            raise UsageError(f"{self} with {classes} classes cannot be built: {first_line(error)}.") from error


def _per_channel(values: Sequence[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float32).view(1, -1, 1, 1)


def initialise(model: nn.Module, noise: Noise) -> None:
    """Set every parameter and statistic of convolutions, linear layers and batch norms anew.

    Convolutions: N(0, 2 / (k^2 out)), bias 0; linear layers: U(-1/sqrt(in), 1/sqrt(in)), bias likewise; batch norm: 1
    and 0.

    Raises: TypeError for any other layer that has parameters or buffers.
    """
    with torch.no_grad():
        for name, layer in model.named_modules():
            if isinstance(layer, nn.Conv2d):
                fan_out = layer.kernel_size[0] * layer.kernel_size[1] * layer.out_channels
                drawn = noise.derive(f"{name}.weight").normal(layer.weight.shape)[0]
                layer.weight.copy_(drawn.mul_((2 / fan_out) ** 0.5))
                if layer.bias is not None:
                    layer.bias.zero_()
            elif isinstance(layer, nn.Linear):
                bound = layer.in_features**-0.5
                for kind, values in layer.named_parameters(recurse=False):
                    values.copy_(noise.derive(f"{name}.{kind}").uniform(values.shape, -bound, bound)[0])
            elif isinstance(layer, nn.BatchNorm2d):
                layer.reset_parameters()
            else:
                own = [*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)]
                # the normalisation is a setting; anything else would be left as the memory happened to be
                without_rule = [kind for kind, _ in own if kind not in ("mean", "deviation")]
                if without_rule:
                    raise TypeError(f"{type(layer).__name__} has {without_rule[0]}, whose first values have no rule.")


@contextmanager
def crafting(model: object, batch_norm: BatchNormMode = "eval") -> Iterator[None]:
    """The network as attacks see it: parameters without gradient, batch norm in the named mode; all restored on exit.

    "eval" uses the running statistics and leaves them bit-identical. "train" uses those of the batch and lets every
    forward pass update the running ones, as the RLFAT and Madry code does. "batch" uses those of the batch and leaves the
    running ones bit-identical, as the AVmixup code does. Of a function that is no module nothing is known,
    and nothing changed. Inside, torch's inference mode is off: it allows no gradients.

    Raises: UsageError for a network whose parameters or buffers were made in inference mode.
    """
    network = model if isinstance(model, nn.Module) else nn.Module()
    modes = {module: module.training for module in network.modules()}
    # one that is no leaf stands in for a parameter within a functional call: its gradient cannot be turned off
    wanted = {parameter: parameter.requires_grad for parameter in network.parameters() if parameter.is_leaf}
    kept = {buffer: buffer.clone() for buffer in network.buffers()} if batch_norm == "batch" else {}
    if any(tensor.is_inference() for tensor in (*wanted, *network.buffers())):
        raise UsageError("The network was made in torch's inference mode, which allows no gradients; make it outside.")
    try:
        network.train(batch_norm != "eval")
        for parameter in wanted:
            parameter.requires_grad_(False)
        with outside_inference(), ExitStack() as quick:
            for module in modes if batch_norm == "eval" else ():
                if isinstance(module, Classifier):
                    quick.enter_context(module.quickened())
            yield
    finally:
        for buffer, value in kept.items():
            buffer.copy_(value)
        for module, mode in modes.items():
            module.training = mode
        for parameter, needed in wanted.items():
            parameter.requires_grad_(needed)


def frozen(model: object) -> AbstractContextManager[None]:
    """`crafting` with batch norm in eval mode: nothing of the network changes inside."""
    return crafting(model, "eval")


def outside_inference() -> AbstractContextManager[None]:
    """Torch's inference mode is off inside; whether gradients are on changes with it alone."""
    return torch.inference_mode(False) if torch.is_inference_mode_enabled() else nullcontext()


def set_normalisation(model: Classifier, mean: Sequence[float] = (), deviation: Sequence[float] = ()) -> None:
    """Let the network normalise with these numbers, one a channel or one for all; with none, it takes pixels as they are.

    Raises: UsageError where the two are not of one length, or a deviation is not above 0.
    """
    if len(mean) != len(deviation) or any(not d > 0 for d in deviation):
        raise UsageError(f"mean {mean} and deviation {deviation} must be of one length, and deviation above 0.")
    model.mean, model.deviation = (
        torch.tensor(values, dtype=old.dtype, device=old.device).view(1, -1, 1, 1)
        for values, old in ((mean or (0.0,), model.mean), (deviation or (1.0,), model.deviation))
    )


def parameter_count(model: nn.Module) -> int:
    """Number of trainable values."""
    return sum(p.numel() for p in model.parameters())
