"""Networks of other projects' weights files: the names of their tensors brought to ours by explicit tables."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from hardy.describe import fitted
from hardy.errors import UsageError
from hardy.models.checkpoints import fill
from hardy.models.classifier import Architecture, Classifier, outside_inference
from hardy.models.foreign_files import State, are, few, read
from hardy.models.own import Wrapped
from hardy.models.preact_resnet import PreActResNet18
from hardy.models.resnet import ResNet18
from hardy.models.wide_resnet import WideResNet

# What wraps a network: parallel and compiled modules, models of attack libraries, a Sequential with normalisation.
_WRAPPERS = ("module", "_orig_mod", "model", "basic_net", "net", "network", "0", "1")
_NORMALISATIONS = {"mean": "std", "mu": "sigma", "new_mean": "new_std"}  # the last words of a pair of buffers
# What is passed over by name wherever it stands beside the network.
_PASSED_OVER = {
    "attacker": "the second copy that MadryLab's AttackerModel keeps",
    "n_classes": "the number of classes that MAIR's RobModel keeps",
}
# Of one architecture: what is passed over by the first word of its name, and other names of the same layers. Only names of
# code whose layers compute what ours do: WRNs with swish, biases or another shortcut stay unknown, and are refused.
_UNUSED: dict[type[Architecture], dict[str, str]] = {
    WideResNet: {"sub_block1": "a block that TRADES's first code makes and never uses"}
}
_RENAMED: dict[type[Architecture], tuple[tuple[str, str], ...]] = {
    PreActResNet18: (
        (r"^(fc|classifier)\.", "linear."),
        (r"\.(shortcut|downsample)\.(0\.)?weight$", ".shortcut.0.weight"),
    ),
    ResNet18: ((r"^(fc|classifier)\.", "linear."), (r"\.downsample\.", ".shortcut.")),
    WideResNet: (
        (r"^(linear|classifier)\.", "fc."),
        (r"\.(convShortcut|conv_shortcut|shortcut|downsample)\.(0\.)?weight$", ".convShortcut.weight"),
    ),
}
_COUNTER = "num_batches_tracked"  # of batch norm; torch before 0.4.1 had none, and evaluation does not need it


@dataclass(frozen=True)
class Foreign:
    """A network as another project's file holds it.

    model: in evaluation mode, on the CPU, in float32; it normalises as `architecture` says. architecture: the one asked for,
    with the file's normalisation where it has one and none was asked for. mean, deviation: the normalisation in the file,
    one number a channel, or None. notes: sentences on what was chosen, taken off names or passed over.
    """

    model: Classifier
    architecture: Architecture
    classes: int
    channels: int
    mean: tuple[float, ...] | None
    deviation: tuple[float, ...] | None
    notes: tuple[str, ...]


def load(source: Path | str | State, architecture: Architecture, classes: int | None = None) -> Foreign:
    """The network in a file of safetensors or of torch.save, which may wrap, prefix and name it as the field's code does.

    source: the file, or what `read` found in it. architecture: what the weights belong to; the file cannot say. classes: how
    many there must be; left out, as many as the last layer has.

    A file of torch.save is read with weights_only: nothing in it is run. Names are matched by tables, never shapes by size.

    Raises: UsageError for a file that is missing, damaged, this library's own, or holds objects other than tensors and plain
    values; for tensors that are missing, unknown, or of a wrong shape or kind; for another number of classes; for NaN.
    """
    classes = fitted(classes, int | None, "classes")
    state = source if isinstance(source, State) else read(source)
    path, given, notes = state.path, state.tensors, [*state.notes]
    outline = _network(architecture.outline(classes or 2, 1))  # for its names; sizes come from the file
    tensors, spare = _matched(given, architecture, outline, notes)
    channels, found = _sizes(outline, tensors)
    if None not in (classes, found) and classes != found:
        raise UsageError(f"The last layer of {path} has {found} classes; {classes} are needed.")
    classes = classes or found or 2  # without a last layer there is no network: told of as missing
    mean, deviation = _normalisation(spare, channels, path, notes)
    if mean is not None and deviation is not None:
        if architecture.mean and (architecture.mean, architecture.deviation) != (mean, deviation):
            notes.append("The normalisation that was asked for is taken, not the file's.")
        elif not architecture.mean:
            architecture = replace(architecture, mean=mean, deviation=deviation)  # type: ignore[type-var]
    with outside_inference():
        try:
            outline = _network(architecture.outline(classes, channels))
        except UsageError as error:
            raise UsageError(f"{path} asks for a network that cannot be built: {error}") from error
        _refuse_misfits(outline, tensors, spare, path, architecture)
        model = architecture.build(classes, channels).float()
    wanted = _network(model).state_dict()
    without = [name for name in wanted if name.endswith(_COUNTER) and name not in tensors]
    if without:
        notes.append(f"{len(without)} batch norms come without {_COUNTER}, which evaluation does not need.")
    whole = {**{name: tensors[name][1] for name in tensors}, **{name: wanted[name] for name in without}}
    prefix = "module." if isinstance(model, Wrapped) else ""
    fill(model, {f"{prefix}{name}": value for name, value in whole.items()}, str(path))
    return Foreign(model.eval(), architecture, classes, channels, mean, deviation, tuple(notes))


# the names


_Named = dict[str, tuple[str, Tensor]]  # our name -> (the file's, the tensor)


def _network(model: Classifier) -> nn.Module:
    """What a file of its weights is a file of: of a wrapped module the module."""
    return model.module if isinstance(model, Wrapped) else model


def _matched(
    given: Mapping[str, Tensor], architecture: Architecture, network: nn.Module, notes: list[str]
) -> tuple[_Named, dict[str, Tensor]]:
    """(the network's tensors by our names, what is left and not passed over by the file's)."""
    wanted = network.state_dict().keys()
    kind = type(architecture)
    levels = [
        (prefix, _renamed([n.removeprefix(prefix) for n in given if n.startswith(prefix)], wanted, kind))
        for prefix in _prefixes(given, kind)
    ]
    # where a network is wrapped, its own layers may be called like wrappers: the level that knows most names is the one
    prefix, names = max(levels, key=lambda level: len(wanted & level[1].keys()))
    tensors = {
        ours: (f"{prefix}{theirs}", given[f"{prefix}{theirs}"]) for ours, theirs in names.items() if ours in wanted
    }
    if prefix:
        notes.append(f"The prefix {prefix!r} was taken off the names.")
    changed = [f"{theirs} as {ours}" for ours, theirs in names.items() if ours in wanted and ours != theirs]
    if changed:
        notes.append(f"{len(changed)} names were read as ours: {few(changed)}.")
    taken = {theirs for theirs, _ in tensors.values()}
    spare = {name: value for name, value in given.items() if name not in taken}
    reasons = {name: reason for name in spare if (reason := _reason(name, kind))}
    for reason in dict.fromkeys(reasons.values()):
        of_it = [name for name in reasons if reasons[name] == reason]
        notes.append(f"{len(of_it)} tensors were passed over, {reason}: {few(of_it)}.")
    return tensors, {name: value for name, value in spare.items() if name not in reasons}


def _prefixes(names: Iterable[str], kind: type[Architecture]) -> Iterator[str]:
    """Each prefix that may stand before all names of the network, the empty one first."""
    inside, prefix = list(names), ""
    while True:
        yield prefix
        for wrapper in _WRAPPERS:
            within = [name for name in inside if name.startswith(f"{wrapper}.")]
            beside = [name for name in inside if not name.startswith(f"{wrapper}.")]
            if within and all(_normalises(name) or _reason(name, kind) for name in beside):
                inside, prefix = [name.removeprefix(f"{wrapper}.") for name in within], f"{prefix}{wrapper}."
                break
        else:
            return


def _renamed(names: Iterable[str], wanted: Iterable[str], kind: type[Architecture]) -> dict[str, str]:
    """Our name -> the file's, as the tables have it; a name that would be given twice stays as it is."""
    wanted, names = set(wanted), list(names)
    taken = {name: name for name in names}
    for name in names:
        if name in wanted:
            continue
        ours = name
        for pattern, replacement in _RENAMED.get(kind, ()):
            ours = re.sub(pattern, replacement, ours)
        if ours not in taken:
            del taken[name]
            taken[ours] = name
    return taken


def _reason(name: str, kind: type[Architecture]) -> str | None:
    """Why a tensor beside the network, or within it, is passed over; None where it is not."""
    words = name.split(".")
    unused = {**_PASSED_OVER, **_UNUSED.get(kind, {})}
    return next((unused[word] for word in words if word in unused), None)


def _normalises(name: str) -> bool:
    return name.rpartition(".")[2] in {*_NORMALISATIONS, *_NORMALISATIONS.values()}


def _sizes(network: nn.Module, tensors: _Named) -> tuple[int, int | None]:
    """(channels of the images, classes if the file tells): the shapes of the first convolution and of the last layer."""
    first, groups = next(((n, m.groups) for n, m in network.named_modules() if isinstance(m, nn.Conv2d)), ("", 1))
    last = [n for n, layer in network.named_modules() if isinstance(layer, nn.Linear)][-1:]
    stem = tensors.get(f"{first}.weight")
    head = tensors.get(f"{last[0]}.weight") if last else None
    channels = stem[1].shape[1] * groups if stem is not None and stem[1].ndim == 4 else 3
    return channels, head[1].shape[0] if head is not None and head[1].ndim == 2 else None


def _normalisation(
    spare: dict[str, Tensor], channels: int, path: Path, notes: list[str]
) -> tuple[tuple[float, ...], tuple[float, ...]] | tuple[None, None]:
    """The mean and deviation that stand beside the network; they are taken out of `spare`."""
    found: dict[tuple[tuple[float, ...], tuple[float, ...]], str] = {}
    for name in list(spare):
        place, dot, word = name.rpartition(".")
        other = f"{place}{dot}{_NORMALISATIONS.get(word, '')}"
        if word not in _NORMALISATIONS or other not in spare:
            continue
        mean, deviation = (_numbers(spare.pop(one), one, channels, path) for one in (name, other))
        if not all(d > 0 for d in deviation):
            raise UsageError(f"The deviation {other} in {path} is {deviation}; it must be above 0.")
        found[mean, deviation] = f"{name} and {other}"
    if len(found) > 1:
        raise UsageError(f"{path} has several normalisations that differ: {'; '.join(found.values())}.")
    for (mean, deviation), names in found.items():
        shown = (" ".join(f"{v:.4g}" for v in values) for values in (mean, deviation))
        notes.append("The file has its own normalisation, mean {} and deviation {}: {}.".format(*shown, names))
        return mean, deviation
    return None, None


def _numbers(value: Tensor, name: str, channels: int, path: Path) -> tuple[float, ...]:
    """The numbers of a normalisation, one a channel."""
    shape = tuple(value.shape)
    # (3,), (3, 1, 1), (1, 3, 1, 1): one axis of channels, and any of length 1
    if value.numel() not in (1, channels) or max(shape, default=1) != value.numel():
        raise UsageError(f"{name} in {path} has shape {shape}; it must hold {channels} numbers, one a channel, or one.")
    numbers = [float(v) for v in value.double().flatten()]
    if not all(abs(v) < float("inf") for v in numbers):
        raise UsageError(f"{name} in {path} holds NaN or infinite values.")
    return tuple(numbers * channels if len(numbers) == 1 else numbers)


def _refuse_misfits(
    network: nn.Module, tensors: _Named, spare: Mapping[str, Tensor], path: Path, architecture: Architecture
) -> None:
    """Raises UsageError naming a few of what is missing, unknown, or of another shape or kind."""
    wanted = network.state_dict()
    shapes = [n for n in tensors if tensors[n][1].shape != wanted[n].shape]
    kinds = [n for n in tensors if _dense_float(tensors[n][1]) != _dense_float(wanted[n])]
    trouble = {
        "missing": [n for n in wanted if n not in tensors and not n.endswith(_COUNTER)],
        "unknown": list(spare),
        "of another shape": [f"{n} {tuple(tensors[n][1].shape)} for {tuple(wanted[n].shape)}" for n in shapes],
        "of another kind": [f"{n} {tensors[n][1].dtype} for {wanted[n].dtype}" for n in kinds if n not in shapes],
    }
    said = [f"{len(names)} {are(len(names))} {what} ({few(names)})" for what, names in trouble.items() if names]
    if said:
        raise UsageError(f"The weights in {path} are not those of a {type(architecture).__name__}: {'; '.join(said)}.")


def _dense_float(value: Tensor) -> tuple[bool, bool]:
    return value.layout == torch.strided, value.is_floating_point()
