"""hardy train: train a recipe, or go on with an interrupted run."""

import dataclasses
import shlex
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro

from hardy.cli.checks import device
from hardy.cli.console import err, out, percent, progress, shown, table
from hardy.cli.flags import parse, swap
from hardy.errors import UsageError
from hardy.parallel import this_group
from hardy.recipes import recipe
from hardy.training.estimate import seconds_per_step, steps_of
from hardy.training.loop import train
from hardy.training.precision import resolve
from hardy.training.progress import Watch
from hardy.training.run import Run


@dataclass(frozen=True)
class Place:
    """Where a run finds its data, and where it goes; not part of what determines the network."""

    out: Path | None = None  # the run's folder; runs/<name> where left out
    data_root: Path | None = None  # folder of the data set's files; else $HARDY_DATA, then the user's cache
    offline: bool = False  # open no connection
    device: str | None = None  # cpu, cuda, cuda:1; a GPU where there is one
    dry_run: bool = False  # print the settings and the estimated time, and stop


@dataclass(frozen=True)
class Command:
    """Train a recipe. The same command goes on with an interrupted run.

    Whole parts are swapped by name: --optimizer sgd, --optimizer.schedule cosine, --average ema, --model wrn_34_10,
    --model mypackage.mymodule:build, --data folder --data.path IMAGES. --name or --out then give the run a folder of its own.
    On several devices: torchrun --nproc-per-node N -m hardy train RECIPE.
    """

    run: Annotated[Run, tyro.conf.arg(name="")]
    place: Annotated[Place, tyro.conf.arg(name="")]


def main(args: list[str]) -> None:
    """Run `hardy train RECIPE [settings]`."""
    if not args or args[0] in ("-h", "--help"):
        out.print(
            "usage: hardy train RECIPE [settings]\n\n"
            "`hardy list recipes` names the recipes; `hardy train RECIPE --help` shows all settings of one."
        )
        if not args:
            raise UsageError("A recipe is missing, as in `hardy train rlfat-p-digits`.")
        return
    if args[0].startswith("-"):
        raise UsageError(
            f"The recipe comes first, as in `hardy train rlfat-p-digits {args[0]} ...`; {args[0]!r} was given."
        )
    default = recipe(args[0])
    run, place = settings_of(default, args[1:], f"hardy train {args[0]}")
    on = device(place.device)
    folder = place.out or Path("runs") / run.name
    if print_changes(default, run) and run.name == default.name and place.out is None:
        err.print(f"It keeps the recipe's name and folder, {folder}; --name or --out give it others.")
    if place.dry_run:
        if this_group().size > 1:
            raise UsageError("--dry-run measures what one process takes; start it without torchrun.")
        dry_run(run, folder, on)
        return
    with_progress(run, folder, data_root=place.data_root, offline=place.offline, device=on)
    out.print(f"{run.name} is trained: {folder}\nNext: hardy evaluate {shlex.quote(str(folder))}")


def settings_of(default: Run, args: list[str], prog: str) -> tuple[Run, Place]:
    """The run that flags make of a recipe, and where it is to go."""
    run, left = swap(_of_length(default, args), args)
    command = parse(Command, left, prog, Command(run, Place()))
    return command.run, command.place


def _of_length(default: Run, args: list[str]) -> Run:
    """The recipe with its length in the unit that the flags use, epochs or steps; the flag then says how many."""
    given = {arg.partition("=")[0] for arg in args}
    if "--epochs" in given and "--steps" not in given:
        return dataclasses.replace(default, epochs=1, steps=None)
    if "--steps" in given and "--epochs" not in given:
        return dataclasses.replace(default, epochs=None, steps=1)
    return default


def echo(settings: Any, name: str = "") -> dict[str, Any]:
    """Every setting by its dotted name; a part, by the name of its class, stands before the settings that are its own."""
    if not dataclasses.is_dataclass(settings):
        return {name: settings}
    found: dict[str, Any] = {name: type(settings).__name__} if name else {}
    for field in dataclasses.fields(settings):
        found |= echo(getattr(settings, field.name), f"{name}.{field.name}" if name else field.name)
    return found


def print_changes(default: Run, run: Run) -> bool:
    """Print in what a run differs from its recipe, parts and the settings that come with them; whether it does at all."""
    old, new = echo(default), echo(run)
    changed = [name for name in sorted(old | new, key=[*old, *new].index) if old.get(name) != new.get(name)]
    for name in changed:
        was, now = (shown(name, side[name]) if name in side else "not there" for side in (old, new))
        err.print(f"{name}: {now} (the recipe: {was})")
    return bool(changed)


def dry_run(run: Run, folder: Path, on: torch.device) -> None:
    """Print every setting, and how long the run would take on this machine."""
    table(None, ("setting", "value"), ((name, shown(name, value)) for name, value in echo(run).items()), left=2)
    steps, seconds = steps_of(run), seconds_per_step(run, on)
    out.print(f"\nfolder     {folder}\nprecision  {resolve(run.precision, on)} on {on.type}")
    if steps is None:
        out.print(f"time       {seconds:.3g} s a step")
    else:
        whole = duration(steps * seconds)
        out.print(
            f"time       about {whole}: {steps:,} steps of {seconds:.3g} s, measured now; validation comes on top"
        )


def duration(seconds: float) -> str:
    """Seconds in the unit people would use."""
    for length, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} seconds"


def with_progress(run: Run, folder: Path, *, data_root: Path | None, offline: bool, device: torch.device) -> Path:
    """Train with a progress bar and, at the end of each epoch, a line on standard error."""
    err.print(f"{run.name} -> {folder}")
    started = time.monotonic()
    with progress() as display:
        task = display.add_task(run.name, total=None, note="")
        state = {"loss": ""}

        def row(content: dict[str, Any]) -> None:
            if content["kind"] == "train":
                state["loss"] = f"loss {content['loss']:.3f}"
            else:
                held = f"clean {percent(content['clean'])} %, robust {percent(content['robust'])} % of {content['n']} held out"
                err.print(
                    f"epoch {content['epoch']:g}: {state['loss']}, {held}, after {duration(time.monotonic() - started)}"
                )

        watch = Watch(
            step=lambda step, total: display.update(task, completed=step, total=total, note=state["loss"]),
            row=row,
            note=err.print,
        )
        return train(run, folder, data_root=data_root, offline=offline, device=device, watch=watch)
