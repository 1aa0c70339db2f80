"""A trunk as attacks in low precision may run it: weights cast once, batch norms as what they are in eval mode, x -> a x + b.

A batch norm that follows a convolution is folded into it; of another, the gradient is one product, where torch's own sums for
gradients of a and b that nobody asks for. All this rounds otherwise: it is for crafting in low precision, never for a verdict.
"""

from collections.abc import Callable
from threading import Lock, get_ident
from typing import Any, cast
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, fx, nn

from hardy.models.products import Product, pays


class _Folded:
    """The traced trunk of one network, with convolutions and batch norms of its own.

    layers: all that the network had when it was traced. convolutions: those among them, by their names in the trace, each with
    the batch norm that goes into it. norms: the rest.
    """

    def __init__(self, model: nn.Module, trunk: Callable[[Tensor], Tensor]) -> None:
        self.layers = _layers(model)
        with _one_at_a_time:
            graph = _Tracer().trace(_Trunk(model, trunk))
        modules = dict(model.named_modules(prefix="model"))
        calls = [node for node in graph.nodes if node.op == "call_module"]
        called = [modules[node.target] for node in calls]
        self.convolutions: dict[str, tuple[nn.Conv2d, nn.BatchNorm2d | None]] = {}
        for node, layer in zip(calls, called, strict=True):
            if type(layer) is nn.Conv2d:
                after = next(iter(node.users)) if len(node.users) == 1 else node
                norm = modules.get(str(after.target))
                if norm is not None and _is_fixed(norm) and called.count(layer) == called.count(norm) == 1:
                    after.replace_all_uses_with(node)
                    graph.erase_node(after)
                    self.convolutions[node.target] = layer, cast(nn.BatchNorm2d, norm)
                else:
                    self.convolutions[node.target] = layer, None
        left = {node.target for node in graph.nodes if node.op == "call_module"}
        self.norms = {name: cast(nn.BatchNorm2d, modules[name]) for name in left if _is_fixed(modules[name])}
        self.trunk = fx.GraphModule(_Trunk(model, trunk), graph)
        for name, (convolution, _) in self.convolutions.items():
            self._put(name, _like(convolution))
        for name in self.norms:
            self._put(name, _ScaleAndShift())

    def _put(self, name: str, layer: nn.Module) -> None:
        parent, _, leaf = name.rpartition(".")
        setattr(self.trunk.get_submodule(parent), leaf, layer)

    def refresh(self, precision: torch.dtype) -> None:
        """Take the network's weights and statistics as they are now."""
        for name, (convolution, norm) in self.convolutions.items():
            weight, bias = convolution.weight.detach(), convolution.bias
            if norm is not None:
                scale, shift = _scale_and_shift(norm)
                weight = weight * scale.view(-1, 1, 1, 1)
                bias = shift if bias is None else bias * scale + shift
            own = cast(_Convolution, self.trunk.get_submodule(name))
            own.weight = nn.Parameter(weight.to(precision), requires_grad=False)
            own.bias = None if bias is None else nn.Parameter(bias.detach().to(precision), requires_grad=False)
            own.product = None
        for name, norm in self.norms.items():
            layer = cast(_ScaleAndShift, self.trunk.get_submodule(name))
            layer.scale, layer.shift = (v.to(precision).view(1, -1, 1, 1) for v in _scale_and_shift(norm))


def _is_fixed(layer: nn.Module) -> bool:
    """Whether a layer is a batch norm with weights and running statistics: without these it takes the batch's own."""
    return type(layer) is nn.BatchNorm2d and layer.affine and layer.running_mean is not None


def _scale_and_shift(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """What a batch norm multiplies each channel with in eval mode, and adds to it then."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight.detach() * (norm.running_var + norm.eps).rsqrt()
    return scale, norm.bias.detach() - norm.running_mean * scale


class _Convolution(nn.Conv2d):
    """A convolution that is a product where that is quicker; `product` is made when it is first needed."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.product: Product | None = None

    def forward(self, x: Tensor) -> Tensor:
        settings = self.stride, self.padding, self.dilation, self.groups
        if self.stride != (1, 1) or self.padding_mode != "zeros" or not pays(x, self.weight, self.bias, *settings):
            return super().forward(x)
        product = self.product or Product(self.weight, self.bias)  # of this thread: another may refresh the layer
        self.product = product
        out: Tensor = product(x)
        return out


def _like(convolution: nn.Conv2d) -> _Convolution:
    """A convolution of the same settings, without weights."""
    kept = ["in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "padding_mode"]
    with torch.device("meta"):
        return _Convolution(**{name: getattr(convolution, name) for name in kept}, bias=False)


class _ScaleAndShift(nn.Module):
    """a x + b, with one a and one b for each channel."""

    scale: Tensor
    shift: Tensor

    def forward(self, x: Tensor) -> Tensor:
        # for every pixel, laid out as x is: several times quicker than a broadcast over the channels
        scale, shift = (torch.empty_like(x[:1]).copy_(v) for v in (self.scale, self.shift))
        return torch.addcmul(shift, x, scale)


class _Tracer(fx.Tracer):
    """While torch traces, it stands in for every module's call, whoever calls: those of other threads go through."""

    def __init__(self) -> None:
        super().__init__()
        self.thread = get_ident()

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        if get_ident() != self.thread:
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)


class _Trunk(nn.Module):
    """The trunk as a module's forward, which is what torch traces."""

    def __init__(self, model: nn.Module, trunk: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.model, self.trunk = model, trunk

    def forward(self, x: Tensor) -> Tensor:
        return self.trunk(x)


_known: WeakKeyDictionary[nn.Module, _Folded] = WeakKeyDictionary()
_one_at_a_time = Lock()


def can_be_folded(model: nn.Module) -> bool:
    """Whether all layers are torch's or this library's, and have no hooks: a trace would not call those.

    What other people's layers do besides, such as drawing random numbers, a trace might do once and for all.
    """
    return all(
        type(layer).__module__.partition(".")[0] in ("torch", "hardy")
        and not (layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks or layer._backward_pre_hooks)
        for layer in model.modules()
    )


def folded(model: nn.Module, trunk: Callable[[Tensor], Tensor], precision: torch.dtype) -> Callable[[Tensor], Tensor]:
    """`trunk`, a fixed graph of the network's layers, in eval mode, with layers and weights (rounded) as they are now."""
    known = _known.get(model)
    if known is None or known.layers != _layers(model):
        known = _known[model] = _Folded(model, trunk)
    known.refresh(precision)
    return cast(Callable[[Tensor], Tensor], known.trunk)


def _layers(model: nn.Module) -> dict[str, nn.Module]:
    """A network's layers by name, without the network: that is not to be kept alive."""
    return {name: layer for name, layer in model.named_modules() if layer is not model}
