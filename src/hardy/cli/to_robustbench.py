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
    entry = robustbench.entry(of.architecture, of.classes)
    alone = entry.made is None and not isinstance(of.architecture, OwnNetwork)  # network.py builds it, and normalises
    if alone:
        weights = {name: value for name, value in weights.items() if name not in ("mu", "sigma")}
    torch.save(weights, content)
    write_bytes(folder / file, content.getbuffer())
    as_it_comes = of.architecture if alone else replace(of.architecture, mean=(), deviation=())  # type: ignore[type-var]
    of.verify(foreign.load(folder / file, as_it_comes, of.classes).model, file)
    if alone:
        of.layers(folder, weights)
    ball = _ball(of)
    claim = _claim(of, ball, entry, (file, digest(folder / file)), "mu" in weights)
    write_text(folder / f"{of.name}.json", json.dumps(claim.info, indent=2) + "\n")
    write_text(folder / "claim.md", claim.text)
    said = [f"Not yet a claim: {claim.shortfall}"] if claim.shortfall else []
    said += [sentence for sentence in (claim.doubt, of.known.unfinished) if sentence]
    if (usual := robustbench.LEADERBOARDS[str(of.known.data["type"]), claim.norm]) != ball.eps:
        said.append(f"The leaderboard is of eps {fraction(usual)}; this entry is of {claim.eps}.")
    return [*said, *_open(claim, of)]


def _open(claim: Claim, of: Shared) -> Iterator[str]:
    """What is missing in the entry, and how it comes in."""
    place = of.known.file if of.options.weights else of.options.source
    network = f"{shlex.quote(str(place))} --norm {of.options.norm} --eps {claim.eps}"
    measured = {
        "autoattack_acc": f"hardy evaluate {network} --attacks autoattack --n {claim.clean.n}",
        "unreliable": f"hardy diagnose {network}",
    }
    if said := [name for name in claim.open if name not in measured]:
        yield f"Left open, for you to say by flags: {', '.join(said)}."
    if missing := [name for name in claim.open if name in measured]:
        by = ", ".join(f"{name} (`{measured[name]} --json FILE`)" for name in missing)
        named = [f"--{flag}" for flag in ("model", "data") if getattr(of.options, flag) is not None]
        flags = f", with the same {' and '.join(named)} as here" if named else ""
        yield f"Left open, to be measured: {by}{flags}; --results FILE brings it in."


def _ball(of: Shared) -> Ball:
    """The threat model: the radius asked for, else that of training in this norm, else the usual one."""
    norm, trained = of.options.norm, of.known.ball
    if of.options.eps is None and trained is not None and type(trained).__name__ == _NORMS[norm]:
        return trained
    return in_norm(norm, of.options.eps or USUAL[norm])


def _claim(of: Shared, ball: Ball, entry: robustbench.Entry, weights: tuple[str, str], normalises: bool) -> Claim:
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
        normalises=normalises,
        clean=of.clean,
        attacked=max(rows, key=lambda row: row.n, default=None),
        verdict=_verdict(known, ball),
        weights=weights,
        additional_data=_additional(known) if options.additional_data is None else options.additional_data,
        forward_passes=options.forward_passes or (None if own else 1),
        reported="" if options.reported is None else f"{options.reported:g}",
        footnote=options.footnote,
        checkpoint=options.checkpoint,
        license=options.license,
    )


def _verdict(known: Known, ball: Ball) -> str | None:
    """Of the diagnosis in this ball; without one a sign of masked gradients in another counts, and no sign there does not."""
    here = [it.verdict for it in known.diagnoses if it.ball == str(ball)]
    elsewhere = [it.verdict for it in known.diagnoses if it.verdict != "no sign"]
    return next(iter(here + elsewhere), None)


def _additional(known: Known) -> bool | None:
    """False for a run on this data set without extra images. Of others only the user knows: real images count at RobustBench,
    generated ones do not.
    """
    try:
        run = rebuild(known.run.get("run"), Run)
    except UsageError:
        return None
    return None if run.extra or type(run.data).__name__ != known.data["type"] else False
