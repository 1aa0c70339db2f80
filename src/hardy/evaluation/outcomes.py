"""Journal: each image's outcome, in a file that grows while an attack runs; two of them compare networks image by image."""

import hashlib
import json
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hardy.attacks.attack import Forward
from hardy.errors import FailedError, UsageError
from hardy.evaluation.transfer import Averaged
from hardy.files import locked, make_folder
from hardy.models.checkpoints import digest_of
from hardy.models.classifier import Classifier

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
    are misclassified unperturbed), `broken` and `held` (places in the source file), `illegal` (those of them for which the
    attack claimed a success that it may not), and what all images of the file have cost so far (`seconds`, `forwards`,
    `backwards`). A line torn by a kill is passed over.

    folder, name: where the file is, and what its name begins with. about: whatever changes an image's outcome, but for the
    network, which is added, and not how many images there are: more of them go on in the same file. earlier: seconds, forwards
    and backwards of the runs before this one.
    """

    folder: Path
    name: str
    about: Mapping[str, Any]
    earlier: tuple[float, int, int] = (0.0, 0, 0)
    path: Path = field(init=False)
    _known: dict[int, Sets] = field(default_factory=dict)
    _new: dict[int, Sets] = field(default_factory=dict)
    _passes: tuple[int, int] = (0, 0)  # that the file tells of
    _written: float = field(default_factory=time.perf_counter)

    @contextmanager
    def opened(self, model: Forward, craft_on: Forward | None, stages: int) -> Iterator[None]:
        """Begin the file, or read what is in it; no other process can until the end.

        Raises: UsageError where another process measures the same, another measurement is in its place, or nothing tells the
        network from others; FailedError where the folder cannot be written.
        """
        about = {**self.about, **self._networks(model, craft_on)}
        text = json.dumps(about, sort_keys=True)
        head = {"about": json.loads(text), "stages": stages}
        stem = re.sub(r"[^\w.+-]+", "-", self.name)[:60]  # an attack's own name may hold 8/255, and be long
        self.path = self.folder / f"{stem}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.jsonl"
        make_folder(self.folder)
        busy = f"Another process measures {self.name} for {self.path}; wait for it, or name another folder."
        with locked(self.path.with_suffix(".lock"), busy):
            there, lines = _read(self.path) if self.path.exists() else (None, [])
            if there is None:
                self._append([head])
            elif there != head:
                raise UsageError(f"{self.path} holds another measurement than its name says; move it away.")
            for line in lines:
                for of, images in line["sets"].items():
                    self._known.setdefault(line["stage"], _empty())[of] |= images
                self.earlier = line["costs"]
            self._passes = self.earlier[1:]
            yield

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
        if new or self._passes != (forwards, backwards):
            costs = dict(zip(_COSTS, (seconds, forwards, backwards), strict=True))
            sets_of = new or {UNPERTURBED: _empty()}  # nothing was decided, but paid for
            self._append(
                {"stage": stage, **{name: sorted(images) for name, images in sets.items()}, **costs}
                for stage, sets in sets_of.items()
            )
        self._passes, self._new = (forwards, backwards), {}

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


def _finished(path: Path) -> tuple[dict[str, Any], dict[int, int | None]]:
    """(what was measured, what `broken_at` gives)."""
    head, lines = _read(path)
    if head is None:
        raise UsageError(f"{path} does not hold outcomes; those that hardy evaluate writes do.")
    held: list[set[int]] = [set() for _ in range(head["stages"])]
    for line in lines:
        if 0 <= line["stage"] < len(held):
            held[line["stage"]] |= line["sets"]["held"]
    found: dict[int, int | None] = dict.fromkeys(set.intersection(*held))
    for line in sorted(lines, key=lambda line: -int(line["stage"])):
        found |= dict.fromkeys(line["sets"]["broken"], line["stage"])
    return head["about"], dict(sorted(found.items()))


@dataclass(frozen=True)
class Paired:
    """Two measurements image by image: the images (places in the source file) on which both, one or neither is robust."""

    both: tuple[int, ...]
    only_first: tuple[int, ...]
    only_second: tuple[int, ...]
    neither: tuple[int, ...]

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

    Raises: UsageError for a file that is no journal, images of another source, or none in common.
    """
    (about, one), (other_about, other) = _finished(first), _finished(second)
    if about.get("data") != other_about.get("data"):
        raise UsageError(
            f"{first} is about images of {about.get('data')!r}, {second} of {other_about.get('data')!r}; they must be the same."
        )
    common = sorted(one.keys() & other.keys())
    if not common:
        raise UsageError(f"{first} and {second} have no image in common that is decided in both.")

    def where(robust: bool, robust_too: bool) -> tuple[int, ...]:
        return tuple(i for i in common if (one[i] is None) == robust and (other[i] is None) == robust_too)

    return Paired(where(True, True), where(True, False), where(False, True), where(False, False))


def identity(model: Forward) -> str | None:
    """What tells a network from others in a journal: its layers' kinds, parameters, buffers and precision, as a digest.

    None for a function that is no module: nothing is known of it.
    """
    networks = model.networks if isinstance(model, Averaged) else (model,)
    if not isinstance(model, nn.Module) or not all(isinstance(network, nn.Module) for network in networks):
        return None
    layers = [
        [name, type(layer).__qualname__, str(layer.autocast) if isinstance(layer, Classifier) else ""]
        for name, layer in model.named_modules()
    ]
    return digest_of(dict([*model.named_parameters(), *model.named_buffers()]), {"layers": layers})[:12]


def _read(path: Path) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """(the first line, those of images) as far as they are whole: `about` and `stages`; `stage`, `sets` and `costs`.

    Raises: UsageError for a file that cannot be read.
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
            head = head or line
        elif type(line.get("stage")) is int and all(map(_are_places, map(line.get, _SETS))):
            costs = tuple(line.get(name) for name in _COSTS)
            if all(isinstance(cost, int | float) and 0 <= cost < 2**63 for cost in costs):
                lines.append(
                    {"stage": line["stage"], "sets": {name: set(line[name]) for name in _SETS}, "costs": costs}
                )
    return head, lines


def _are_places(some: object) -> bool:
    return isinstance(some, list) and all(type(i) is int and abs(i) < 2**63 for i in some)
