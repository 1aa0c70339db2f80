"""train: the one loop."""

import math
import time
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hardy.attacks.attack import Attack
from hardy.attacks.pgd import fgsm
from hardy.data.split import Split
from hardy.describe import require
from hardy.errors import FailedError, StoppedError, UsageError
from hardy.evaluation.checks import check_network
from hardy.evaluation.sharing import shared_out
from hardy.evaluation.stream import Outcome, classify, under_attack
from hardy.files import WriteError
from hardy.models.classifier import Classifier, ieee_convolutions
from hardy.models.own import seeded
from hardy.models.synchronised import mean_statistics, synchronised
from hardy.objectives.objective import loss_of
from hardy.parallel import Group, this_group
from hardy.randomness import Noise
from hardy.training.events import Events
from hardy.training.notices import notices
from hardy.training.passes import Passes, counting
from hardy.training.precision import Precision, prepare, resolve, this_device
from hardy.training.record import claimed, read_metrics, read_precision, refuse_other_labels
from hardy.training.run import Run
from hardy.training.state import Checkpoint, Folder
from hardy.training.step import Step, apart, shared
from hardy.training.stopping import stops_on_request
from hardy.training.stream import TrainingImages, stream
from hardy.types import Images, Labels

LOG_EVERY = 20  # steps between two rows of metrics.jsonl, within an epoch
SAVE_EVERY = 300.0  # seconds between two checkpoints, at most


@dataclass
class Watch:
    """What a caller may look at while a run trains."""

    step: Callable[[int, int], None] = lambda step, total: None  # steps made, steps in all
    row: Callable[[dict[str, Any]], None] = lambda row: None  # a new row of metrics.jsonl
    note: Callable[[str], None] = lambda line: None  # a sentence about how the run goes


@dataclass
class _Training:
    """A run under way: the parts that change with every step."""

    run: Run
    folder: Folder
    model: Classifier
    optimizer: torch.optim.Optimizer
    total: int  # steps in all
    per_epoch: int
    group: Group
    step: int = 0
    average: dict[str, Tensor] | None = None
    pending: list[dict[str, Tensor]] = field(default_factory=list)
    best: dict[str, Any] | None = None
    events: Events | None = None
    saved_at: float = field(default_factory=time.monotonic)
    saved_step: int = 0
    passes: Passes | None = None  # of a step: this process counts those of its first


def train(
    run: Run,
    out: Path | str,
    *,
    data_root: Path | None = None,
    offline: bool = False,
    device: torch.device | str | None = None,
    watch: Watch | None = None,
) -> Path:
    """Train a network into the folder `out`, going on where an interrupted run of the same settings stopped.

    device: left out, a CUDA device where there is one. Returns the folder.

    SIGTERM and Ctrl-C end it after the step under way; the second time at once.

    Where several processes have `joined` (hardy.parallel), each takes its part of every batch, or of every micro-batch, with the
    random numbers of just these images, and the first one writes. With `norm_over` "batch" the step is then that of a single
    process, rounding aside, and a run may go on with any number of processes. Differs: an objective that is `coupled` looks at
    each process's part by itself; so does batch norm with `norm_over` "process", whose running statistics are the mean of all;
    each process has random numbers of its own for dropout and its like.

    Raises: UsageError if `out` holds something else, another process trains in it, or data or settings do not fit; FailedError
    if a loss is not finite or a file cannot be written; StoppedError if a signal asked for an end.
    """
    here, device = this_group(), this_device(device)
    watch = watch if watch is not None and here.is_first else Watch()
    _check_shared(run, here)
    with here.one_first():
        images = TrainingImages.load(run, data_root, offline=offline).to(device)
    part, total = images.part, run.length(len(images.part))
    run.objective.check(part.shape)
    next(stream(run, images, 0, 1))  # what no batch can be made of is refused before anything is written
    model = run.model.build(len(part.classes), part.shape[0], Noise.of_batch(1, run.seed, purpose="network"))
    check_network(model.to(device), part)
    with ExitStack() as held, ExitStack() as inside:
        here.by_first(lambda: held.enter_context(claimed(Path(out))))
        resolved = resolve(run.precision, device)
        about = {"device": _device_name(device), "precision": resolved, "origin": part.origin, "steps": total}
        about["labels"] = part.marking
        about |= {} if images.extra is None else {"extra": images.extra.origin}
        about |= {} if here.size == 1 else {"processes": here.size}
        folder, precision = here.by_first(
            lambda: _opened(Folder(Path(out), run, part.shape, part.classes, about), part)
        )
        if precision not in ("auto", resolved):
            watch.note(f"The run began in {precision} and goes on in it, though it would begin in {resolved} here.")
        prepare(model, device, precision, run.layout, compiled=run.compile)
        training = _Training(run, folder, model, run.optimizer.build(model), total, len(part) // run.own_batch, here)
        training.average = run.average.start(model) if run.average else None
        _resume(training, watch)
        training.events = Events(folder.path, training.step)
        if here.size > 1 and run.objective.coupled:
            watch.note(
                f"{type(run.objective).__name__} looks at the images of a batch together: each of the {here.size} processes at "
                "those of its own part."
            )
        try:
            if not model.autocast:
                inside.enter_context(ieee_convolutions())
            if run.norm_over == "batch":
                inside.enter_context(synchronised(model, here))
            _train(training, images, watch)
        except WriteError as error:
            raise FailedError(f"{error} {_what_is_kept(training)}; the same command goes on from there.") from error
        finally:
            training.events.close()
    return folder.path


def _train(training: _Training, images: TrainingImages, watch: Watch) -> None:
    """Every step that is left, with rows, validation and checkpoints."""
    if training.step == training.total:
        return
    step, here = shared(Step(training.model, training.run.objective), training.group), training.group
    with stops_on_request() as asked:
        for x, y in stream(training.run, images, training.step, training.total):
            if training.passes is None:
                with counting(training.model, len(here.share(y))) as training.passes:
                    _make(training, step, x, y)
            else:
                _make(training, step, x, y)
            watch.step(training.step, training.total)
            ends_epoch = training.step % training.per_epoch == 0 or training.step == training.total
            if ends_epoch or training.step % training.per_epoch % LOG_EVERY == 0:
                _log_terms(training, watch)
            due = time.monotonic() - training.saved_at > SAVE_EVERY
            # a signal that comes later ends the next step
            signal, waits = here.most(asked.signal or 0, int(due))
            saves = bool(ends_epoch or signal or waits)
            if saves:
                _refuse_damaged_weights(training)
            if ends_epoch and images.held_out is not None:
                _validate(training, images.held_out, watch)
            if saves:
                _save(training)
            if signal and training.step < training.total:
                raise _stopped(training, signal)


def _stopped(training: _Training, number: int) -> StoppedError:
    where = f"after step {training.step} of {training.total}"
    return StoppedError(
        f"Stopped {where}, saved in {training.folder.path}; the same command goes on from there.", number
    )


def _make(training: _Training, step: nn.Module, x: Images, y: Labels) -> None:
    """One optimiser step."""
    # the middle of the step: a schedule that begins or ends at 0 does not waste a step there
    run, progress = training.run, (training.step + 0.5) / training.total
    for group in training.optimizer.param_groups:
        group["lr"] = run.optimizer.lr * run.optimizer.schedule(progress)
    training.model.train()
    training.optimizer.zero_grad(set_to_none=True)
    # for dropout and its like: other numbers in each process
    purpose = "torch" if training.group.is_first else f"torch/{training.group.rank}"
    with seeded(Noise.of_batch(1, run.seed, step=training.step, purpose=purpose), x.device):
        terms = _backward(training, step, x, y)
    if run.optimizer.clip is not None:
        nn.utils.clip_grad_norm_(training.model.parameters(), run.optimizer.clip)
    training.optimizer.step()
    training.step += 1
    if run.norm_over == "process":
        mean_statistics(training.model, training.group)
    if run.average is not None and training.average is not None:
        run.average.update(training.average, training.model, training.step)
    training.pending.append(terms)


def _backward(training: _Training, step: nn.Module, x: Images, y: Labels) -> dict[str, Tensor]:
    """The terms of a batch, detached, and the gradient of their sum on the parameters; in parts where the run wants these."""
    noise = Noise.of_batch(len(x), training.run.seed, step=training.step, purpose="objective", device=x.device)
    sums: dict[str, Tensor] = {}
    parts = torch.arange(len(x), device=x.device).split(training.run.micro_batch or len(x))
    for part in parts:
        some = training.group.share(part)
        share = training.group.size * len(some) / len(x)  # its mean over the processes is what counts
        with nullcontext() if part is parts[-1] else apart(step):
            terms = step(x[some], y[some], noise[some])
            (share * loss_of(terms)).backward()
        sums = {name: share * value.detach() + sums.get(name, 0.0) for name, value in terms.items()}
    return training.group.mean(sums)


def _finite_terms(training: _Training) -> list[dict[str, float]]:
    """The terms not yet logged, as numbers: where the host waits for the device.

    Raises: FailedError if one is not finite.
    """
    rows = [{name: float(value) for name, value in terms.items()} for terms in training.pending]
    first = training.step - len(rows) + 1
    for step, row in enumerate(rows, first):
        if not all(map(math.isfinite, row.values())):
            terms = ", ".join(f"{name} = {value:g}" for name, value in row.items())
            raise _diverged(training, f"The loss is not finite at step {step}: {terms}")
    return rows


def _refuse_damaged_weights(training: _Training) -> None:
    """Raises FailedError if a weight is not finite, which the last update can bring about after a finite loss."""
    _finite_terms(training)
    for name, value in training.model.state_dict().items():
        if not bool(value.isfinite().all()):
            raise _diverged(training, f"The weights are not finite after step {training.step}, in {name}")


def _diverged(training: _Training, what: str) -> FailedError:
    return FailedError(
        f"{what}. {_what_is_kept(training)}. "
        "A smaller learning rate or gradient clipping (--optimizer.clip 1) usually helps."
    )


def _what_is_kept(training: _Training) -> str:
    kept, path = training.group.by_first(training.folder.last_step), training.folder.path
    return f"The checkpoint of step {kept} is kept in {path}" if kept else f"No checkpoint had been made in {path}"


def _log_terms(training: _Training, watch: Watch) -> None:
    rows = _finite_terms(training)
    if not rows:
        return
    mean = {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
    row = _row(
        training, "train", {"terms": mean, "loss": sum(mean.values()), "lr": training.optimizer.param_groups[0]["lr"]}
    )
    training.pending = []
    _log(training, row, watch)


def _validate(training: _Training, held_out: Split, watch: Watch) -> None:
    """Measure clean and robust accuracy on the held-out part, and keep the weights if they are the best so far."""
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
    _log(training, _row(training, "validation", {**shares, "n": len(held_out)}), watch)
    rows = training.group.by_first(lambda: read_metrics(folder.path))
    for notice in notices([row for row in rows if row.get("kind") == "validation"]):
        watch.note(notice)
    if training.best is None or value > training.best["value"]:
        training.best = training.group.by_first(lambda: folder.save_best(training.step, value, model.state_dict()))


def _share(outcome: Outcome) -> float:
    return float(outcome.correct.double().mean())


def _evaluated(training: _Training) -> Classifier:
    """The network as it would be used: with averaged weights where the run keeps an average."""
    if training.average is None:
        return training.model
    run = training.run
    model = run.model.build(len(training.folder.classes), training.folder.shape[0])
    model.load_state_dict(training.average)
    device = next(training.model.parameters()).device
    return prepare(model, device, "bfloat16" if training.model.autocast else "float32", run.layout)


def _save(training: _Training) -> None:
    pending = _finite_terms(training)
    weights, optimizer = training.model.state_dict(), training.optimizer.state_dict()
    point = Checkpoint(training.step, weights, optimizer, training.average, pending, training.best)
    training.group.by_first(lambda: training.folder.commit(point))
    _log_costs(training)


def _log_costs(training: _Training) -> None:
    """What the steps since the last checkpoint took, with validation and saving; passes are of single images, without these."""
    now, passes = time.monotonic(), training.passes
    images = (training.step - training.saved_step) * training.run.batch
    row = {"from": training.saved_step, "step": training.step, "seconds": round(now - training.saved_at, 3)}
    if passes is not None:
        row |= {"forwards": round(images * passes.forwards), "backwards": round(images * passes.backwards)}
    training.group.by_first(lambda: training.folder.spent(row))
    training.saved_at, training.saved_step = now, training.step


def _resume(training: _Training, watch: Watch) -> None:
    first, folder = training.group.by_first, training.folder
    if first(lambda: folder.trained() == training.total and folder.last_step() is None):
        training.step = training.total  # its user made room: what it was trained for is there
        watch.note(f"{training.folder.path} holds this run. It is complete; its checkpoints are gone.")
        return
    point = first(folder.newest)
    if point is None:
        if training.folder.checkpoints.is_dir():  # one had been made, or begun
            watch.note(f"{training.folder.path} holds this run, but no whole checkpoint. Starting again from step 0.")
        return
    if point.step > training.total:
        raise UsageError(f"{training.folder.path} is at step {point.step}, beyond this run's {training.total}.")
    training.model.load_state_dict(point.weights)
    training.optimizer.load_state_dict(point.optimizer)
    device = next(training.model.parameters()).device
    if training.average is not None and point.average is not None:
        training.average = {name: value.to(device) for name, value in point.average.items()}
    training.pending = [{name: torch.tensor(value) for name, value in row.items()} for row in point.pending]
    training.step, training.best = point.step, point.best
    training.saved_step = point.step
    finished = (
        "It is complete." if point.step == training.total else f"Going on from step {point.step} of {training.total}."
    )
    damaged = training.folder.damaged_after(point.step)
    passed = f" The checkpoint of step {damaged[-1]} is damaged and passed over." if damaged else ""
    watch.note(f"{training.folder.path} holds this run.{passed} {finished}")


def _log(training: _Training, row: dict[str, Any], watch: Watch) -> None:
    training.group.by_first(lambda: training.folder.log(row))
    if training.events is not None and training.group.is_first:
        training.events.add(row)
    watch.row(row)


def _row(training: _Training, kind: str, content: dict[str, Any]) -> dict[str, Any]:
    return {"kind": kind, "step": training.step, "epoch": round(training.step / training.per_epoch, 4), **content}


def _check_shared(run: Run, here: Group) -> None:
    """Raises UsageError where several processes cannot make this run's steps together."""
    if here.size == 1:
        return
    part = min(map(len, torch.arange(run.batch).split(run.micro_batch or run.batch)))
    what = "batch" if run.micro_batch is None else "The smallest part that micro_batch makes of a batch"
    require(part >= here.size, what, part, f"at least the number of processes, {here.size}")
    attack, mode = run.objective.attack, run.objective.batch_norm
    if run.norm_over == "batch" and mode != "eval" and attack is not None and attack.stops_at_success:
        raise UsageError(
            f"On {here.size} processes batch norm takes its statistics of all of them, while crafting too (batch_norm is "
            f"{mode!r}); the attack stops in each where it succeeds there, and the others would wait: take batch_norm 'eval' or "
            "norm_over 'process'."
        )


def _opened(folder: Folder, part: Split) -> tuple[Folder, Precision]:
    """The folder, and the precision that its run began in. Raises: UsageError where that began with other classes or labels."""
    refuse_other_labels(folder.path, part)
    return folder, read_precision(folder.path)


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
