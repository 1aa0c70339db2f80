"""A network's definition as a file that needs PyTorch alone, made from this library's own source."""

import ast
import inspect
from collections.abc import Collection, Iterator, Mapping
from importlib.metadata import version
from typing import Any

from torch import nn

from hardy.models.classifier import Architecture
from hardy.models.own import OwnNetwork

_HEAD = '''"""{what}: pixels in [0, 1] to logits, normalisation inside. Needs PyTorch alone.

    model = network()
    model.load_state_dict(...)  # the weights beside this file

Written by hardy {version} from its own source (Apache-2.0).
"""

import torch
{imports}

MEAN, DEVIATION = {mean}, {deviation}  # what pixels are normalised with, one number a channel


class Classifier(nn.Module):
    """Normalised images through the trunk to maps, the mean of these through the head."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(DEVIATION).view(1, -1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.trunk((x - self.mean) / self.deviation).mean((2, 3)))'''
_FOOT = '''def network() -> {kind}:
    """The network in evaluation mode; its weights are still to be loaded."""
    return {kind}({given}).eval()
'''
_TENSORS = ("Features", "Logits", "Maps")  # what this library calls tensors of certain shapes
_OURS = ("fixed_graph", "initialise")  # of a network's class, what only this library's attacks and training ask for


def definition(architecture: Architecture, classes: int, channels: int) -> str | None:
    """The file's text, whose function `network` makes what `architecture` builds; None for one's own network.

    The state of the network has the same names there as here.
    """
    if isinstance(architecture, OwnNetwork):
        return None
    kind = type(architecture.outline(classes, channels))
    module = inspect.getmodule(kind)
    assert module is not None
    source = ast.parse(inspect.getsource(module))
    needed = [_Plain().visit(node) for node in source.body if _is_layers(node, vars(module))]
    used = {name.id for node in needed for name in ast.walk(node) if isinstance(name, ast.Name)}
    sizes = {**vars(architecture), "classes": classes, "channels": channels}
    given = ", ".join(f"{name}={sizes[name]!r}" for name in inspect.signature(kind).parameters)
    head = _HEAD.format(
        what=f"{type(architecture).__name__} ({given})",
        version=version("hardy"),
        imports="\n".join(_imports(source, used | {"Tensor", "nn"})),
        mean=list(architecture.mean or (0.0,) * channels),
        deviation=list(architecture.deviation or (1.0,) * channels),
    )
    return "\n\n\n".join([head, *map(ast.unparse, needed), _FOOT.format(kind=kind.__name__, given=given)])


def _is_layers(node: ast.stmt, names: Mapping[str, Any]) -> bool:
    """Whether it is a class of layers, or a function or constant for these alone; not settings, nor what makes them."""
    match node:
        case ast.ClassDef(name=name):
            return issubclass(names[name], nn.Module)
        case ast.FunctionDef(name=name) | ast.Assign(targets=[ast.Name(id=name)]):
            return name.startswith("_")
    return False


def _imports(source: ast.Module, used: Collection[str]) -> Iterator[str]:
    """The lines that import what is used of PyTorch."""
    for node in source.body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "torch":
            names = [alias for alias in node.names if alias.name in used]
            if names:
                yield ast.unparse(ast.ImportFrom(node.module, names, 0))


class _Plain(ast.NodeTransformer):
    """Leaves out what is this library's own, and calls a tensor a tensor."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST | None:
        return None if node.name in _OURS else self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> ast.AST | None:
        own = isinstance(node.targets[0], ast.Name) and node.targets[0].id in _OURS
        return None if own else self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Name("Tensor", node.ctx) if node.id in _TENSORS else node
