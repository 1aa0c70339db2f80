"""Journal: each image's outcome, in a file that grows while an attack runs; two of them compare networks image by image."""

import hashlib
import json
import os
import re
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from importlib.metadata import version
from inspect import isfunction
from pathlib import Path
from types import CodeType
from typing import Any

import torch
from filelock import FileLock
from torch import Tensor, nn

from hardy.attacks.attack import Attack, Forward
from hardy.data.split import Split
from hardy.errors import FailedError, UsageError
from hardy.evaluation.transfer import Averaged
from hardy.files import locked, make_folder
from hardy.models.checkpoints import digest_of
from hardy.parallel import this_group

UNPERTURBED = -1  # the stage at which images stand that are misclassified as they are

_WAIT = 5.0  # seconds between two writes; what a kill may cost
_SETS = ("broken", "held", "illegal")
_COSTS = ("seconds", "forwards", "backwards")

Sets = dict[str, set[int]]


def _empty() -> Sets:
    return {name: set() for name in _SETS}


@dataclass
class Journal:
    """One attack's outcomes: a line that tells what was measured, then lines of images that were decided.

    The first line: `about`, and the number of the attack's `stages`. A line of images: `stage` (its number, -1 for images that
    are misclassified unperturbed), `broken` and `held` (places in the source file), `crc32` (of each of these images and its
    label, the broken ones first), `illegal` (those of them for which the attack claimed a success that it may not), and what
    all images of the file have cost so far (`seconds`, `forwards`, `backwards`). A line torn by a kill is passed over.

    folder, name: where the file is, and what its name begins with. about: whatever changes an image's outcome, but for the
    network and this library's version, which are added, and not how many images there are: more of them go on in the same
    file, unless the attack works on groups of them. earlier: seconds, forwards and backwards of the runs before this one.

    Processes that share out the images write into one file, in turn: passes are those of all, seconds those of the slowest.
    The first one begins the file for all, and has the passes of `earlier`.
    """

    folder: Path
    name: str
    about: Mapping[str, Any]
    earlier: tuple[float, int, int] = (0.0, 0, 0)
    path: Path = field(init=False)
    _marks: dict[int, int] = field(default_factory=dict)  # place -> CRC-32
    _known: dict[int, Sets] = field(default_factory=dict)
    _new: dict[int, Sets] = field(default_factory=dict)
    _told: tuple[float, int, int] = (0.0, 0, 0)  # costs that the file tells of
    _written: float = field(default_factory=time.perf_counter)

    @contextmanager
    def opened(self, model: Forward, craft_on: Forward | None, attack: Attack, split: Split) -> Iterator[None]:
        """Begin the file, or read what is in it; no other process can until the end.

        Raises: UsageError where another process measures the same, another measurement is in its place, it holds other images
        at the places of these, or nothing tells the network from others; FailedError where the folder cannot be written.
        """
        self._marks = marks(split)
        about = {**self.about, **self._networks(model, craft_on), "hardy": version("hardy")}
        if attack.group is not None:
            about["groups"] = zlib.crc32(repr(list(self._marks.items())).encode())
        text = json.dumps(about, sort_keys=True)
        head = {"about": json.loads(text), "stages": max(1, len(attack.stages))}
        stem = re.sub(r"[^\w.+-]+", "-", self.name)[:60]  # an attack's own name may hold 8/255, and be long
        self.path = self.folder / f"{stem}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.jsonl"
        here = this_group()
        with ExitStack() as held:
            # for all, before any of them writes: what these processes spend is none of the earlier costs
            there, lines = here.by_first(lambda: self._begun(head, held))
            if there not in (None, head):
                raise UsageError(f"{self.path} holds another measurement than its name says; move it away.")
            for line in lines:
                if any(self._marks.get(place, mark) != mark for place, mark in line["marks"].items()):
                    raise UsageError(
                        f"{self.path} holds outcomes of other images or labels than those at the same places now; name another "
                        "folder."
                    )
                for of, images in line["sets"].items():
                    self._known.setdefault(line["stage"], _empty())[of] |= images
                self.earlier = line["costs"] if here.is_first else (line["costs"][0], 0, 0)
            self._told = self.earlier
            yield

    def _begun(self, head: Mapping[str, Any], held: ExitStack) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
        """What is in the file, which is locked until `held` ends; one that is not there, or has no first line, gets it."""
        make_folder(self.folder)
        busy = f"Another process measures {self.name} for {self.path}; wait for it, or name another folder."
        held.enter_context(locked(self.path.with_suffix(".lock"), busy))
        there, lines = _read(self.path) if self.path.exists() else (None, [])
        if there is None:
            self._append([head])
        return there, lines

    def _networks(self, model: Forward, craft_on: Forward | None) -> dict[str, str | None]:
        """What tells the networks from others; of a function nothing does but the run's name."""
        networks = {"network": identity(model)} | ({} if craft_on is None else {"surrogate": identity(craft_on)})
        if None in networks.values() and not self.about.get("run"):
            raise UsageError(
                "Outcomes are kept for a network's weights, and a plain function shows none: give a torch.nn.Module, or name "
                "the function by run."
            )
        return networks

    def known(self, stage: int, indices: Tensor) -> dict[str, Tensor]:
        """Bool (N,) each: which of these images the stage has `broken`, which it has not (`held`), and which are `illegal`."""
        there = self._known.get(stage, _empty())
        return {
            name: torch.isin(indices, torch.tensor(sorted(there[name]), dtype=torch.int64, device=indices.device))
            for name in _SETS
        }

    def add(self, stage: int, **images: Tensor) -> None:
        """Remember some images, as `broken`, `held` or `illegal`, until the next `write`."""
        known, new = self._known.get(stage, _empty()), self._new.setdefault(stage, _empty())
        for name, some in images.items():
            new[name] |= set(some.tolist()) - known[name]

    @property
    def due(self) -> bool:
        """Whether it is time to write."""
        return time.perf_counter() - self._written >= _WAIT

    def write(self, seconds: float, forwards: int, backwards: int) -> None:
        """Add what is new to the file. The costs: of the earlier runs and of this."""
        new = {stage: sets for stage, sets in self._new.items() if any(sets.values())}
        self._written = time.perf_counter()
        if new or self._told[1:] != (forwards, backwards):
            sets_of = new or {UNPERTURBED: _empty()}  # nothing was decided, but paid for
            with self._turn():
                costs = dict(zip(_COSTS, self._total((seconds, forwards, backwards)), strict=True))
                self._append(
                    {
                        "stage": stage,
                        **{name: sorted(sets[name]) for name in _SETS},
                        "crc32": self._marks_of(sets),
                        **costs,
                    }
                    for stage, sets in sets_of.items()
                )
            self._told = seconds, forwards, backwards
        self._new = {}

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Inside, no other process of the group writes."""
        with FileLock(self.path.with_suffix(".turn")) if this_group().size > 1 else nullcontext():
            yield

    def _total(self, spent: tuple[float, int, int]) -> tuple[float, int, int]:
        """What the file is to tell of costs, given those of this process: the other processes' passes, too."""
        if this_group().size == 1:
            return spent
        _, lines = _read(self.path)
        seconds, forwards, backwards = lines[-1]["costs"] if lines else (0.0, 0, 0)
        (_, *now), (_, *then) = spent, self._told
        return max(seconds, spent[0]), forwards + now[0] - then[0], backwards + now[1] - then[1]

    def _marks_of(self, sets: Sets) -> list[int]:
        return [self._marks[place] for name in ("broken", "held") for place in sorted(sets[name])]

    def _append(self, lines: Iterable[Mapping[str, Any]]) -> None:
        text = "".join(json.dumps(line) + "\n" for line in lines)
        try:
            with self.path.open("ab+") as file:
                if file.tell():
                    file.seek(-1, os.SEEK_END)
                    text = text if file.read() == b"\n" else "\n" + text  # a torn line is ended first
                file.write(text.encode())
        except OSError as error:
            raise FailedError(f"Outcomes could not be written to {self.path}: {error.strerror or error}.") from error


def broken_at(path: Path) -> dict[int, int | None]:
    """Of each image (by its place in the source file): the stage that broke it, None where none did.

    The stage of images that were misclassified unperturbed is -1. Images that an interrupted measurement has not taken through
    all stages are left out.

    Raises: UsageError for a file that is no journal.
    """
    return _finished(path)[1]


def measured_in(path: Path) -> Mapping[str, Any]:
    """What a file of outcomes says of its measurement. Raises: UsageError for a file that is no journal."""
    return _whole(path)[0]["about"]  # type: ignore[no-any-return]


def _whole(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """`_read`, of a file that has a first line."""
    head, lines = _read(path)
    if head is None:
        raise UsageError(f"{path} does not hold outcomes; those that hardy evaluate writes do.")
    return head, lines


def _finished(path: Path) -> tuple[dict[int, int], dict[int, int | None]]:
    """(the CRC-32 of each image, what `broken_at` gives)."""
    head, lines = _whole(path)
    held: list[set[int]] = [set() for _ in range(head["stages"])]
    for line in lines:
        if 0 <= line["stage"] < len(held):
            held[line["stage"]] |= line["sets"]["held"]
    found: dict[int, int | None] = dict.fromkeys(set.intersection(*held))
    for line in sorted(lines, key=lambda line: -int(line["stage"])):
        found |= dict.fromkeys(line["sets"]["broken"], line["stage"])
    return {place: mark for line in lines for place, mark in line["marks"].items()}, dict(sorted(found.items()))


@dataclass(frozen=True)
class Paired:
    """Two measurements image by image: the images (places in the source file) on which both, one or neither is robust.

    not_in_first, not_in_second: images that a file tells of, but that are not decided in the first, or in the second. Where
    that is because a measurement was interrupted, what was decided is no fair sample: broken images are decided before others.
    """

    both: tuple[int, ...]
    only_first: tuple[int, ...]
    only_second: tuple[int, ...]
    neither: tuple[int, ...]
    not_in_first: tuple[int, ...] = ()
    not_in_second: tuple[int, ...] = ()

    @property
    def n(self) -> int:
        """Images compared."""
        return len(self.both) + len(self.only_first) + len(self.only_second) + len(self.neither)

    @property
    def p_value(self) -> float:
        """Of the exact, two-sided McNemar test: how likely so uneven a split of the images on which they differ is by chance.

        Source: McNemar, Psychometrika 12 (1947).
        """
        from scipy.stats import binomtest

        differ = len(self.only_first) + len(self.only_second)
        return float(binomtest(len(self.only_first), differ).pvalue) if differ else 1.0


def compare(first: Path, second: Path) -> Paired:
    """Two files of outcomes, on the images that are decided in both.

    Raises: UsageError for a file that is no journal, images that are not the same, or none in common.
    """
    (marks_of_one, one), (marks_of_other, other) = _finished(first), _finished(second)
    common = sorted(one.keys() & other.keys())
    if any(marks_of_one[place] != marks_of_other[place] for place in common):
        raise UsageError(f"{first} and {second} are about different images or labels; they must be the same.")
    if not common:
        raise UsageError(f"{first} and {second} have no image in common that is decided in both.")

    def where(robust: bool, robust_too: bool) -> tuple[int, ...]:
        return tuple(i for i in common if (one[i] is None) == robust and (other[i] is None) == robust_too)

    told_of = marks_of_one.keys() | marks_of_other.keys()
    missing = [tuple(sorted(told_of - of.keys())) for of in (one, other)]
    return Paired(where(True, True), where(True, False), where(False, True), where(False, False), *missing)


def identity(model: Forward) -> str | None:
    """What tells a network from others in a journal: its layers' code, settings, parameters and buffers, as a digest.

    The code is that of the layers' own methods, not of functions that these call. None for a function that is no module:
    nothing is known of it.
    """
    networks = model.networks if isinstance(model, Averaged) else (model,)
    if not isinstance(model, nn.Module) or not all(isinstance(network, nn.Module) for network in networks):
        return None
    layers = [[name, type(layer).__qualname__, _settings(layer)] for name, layer in model.named_modules()]
    kinds = {kind for layer in model.modules() for kind in type(layer).__mro__ if issubclass(kind, nn.Module)}
    of_others = [kind for kind in kinds if kind.__module__.partition(".")[0] not in ("torch", "hardy")]
    code = sorted(
        [kind.__qualname__, name, _code(f.__code__)]
        for kind in of_others
        for name, f in vars(kind).items()
        if isfunction(f)
    )
    tensors = dict([*model.named_parameters(), *model.named_buffers()])
    return digest_of(tensors, {"layers": layers, "code": code})[:12]


def _settings(layer: nn.Module) -> dict[str, str]:
    """A layer's attributes that are numbers, texts, or lists of these: slopes, strides, precision."""
    public = {name: value for name, value in vars(layer).items() if name != "training" and not name.startswith("_")}
    return {name: repr(value) for name, value in public.items() if _is_plain(value)}


def _is_plain(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str | torch.dtype)


def _code(code: CodeType) -> list[Any]:
    """What a function does, whatever its file and line."""
    constants = [
        _code(c) if isinstance(c, CodeType) else repr(c) for c in code.co_consts if not isinstance(c, frozenset)
    ]
    return [code.co_code.hex(), code.co_names, constants]


def marks(split: Split) -> dict[int, int]:
    """The CRC-32 of each image's pixels and label, by its place in the source file.

    Raises: UsageError where two images are said to be at the same place.
    """
    found: dict[int, int] = {}
    for place, label, image in zip(
        split.indices.tolist(), split.labels.tolist(), split.images.cpu().numpy(), strict=True
    ):
        mark = zlib.crc32(f"{label} {image.shape}".encode(), zlib.crc32(image.tobytes()))
        if found.setdefault(place, mark) != mark:
            raise UsageError(
                f"Two different images have the index {place}; outcomes are kept by indices, which must differ."
            )
    return found


def _read(path: Path) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """(the first line, those of images) as far as they are whole: `about` and `stages`; `stage`, `sets`, `marks`, `costs`.

    Raises: UsageError for a file that cannot be read, or holds more than one measurement.
    """
    try:
        texts = path.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError as error:
        raise UsageError(f"{path} could not be read: {error.strerror or error}.") from error
    head, lines = None, []
    for text in texts:
        try:
            line = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if not isinstance(line, dict):
            continue
        if isinstance(line.get("about"), dict) and type(line.get("stages")) is int and line["stages"] > 0:
            if head not in (None, line):
                raise UsageError(f"{path} holds the outcomes of more than one measurement; each has a file of its own.")
            head = line
        elif type(line.get("stage")) is int and all(map(_are_numbers, map(line.get, (*_SETS, "crc32")))):
            costs, decided = tuple(line.get(name) for name in _COSTS), line["broken"] + line["held"]
            whole = len(decided) == len(line["crc32"])
            if whole and all(isinstance(cost, int | float) and 0 <= cost < 2**63 for cost in costs):
                sets, of = {name: set(line[name]) for name in _SETS}, dict(zip(decided, line["crc32"], strict=True))
                lines.append({"stage": line["stage"], "sets": sets, "marks": of, "costs": costs})
    return head, lines


def _are_numbers(some: object) -> bool:
    return isinstance(some, list) and all(type(i) is int and abs(i) < 2**63 for i in some)
