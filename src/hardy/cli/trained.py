"""Trained: the run that made a network, where that is known, what it learnt from, and in which settings two runs differ."""

import dataclasses
from pathlib import Path
from typing import Any

from hardy.cli.console import shown
from hardy.cli.several import Several
from hardy.data.split import Split
from hardy.describe import rebuild
from hardy.errors import UsageError
from hardy.models.checkpoints import find_weights, read_weights
from hardy.models.published import about, published
from hardy.training.record import read_id, read_run
from hardy.training.run import Run
from hardy.training.stream import TrainingImages


def run_of(source: Path) -> Run | None:
    """The settings of the run that made a network; None for one that no run's folder, nor the package, tells of.

    source: a run's folder, a weights file in one, or a published name. Raises: UsageError where run.json cannot be read.
    """
    if not source.exists() and str(source) in published():
        return rebuild(about(str(source))["run"], Run)
    folder = source if source.is_dir() else source.parent
    if not (folder / "run.json").is_file():
        return None
    try:
        _, header = read_weights(find_weights(source)[0])
    except UsageError:
        return None  # of another project, in a folder of ours
    return read_run(folder) if header.get("id") == read_id(folder) else None


def learnt_from(source: Path, made: Several, test: Split) -> tuple[Split, str]:
    """(the images that a network was trained on, what is not known of them, in a sentence, or "").

    Of a run these are its own training images, without those that it held out and without extra ones; of a network whose run
    is not known, all training images of the data named.

    Raises: UsageError where no data is named then, or data of another test set than the run's.
    """
    run = run_of(source)
    if run is None:
        if made.data is None:
            raise UsageError(
                f"{source} does not tell what it was trained on: there is no run.json of its run beside it. Name the data by "
                "--data; all training images then count as seen."
            )
        part, _ = made.data.load(made.data_root, offline=made.offline)
        unknown = f"{source}: all {len(part):,} training images count as seen; whether some were held out is not known."
        return part, unknown
    if made.data is not None and run.data.load(made.data_root, offline=made.offline)[1].origin != test.origin:
        raise UsageError(f"{source} was trained on other data than --data names ({test.origin}); leave --data out.")
    return TrainingImages.load(run, made.data_root, offline=made.offline).learnt, ""


def differences(one: Any, other: Any, name: str = "", usual: tuple[Any, Any] | None = None) -> list[str]:
    """How the settings `other` differ from `one`, named as on the command line: ["objective.eta 0.5 -> 0"].

    Where a part is of another class, its class is said, and nothing that goes with it, both being what each class has by
    default; of what only the new class has, what is not its default. usual: what stands here by default in either, where a
    class has changed further up.
    """
    changed = type(one) is not type(other)
    expected = usual is not None and (type(one), type(other)) == (type(usual[0]), type(usual[1]))
    if not dataclasses.is_dataclass(other):
        same = one == other or (one, other) == usual
        return [] if same else [f"{name} {_said(name, one)} -> {_said(name, other)}"]
    found = [f"{name} {_said(name, one)} -> {_said(name, other)}"] if changed and not expected else []
    before = {f.name: f.default for f in dataclasses.fields(one)} if dataclasses.is_dataclass(one) else {}
    for f in dataclasses.fields(other):
        value, leaf = getattr(other, f.name), f"{name}.{f.name}" if name else f.name
        if f.name not in before:
            found += [] if value == f.default else [f"{leaf} = {_said(leaf, value)}"]
            continue
        below = (before[f.name], f.default) if changed else None
        if usual is not None and expected and not changed:
            below = getattr(usual[0], f.name), getattr(usual[1], f.name)
        found += differences(getattr(one, f.name), value, leaf, below)
    return found


def _said(name: str, value: Any) -> str:
    return type(value).__name__ if dataclasses.is_dataclass(value) else shown(name, value)
