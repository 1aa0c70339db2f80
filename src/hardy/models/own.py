"""One's own network: any nn.Module as a Classifier, and as settings that name the function which builds it."""

import importlib
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from hardy.describe import fitted, require, settings, with_article
from hardy.errors import UsageError, unknown
from hardy.models.classifier import Architecture, Classifier, frozen
from hardy.randomness import Noise
from hardy.types import Features, Images, Logits, Maps

Builder = Callable[..., nn.Module]

_ADMITTED: dict[str, Builder] = {}  # what `own` was told of in this process; a file alone never gets code run


class Wrapped(Classifier):
    """Any module that turns images (N, C, H, W) into logits (N, K), with normalisation in front.

    module: the network itself. In lower precision all of it runs in it, where the library's own networks keep the last layer
    in float32; its logits are float32.
    """

    def __init__(
        self,
        module: nn.Module,
        mean: Sequence[float] = (0.0,),
        deviation: Sequence[float] = (1.0,),
        head_layer: str = "",
        maps_layer: str = "",
    ) -> None:
        super().__init__(mean, deviation)
        self.module = module
        self._head_layer, self._maps_layer = head_layer, maps_layer
        for name in filter(None, (head_layer, maps_layer)):
            self._layer(name)

    @property
    def head_layer(self) -> str:
        """Name of the layer whose input is taken for features: the one given, else the last linear one.

        Raises: UsageError if there is none.
        """
        linear = [name for name, layer in self.module.named_modules() if isinstance(layer, nn.Linear)]
        if not self._head_layer and not linear:
            raise UsageError("The network has no linear layer to take features from; name one as head_layer.")
        return self._head_layer or linear[-1]

    def maps_layer(self, x: Images) -> str:
        """Name of the layer whose output is taken for activation maps: the one given, else the last that gives maps.

        x: images to find it with. Raises: UsageError if no layer gives maps (N, D, h, w) with more than one place.
        """
        if self._maps_layer:
            return self._maps_layer
        found: list[str] = []

        def look(name: str) -> Callable[..., None]:
            def note(layer: nn.Module, given: Any, made: Any) -> None:
                del layer, given
                if isinstance(made, Tensor) and made.ndim == 4 and made.shape[2] * made.shape[3] > 1:
                    found.append(name)

            return note

        hooks = [layer.register_forward_hook(look(name)) for name, layer in self.module.named_modules() if name]
        try:
            with frozen(self), torch.no_grad():  # a look must not move batch-norm statistics
                self._through_trunk(x[:1])
        finally:
            for hook in hooks:
                hook.remove()
        if not found:
            raise UsageError("No layer of the network gives maps (N, D, h, w); name one as maps_layer.")
        return found[-1]

    def trunk(self, x: Tensor) -> Tensor:
        """Logits of normalised images."""
        logits: Tensor = self.module(x)
        return logits

    def head(self, z: Features) -> Logits:
        logits: Logits = self._layer(self.head_layer)(z)
        return logits

    def forward(self, x: Images) -> Logits:
        return self._through_trunk(x)

    def features(self, x: Images) -> Features:
        """What enters the layer `head_layer`."""
        return self.with_features(x)[1]

    def maps(self, x: Images) -> Maps:
        """What leaves the layer `maps_layer`."""
        return self.with_maps(x)[1]

    def with_features(self, x: Images) -> tuple[Logits, Features]:
        return self._seen(x, self.head_layer, "head_layer", lambda given, made: given[0])

    def with_maps(self, x: Images) -> tuple[Logits, Maps]:
        return self._seen(x, self.maps_layer(x), "maps_layer", lambda given, made: made)

    @property
    def head_weight(self) -> Tensor:
        """(K, D): the weight of the layer `head_layer`. Raises: UsageError where that is not linear."""
        layer = self._layer(self.head_layer)
        if not isinstance(layer, nn.Linear):
            raise UsageError(f"The layer {self.head_layer} is {type(layer).__name__}; the head must be linear.")
        return layer.weight

    def _layer(self, name: str) -> nn.Module:
        layers: dict[str, nn.Module] = dict(self.module.named_modules())
        if name not in layers:
            raise unknown("layer", name, filter(None, layers))
        return layers[name]

    def _seen(self, x: Images, name: str, setting: str, which: Callable[[Any, Any], Tensor]) -> tuple[Logits, Tensor]:
        """Logits, and of what enters and what leaves a layer that which is asked for."""
        kept: list[Tensor] = []
        hook = self._layer(name).register_forward_hook(
            lambda layer, given, named, made: kept.append(_wide(which((*given, *named.values()), made))),
            with_kwargs=True,
        )
        try:
            logits = self._through_trunk(x)
        finally:
            hook.remove()
        if not kept:
            raise UsageError(f"The network does not call its layer {name!r}; name another as {setting}.")
        return logits, kept[-1]


def _wide(seen: Tensor) -> Tensor:
    """In float32, or float64 where it is."""
    return seen if seen.dtype == torch.float64 else seen.float()


def wrap(
    module: nn.Module,
    mean: Sequence[float] = (0.0,),
    deviation: Sequence[float] = (1.0,),
    *,
    head_layer: str = "",
    maps_layer: str = "",
) -> Wrapped:
    """A `Classifier` of any module that gives logits (N, K), for attacks, evaluation and the papers' analyses.

    mean, deviation: what pixels in [0, 1] are normalised with before the module, one number a channel or one for all; left
    out, they are not: a module that normalises its input itself needs none. head_layer, maps_layer: names of layers (as in
    `named_modules`) whose input are the features and whose output are the activation maps, for methods that need them; left
    out, the last linear layer and the last layer that gives maps.

    Raises: UsageError for something that is no module, a normalisation that does not fit, or a layer that is not there.
    """
    if not isinstance(module, nn.Module):
        raise UsageError(f"wrap was given {with_article(type(module).__name__)}; it must be a torch.nn.Module.")
    mean, deviation = fitted(mean, tuple[float, ...], "mean"), fitted(deviation, tuple[float, ...], "deviation")
    if len(mean) != len(deviation) or not mean or min(deviation) <= 0:
        raise UsageError(f"mean {mean} and deviation {deviation} must be of one length, and deviation above 0.")
    wrapped = Wrapped(module, mean, deviation, head_layer, maps_layer)
    like = next(module.parameters(), wrapped.mean)
    wrapped.mean, wrapped.deviation = wrapped.mean.to(like.device), wrapped.deviation.to(like.device)
    return wrapped


@settings
class OwnNetwork(Architecture):
    """A network that the user's own function builds; made by `own`.

    source: module:function. The function is called with the number of classes if it has an argument num_classes, classes or
    without a default, else with nothing; what it draws from torch's global generator is determined by the run's seed.
    head_layer, maps_layer: see `wrap`.

    Raises (when built): UsageError unless `own` was called for the source in this process: settings may come from a file, and no
    file gets code run.
    """

    source: str
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()
    head_layer: str = ""
    maps_layer: str = ""

    def empty(self, classes: int, channels: int) -> Wrapped:
        return self.build(classes, channels)

    def build(self, classes: int, channels: int = 3, noise: Noise | None = None) -> Wrapped:
        """The network as its function makes it, in training mode. See `Architecture.build`."""
        if self.source not in _ADMITTED:
            raise UsageError(
                f"The network is built by {self.source}, and no code runs because a file names it: "
                f"say --model {self.source}, or call hardy.models.own({self.source!r}) first."
            )
        allowed = f"empty, or one number for all channels or for each of the {channels}"
        require(len(self.mean) in (0, 1, channels), "mean", self.mean, allowed)
        noise = Noise.of_batch(1) if noise is None else noise
        cpu = torch.device("cpu")
        with cpu, seeded(noise.derive("weights"), cpu):  # the first keeps a meta device of the caller's out
            module = _called(self.source, _ADMITTED[self.source], classes)
            mean, deviation = self.mean or (0.0,) * channels, self.deviation or (1.0,) * channels
            return wrap(module, mean, deviation, head_layer=self.head_layer, maps_layer=self.maps_layer).train()


def own(
    builder: Builder | str,
    mean: tuple[float, ...] = (),
    deviation: tuple[float, ...] = (),
    *,
    head_layer: str = "",
    maps_layer: str = "",
) -> OwnNetwork:
    """One's own network as the settings of a run; the process may then load weights of it.

    builder: a function or class that makes the module, or its name, "mypackage.mymodule:build". The others: see `wrap`.

    Raises: UsageError if the name leads to nothing that can be called, or the function's name cannot tell it from another.
    """
    name, function = _named(builder) if isinstance(builder, str) else (_name(builder), builder)
    # a lambda or a function made by another: two of them have one name
    if "<" in name and _ADMITTED.get(name, function) is not function:
        raise UsageError(f"Another network is named {name} already; write a function with a name of its own.")
    _ADMITTED[name] = function
    return OwnNetwork(name, mean, deviation, head_layer, maps_layer)


@contextmanager
def seeded(noise: Noise, device: torch.device) -> Iterator[None]:
    """Torch's global generators, which others' modules draw from, determined by the noise; as they were, on exit."""
    gpus = [device.index or 0] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=gpus):
        seed = int(noise.shared.integers(2**31, (1,)))
        torch.default_generator.manual_seed(seed)
        for gpu in gpus:
            torch.cuda.default_generators[gpu].manual_seed(seed)
        yield


def _name(builder: Builder) -> str:
    _refuse_other_than_builders(builder)
    qualname = getattr(builder, "__qualname__", None)
    if qualname is None:
        given = with_article(type(builder).__name__)
        raise UsageError(f"The builder is {given}, which has no name of its own; write a function around it.")
    return f"{builder.__module__}:{qualname}"


def _refuse_other_than_builders(builder: object) -> None:
    if isinstance(builder, nn.Module) or not callable(builder):
        raise UsageError(
            f"The builder is {with_article(type(builder).__name__)}; it must be the function or class that makes the network."
        )


def _named(name: str) -> tuple[str, Builder]:
    module, colon, attribute = name.partition(":")
    if not (module and colon and attribute):
        raise UsageError(f"{name!r} names no function; write module:function, as in mypackage.mymodule:build.")
    try:
        found = importlib.import_module(module)
    except Exception as error:  # the user's module may fail in any way
        raise UsageError(f"The module {module} cannot be imported: {type(error).__name__}: {error}.") from error
    function = getattr(found, attribute, None)
    if function is None:
        raise unknown(f"function in {module}", attribute, (n for n, v in vars(found).items() if callable(v)))
    _refuse_other_than_builders(function)
    return name, function


def arguments(source: str, classes: int) -> str:
    """What the function that `own` was told of is called with, as it is written in code."""
    keyword, needs = _wanted(_ADMITTED[source])
    return f"{keyword}={classes}" if keyword else str(classes) if needs else ""


def _wanted(function: Builder) -> tuple[str | None, bool]:
    """(the argument that takes the number of classes by name, whether another has to be given)"""
    parameters = inspect.signature(function).parameters
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needs = any(p.default is p.empty and p.kind in positional for p in parameters.values())
    return next((known for known in ("num_classes", "classes") if known in parameters), None), needs


def _called(name: str, function: Builder, classes: int) -> nn.Module:
    keyword, needs = _wanted(function)
    try:
        module: object = function(**{keyword: classes}) if keyword else function(classes) if needs else function()
    except Exception as error:  # the user's function may fail in any way
        raise UsageError(f"{name} could not build a network: {type(error).__name__}: {error}.") from error
    if not isinstance(module, nn.Module):
        raise UsageError(f"{name} made {with_article(type(module).__name__)}; it must make a torch.nn.Module.")
    return module
