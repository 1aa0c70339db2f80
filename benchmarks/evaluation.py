"""Evaluation under PGD-20 and NATTACK: this library beside foolbox, and beside the network's bare forward passes.

    python benchmarks/evaluation.py                  # the published PGD-AT network, CIFAR-10's first 100 test images
    python benchmarks/evaluation.py --device cuda --n 1000

Run it on an idle machine, where this library is installed with its test extra (`pip install --editable '.[test]'`) and
$HARDY_DATA holds CIFAR-10. Both get the same network and images, in one process and in turns; seconds are medians of rounds,
after one that is not timed, and hold clean accuracy, the attack and the verdicts. foolbox attacks all images, this library those
that are classified correctly unperturbed: of others nothing is asked.

    pgd-20     PGD, 20 steps of 2/255 in 8/255, judged at its end; foolbox as its documentation calls it
    nattack    3 updates of 100 members, of the attack's 200 of 300, whose passes are all alike; no peer has it, so beside it
               stands what the network alone needs for as many passes
    robust     images of n that are still correct
    ratio      seconds of foolbox, or of the bare passes, over those of the row
"""

from collections.abc import Callable
from typing import Any

import torch
from peers import imported
from timing import Flags, Timed, headed, in_turns, machine, positive, written

import hardy
from hardy.attacks import NATTACK, PGD, Attack, Linf
from hardy.data import Split
from hardy.evaluation.stream import classify, under_attack
from hardy.models import Classifier, frozen
from hardy.training.precision import multiplies_bfloat16, prepare

BALL, BATCH = Linf(8 / 255), 200
ATTACKS: dict[str, Attack] = {"pgd-20": PGD(BALL, 20, 2 / 255), "nattack": NATTACK(BALL, 3, 100)}
DEFAULTS = {"cpu": {"n": 100, "rounds": 3}, "cuda": {"n": 1000, "rounds": 5}}


def ours(model: Classifier, split: Split, attack: Attack, precision: torch.dtype | None) -> Callable[[], Any]:
    """Evaluation by this library, crafting in that precision; verdicts are float32."""

    def run() -> Any:
        model.autocast = precision
        try:
            clean = classify(model, split, BATCH)
            return under_attack(model, split, attack, clean.correct, batch=BATCH)
        finally:
            model.autocast = None

    return run


def by_foolbox(model: Classifier, split: Split, steps: int) -> Callable[[], int]:
    """How many images stay correct, by foolbox's attack called with its criterion and radius."""
    library = imported("foolbox")
    device = split.labels.device
    wrapped = library.PyTorchModel(model.eval(), bounds=(0, 1), device=device)
    attack = library.attacks.LinfPGD(abs_stepsize=2 / 255, steps=steps, random_start=True)

    def run() -> int:
        robust = 0
        for which in torch.arange(len(split), device=device).split(BATCH):
            _, _, success = attack(wrapped, split.x(which), split.labels[which], epsilons=BALL.eps)
            robust += int((~success).sum())
        return robust

    return run


def bare(model: Classifier, split: Split, passes: int) -> Callable[[], None]:
    """As many images through the network, in batches that are there already."""
    x = split.x(torch.arange(min(600, len(split)), device=split.labels.device)).repeat(
        600 // min(600, len(split)), 1, 1, 1
    )

    def run() -> None:
        left = passes
        with frozen(model), torch.no_grad():
            while left > 0:
                model(x[:left])
                left -= len(x)

    return run


def measure(model: Classifier, split: Split, attacks: dict[str, Attack], rounds: int) -> list[dict[str, Any]]:
    """Rows for each attack."""
    device = split.labels.device
    precisions = {"hardy": None} | ({"hardy, bfloat16": torch.bfloat16} if multiplies_bfloat16(device) else {})
    rows = []
    for name, attack in attacks.items():
        timed = [
            Timed(who, ours(model, split, attack, precision), "float32" if precision is None else "bfloat16")
            for who, precision in precisions.items()
        ]
        if isinstance(attack, PGD):
            timed.append(Timed("foolbox", by_foolbox(model, split, attack.steps)))
        else:
            made = under_attack(model, split, attack, batch=BATCH)
            timed.append(Timed("bare passes", bare(model, split, made.forwards)))
        in_turns(timed, rounds, device)
        other = timed[-1].row()["seconds"]
        for one in timed:
            found = one.first
            robust = int(found.correct.sum()) if hasattr(found, "correct") else found
            told = {"attack": name, "robust": robust, "ratio": other / one.row()["seconds"]}
            told |= {"forwards": found.forwards, "backwards": found.backwards} if hasattr(found, "forwards") else {}
            rows.append(one.row() | told)
    return rows


def table(found: dict[str, Any]) -> str:
    """The text for people."""
    lines = [*headed(found), f"{'':<10}{'':<18}{'robust':>8}{'seconds':>10}{'ratio':>8}"]
    for row in found["rows"]:
        robust = "" if row["robust"] is None else row["robust"]
        lines.append(f"{row['attack']:<10}{row['name']:<18}{robust:>8}{row['seconds']:>10.3g}{row['ratio']:>8.2f}")
    return "\n".join(lines)


def main(args: list[str] | None = None) -> None:
    """Measure and print; wrong flags end the program with a sentence and exit code 2."""
    parser = Flags(__doc__)
    parser.add_argument("--n", type=positive, help="CIFAR-10's first test images (100, on a GPU 1,000)")
    parser.add_argument("--rounds", type=positive, help="timings of each (3, on a GPU 5)")
    flags = parser.read(args)
    sizes = {name: getattr(flags, name) or DEFAULTS[flags.device.type][name] for name in ("n", "rounds")}
    _, test = parser.made(lambda: hardy.recipe("pgdat-cifar10-small").data.load(offline=True))
    model = prepare(hardy.load("pgdat-cifar10-small"), flags.device, "float32")
    found: dict[str, Any] = {"machine": machine(flags.device), "settings": {**sizes, "device": flags.device.type}}
    found["rows"] = measure(model, test.take(slice(sizes["n"])).to(flags.device), ATTACKS, sizes["rounds"])
    print(table(found))
    written(flags.json, found)


if __name__ == "__main__":
    main()
