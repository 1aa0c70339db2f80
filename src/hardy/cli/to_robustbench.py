"""The export for RobustBench: weights under its names, the entry of its model_info, the text of the claim."""

import io
import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import torch

from hardy.attacks.autoattack import AutoAttack
from hardy.attacks.balls import Ball, Norm, fraction, in_norm
from hardy.cli.known import Known
from hardy.cli.shared import Options, Shared
from hardy.cli.subject import USUAL
from hardy.describe import rebuild
from hardy.errors import UsageError
from hardy.files import digest, write_bytes, write_text
from hardy.models import foreign, robustbench
from hardy.models.own import OwnNetwork
from hardy.report.claim import Claim
from hardy.training.run import Run

_NORMS: Mapping[Norm, str] = {"linf": "Linf", "l2": "L2"}


def check(options: Options, known: Known) -> None:
    """Raises UsageError where RobustBench has no leaderboard of these images and this norm."""
    board = str(known.data["type"]), _NORMS[options.norm]
    if board not in robustbench.LEADERBOARDS:
        there = " and ".join(f"{data} in {norm}" for data, norm in robustbench.LEADERBOARDS)
        raise UsageError(
            f"The network is judged by {board[0]} in {board[1]}; RobustBench has leaderboards of {there}. "
            "--to huggingface takes any network."
        )


def write(of: Shared, folder: Path) -> list[str]:
    """Write its files; what is to be said of them."""
    file = f"{of.name}.pt"
    content = io.BytesIO()
    weights = robustbench.tensors(of.it.model)
    torch.save(weights, content)
    write_bytes(folder / file, content.getbuffer())
    as_it_comes = replace(of.architecture, mean=(), deviation=())  # type: ignore[type-var]
    of.verify(foreign.load(folder / file, as_it_comes, of.classes).model, file)
    entry = robustbench.entry(of.architecture, of.classes)
    if entry.made is None:
        of.layers(folder, {name: value for name, value in weights.items() if name not in ("mu", "sigma")})
    ball = _ball(of)
    claim = _claim(of, ball, entry, (file, digest(folder / file)))
    write_text(folder / f"{of.name}.json", json.dumps(claim.info, indent=2) + "\n")
    write_text(folder / "claim.md", claim.text)
    said = [f"Not yet a claim: {claim.shortfall}"] if claim.shortfall else []
    if (usual := robustbench.LEADERBOARDS[str(of.known.data["type"]), claim.norm]) != ball.eps:
        said.append(f"The leaderboard is of eps {fraction(usual)}; this entry is of {claim.eps}.")
    return [*said, *_open(claim, of.options)]


def _open(claim: Claim, options: Options) -> Iterator[str]:
    """What is missing in the entry, and how it comes in."""
    network = f"{shlex.quote(str(options.source))} --norm {options.norm} --eps {claim.eps}"
    measured = {
        "autoattack_acc": f"hardy evaluate {network} --attacks autoattack --n {claim.clean.n}",
        "unreliable": f"hardy diagnose {network}",
    }
    if said := [name for name in claim.open if name not in measured]:
        yield f"Left open, for you to say by flags: {', '.join(said)}."
    if missing := [name for name in claim.open if name in measured]:
        by = ", ".join(f"{name} (`{measured[name]} --json FILE`)" for name in missing)
        yield f"Left open, to be measured: {by}; --results FILE brings it in."


def _ball(of: Shared) -> Ball:
    """The threat model: the radius asked for, else that of training in this norm, else the usual one."""
    norm, trained = of.options.norm, of.known.ball
    if of.options.eps is None and trained is not None and type(trained).__name__ == _NORMS[norm]:
        return trained
    return in_norm(norm, of.options.eps or USUAL[norm])


def _claim(of: Shared, ball: Ball, entry: robustbench.Entry, weights: tuple[str, str]) -> Claim:
    options, known = of.options, of.known
    attack = AutoAttack(ball).described
    rows = [row for row in known.rows if row.settings.get("attack") == attack and "crafted on" not in row.settings]
    own = of.architecture.source if isinstance(of.architecture, OwnNetwork) else None
    return Claim(
        name=of.name,
        paper=options.paper,
        dataset=str(known.data["type"]).lower(),
        norm=_NORMS[options.norm],
        eps=fraction(ball.eps),
        architecture=entry.architecture,
        in_zoo=entry.made is not None,
        made=entry.made or own or "network() of network.py",
        normalises=bool(of.architecture.mean),
        clean=of.clean,
        attacked=max(rows, key=lambda row: row.n, default=None),
        verdict=known.diagnosis.verdict if known.diagnosis else None,
        weights=weights,
        additional_data=_additional(known) if options.additional_data is None else options.additional_data,
        forward_passes=options.forward_passes or (None if own else 1),
        reported="" if options.reported is None else f"{options.reported:g}",
        footnote=options.footnote,
        checkpoint=options.checkpoint,
        license=options.license,
    )


def _additional(known: Known) -> bool | None:
    """False for a run without extra images. With them only the user knows: RobustBench counts real images, generated ones not."""
    try:
        return None if rebuild(known.run.get("run"), Run).extra else False
    except UsageError:
        return None
