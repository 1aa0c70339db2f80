"""Accuracy, clean and under attack: every image its own problem, its verdict a float32 forward pass."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

from torch import Tensor

from hardy.attacks.attack import Attack, Forward
from hardy.attacks.balls import Ball, Norm, in_norm
from hardy.attacks.combine import Combined
from hardy.attacks.names import in_balls
from hardy.data.split import Split
from hardy.describe import fitted, require
from hardy.errors import UsageError
from hardy.evaluation.adversarial import Adversarial, save_verified
from hardy.evaluation.checks import check_network
from hardy.evaluation.memory import fitting_batch
from hardy.evaluation.outcomes import Journal
from hardy.evaluation.rows import Costs, Row, determining
from hardy.evaluation.sharing import shared_out
from hardy.evaluation.stream import Judge, Outcome, Progress, classify, under_attack
from hardy.evaluation.transfer import surrogate
from hardy.parallel import this_group
from hardy.results import Measurement


def evaluate(
    model: Forward,
    split: Split,
    attacks: Iterable[str | Attack] | Mapping[str, Attack | None] = ("clean", "fgsm", "pgd-20", "cw-20"),
    *,
    eps: float | Sequence[float] = 8 / 255,
    norm: Norm = "linf",
    judge: Judge = "last",
    seed: int = 0,
    batch: int | None = None,
    craft_on: Forward | Sequence[Forward] | None = None,
    run: str = "",
    settings: Mapping[str, Any] | None = None,
    by_class: bool = False,
    outcomes: Path | str | None = None,
    adversarial: Path | str | None = None,
    progress: Progress | None = None,
    measured: Callable[[Measurement], None] | None = None,
) -> list[Measurement]:
    """One row for each attack (and each radius): the fraction of images classified correctly, with its interval.

    model: a network, or another function of images that gives logits. attacks: a list of names (see `hardy list attacks`;
    they get a ball of that norm and of `eps`, or of each of several) and attack objects, or a dictionary of names to attack
    objects; None is no attack. judge: an image counts as broken if it is misclassified at the attack's "last" iterate, as the
    papers ran PGD and CW, or at "any" of them; an attack that makes its own tests, as NATTACK and AutoAttack do, is judged
    where it stops. An image that is misclassified unperturbed is never counted as robust. batch: images attacked at once; left
    out, as many as memory holds. craft_on: the network that attacks see, or several whose logits are averaged: transfer.
    settings: what else belongs into each row. by_class: put the accuracy on each class into the rows, too. outcomes: a folder
    for each image's outcome; a measurement that was interrupted goes on from there, one that is there is not made again.
    adversarial: a folder for new files of adversarial images (safetensors); all images are attacked then, whatever `outcomes`
    holds. measured: called with each row as soon as there is one.
    Evaluation mode is forced and undone where the network is a module. Where several processes have `joined` (hardy.parallel),
    they share out the images, and all of them get the same rows.

    Raises: UsageError for an unknown attack, a value of another type, or a network whose output on the first images is not
    finite (N, classes); FailedError for an attack that ends in NaN or infinite pixels.
    """
    judge, seed = fitted(judge, Judge, "judge"), fitted(seed, int, "seed")
    batch = fitted(batch, int | None, "batch")
    require(batch is None or batch > 0, "batch", batch, "at least 1")
    radii = [fitted(radius, float, "eps") for radius in (eps if isinstance(eps, list | tuple) else (eps,))]
    chosen = _chosen(attacks, [in_norm(norm, radius) for radius in radii])
    check_network(model, split)
    for name, attack in chosen.items():
        if adversarial is not None and attack is not None and adversarial_file(Path(adversarial), name).exists():
            raise UsageError(
                f"{adversarial_file(Path(adversarial), name)} exists already; adversarial images go into new files."
            )
    crafted_on = surrogate(craft_on)
    if crafted_on is None and any(name.split(" at ")[0] == "transfer" for name in chosen):
        raise UsageError("The attack transfer is crafted on other networks; name them: craft_on, or --craft-on.")
    about = dict(settings or {})
    if crafted_on is not None:
        check_network(crafted_on, split)
        about.setdefault("crafted on", "another network")
    batch = fitting_batch(crafted_on or model, split) if batch is None else batch
    clean = shared_out(split, lambda some: classify(model, split.take(some), batch))
    rows = []
    for name, attack in chosen.items():
        differ = 0  # verdicts that are others once the adversarial images were read again from their file
        shown = determining(about, split, attack, judge, seed)
        if attack is None:
            outcome = clean
        else:
            journal = (
                None
                if outcomes is None or adversarial is not None
                else Journal(Path(outcomes), name, {"run": run, **shown})
            )
            attacked = partial(
                under_attack, attack=attack, judge=judge, seed=seed, batch=batch, craft_on=crafted_on,
                progress=progress, name=name, journal=journal, keep=adversarial is not None,
            )  # fmt: skip
            outcome = shared_out(split, partial(_of_some, attacked, model, split, clean.correct), attack.group)
            if outcome.x_adv is not None:
                assert adversarial is not None
                found = Adversarial(outcome.x_adv, split.labels, split.indices, {"run": run, **shown})
                file = adversarial_file(Path(adversarial), name)
                differ = this_group().by_first(partial(save_verified, file, found, model, outcome.correct))
        if differ:
            shown["another verdict when read again"] = differ
        rows.append(_row(name, attack, outcome, split, run, shown, by_class=by_class))
        if measured is not None:
            measured(rows[-1])
    return rows


def _of_some(
    attacked: Callable[..., Outcome], model: Forward, split: Split, correct: Tensor, some: Tensor | slice
) -> Outcome:
    return attacked(model, split.take(some), correct=correct[some])


def adversarial_file(folder: Path, name: str) -> Path:
    """Where the adversarial images of the attack of that name go."""
    return folder / (re.sub(r"[^\w.+-]+", "-", name) + ".safetensors")  # a name may hold 8/255


def _chosen(attacks: object, balls: Sequence[Ball]) -> dict[str, Attack | None]:
    """The attacks by the names that their rows get; where there are several radii, a name is followed by its own."""
    require(bool(balls), "eps", (), "a radius, or several")
    pairs: list[tuple[str, Any]] = []
    if isinstance(attacks, Mapping):
        pairs = list(attacks.items())
    elif isinstance(attacks, Iterable) and not isinstance(attacks, str):
        for attack in attacks:
            pairs += in_balls(attack, balls) if isinstance(attack, str) else [(getattr(attack, "summary", ""), attack)]
    else:
        pairs = [("", attacks)]
    if not all(isinstance(name, str) and name and isinstance(a, Attack | None) for name, a in pairs):
        form = 'a list of names and attacks, as in ["clean", "pgd-20"], or a dictionary of names to attacks'
        raise UsageError(f"attacks is {attacks!r}; it must be {form}.")
    return dict(pairs)


def _row(
    name: str,
    attack: Attack | None,
    outcome: Outcome,
    split: Split,
    run: str,
    settings: dict[str, Any],
    *,
    by_class: bool,
) -> Measurement:
    if isinstance(attack, Combined) and len(attack.parts) > 1:
        ends = accumulate(len(part.stages) for part in attack.parts.values())
        settings["correct after"] = {
            title: outcome.after[end - 1] for title, end in zip(attack.parts, ends, strict=True)
        }
    if outcome.illegal:
        settings["illegal"] = outcome.illegal
    if by_class:
        of = [outcome.correct[split.labels == label] for label in range(len(split.classes))]
        settings["by class"] = {c: [int(o.sum()), len(o)] for c, o in zip(split.classes, of, strict=True)}
    what = "clean accuracy" if attack is None else f"accuracy under {name}"
    return Row(what, run, settings, Costs.of(outcome)).share(outcome.correct)
