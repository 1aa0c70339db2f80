"""validate: clean and robust accuracy on held-out images while a run trains, and its best weights so far."""

import math

from hardy.attacks.attack import Attack
from hardy.attacks.pgd import fgsm
from hardy.data.split import Split
from hardy.evaluation.sharing import shared_out
from hardy.evaluation.stream import Outcome, classify, under_attack
from hardy.models.classifier import Classifier
from hardy.training.notices import notices
from hardy.training.precision import prepare
from hardy.training.progress import Training
from hardy.training.record import read_metrics


def validate(training: Training, held_out: Split) -> None:
    """Measure the network in the epochs in which its run wants that, and keep the weights if they are the best so far."""
    run, epoch = training.run, math.ceil(training.step / training.per_epoch)
    if epoch % run.validation.every and training.step != training.total:
        return
    model = _evaluated(training)
    attack, folder = run.validation.attack, training.folder
    clean = shared_out(held_out, lambda some: classify(model, held_out.take(some)))

    def attacked(by: Attack) -> Outcome:
        return shared_out(
            held_out,
            lambda some: under_attack(model, held_out.take(some), by, clean.correct[some], seed=run.seed),
            by.group,
        )

    robust, single = attacked(attack), attacked(fgsm(attack.ball))
    value = _share(robust)
    shares = {"clean": _share(clean), "robust": value, "single_step": _share(single)}
    training.log("validation", {**shares, "n": len(held_out)})
    rows = training.group.by_first(lambda: read_metrics(folder.path))
    for notice in notices([row for row in rows if row.get("kind") == "validation"]):
        training.watch.note(notice)
    if training.best is None or value > training.best["value"]:
        training.best = training.group.by_first(lambda: folder.save_best(training.step, value, model.state_dict()))


def _share(outcome: Outcome) -> float:
    return float(outcome.correct.double().mean())


def _evaluated(training: Training) -> Classifier:
    """The network as it would be used: with averaged weights where the run keeps an average."""
    if training.average is None:
        return training.model
    run = training.run
    model = run.model.build(len(training.folder.classes), training.folder.shape[0])
    model.load_state_dict(training.average)
    device = next(training.model.parameters()).device
    return prepare(model, device, "bfloat16" if training.model.autocast else "float32", run.layout)
