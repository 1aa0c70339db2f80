"""train: the one loop."""

import time
from contextlib import ExitStack, nullcontext
from pathlib import Path

import torch
from torch import Tensor, nn

from hardy.attacks.combine import Combined
from hardy.data.split import Split
from hardy.describe import require
from hardy.errors import FailedError, StoppedError, UsageError
from hardy.evaluation.checks import check_network
from hardy.files import WriteError
from hardy.models.full_precision import ieee_convolutions
from hardy.models.own import seeded
from hardy.models.synchronised import check_norms, mean_statistics, synchronised
from hardy.objectives.objective import loss_of
from hardy.parallel import Group, this_group
from hardy.randomness import Noise
from hardy.training.events import Events
from hardy.training.passes import counting
from hardy.training.precision import Precision, prepare, resolve, this_device
from hardy.training.progress import Training, Watch
from hardy.training.record import claimed, read_precision, refuse_other_labels
from hardy.training.run import Run
from hardy.training.state import Folder
from hardy.training.step import Step, apart, shared
from hardy.training.stopping import stops_on_request
from hardy.training.stream import TrainingImages, stream
from hardy.training.validation import validate
from hardy.types import Images, Labels

LOG_EVERY = 20  # steps between two rows of metrics.jsonl, within an epoch
SAVE_EVERY = 300.0  # seconds between two checkpoints, at most


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
    if here.size > 1 and run.norm_over == "batch":
        check_norms(model)
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
        if not all(here.gathered((Path(out) / "run.json").is_file())):
            watch.note(
                f"Not all processes see {folder.path}: started again with the first of them on another machine, the run begins "
                "anew."
            )
        prepare(model, device, precision, run.layout, compiled=run.compile)
        training = Training(
            run, folder, model, run.optimizer.build(model), total, len(part) // run.own_batch, here, watch
        )
        training.average = run.average.start(model) if run.average else None
        training.resume()
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
            _train(training, images)
        except WriteError as error:
            raise FailedError(f"{error} {training.kept()}; the same command goes on from there.") from error
        finally:
            training.events.close()
    return folder.path


def _train(training: Training, images: TrainingImages) -> None:
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
            training.watch.step(training.step, training.total)
            ends_epoch = training.ends_epoch
            if ends_epoch or training.step % training.per_epoch % LOG_EVERY == 0:
                training.log_terms()
            due = time.monotonic() - training.saved_at > SAVE_EVERY
            # a signal that comes later ends the next step
            signal, waits = here.most(asked.signal or 0, int(due))
            saves = bool(ends_epoch or signal or waits)
            if saves:
                training.refuse_damaged_weights()
            if ends_epoch and images.held_out is not None:
                validate(training, images.held_out)
            if saves:
                training.save()
            if signal and training.step < training.total:
                raise _stopped(training, signal)


def _stopped(training: Training, number: int) -> StoppedError:
    where = f"after step {training.step} of {training.total}"
    return StoppedError(
        f"Stopped {where}, saved in {training.folder.path}; the same command goes on from there.", number
    )


def _make(training: Training, step: nn.Module, x: Images, y: Labels) -> None:
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


def _backward(training: Training, step: nn.Module, x: Images, y: Labels) -> dict[str, Tensor]:
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


def _check_shared(run: Run, here: Group) -> None:
    """Raises UsageError where several processes cannot make this run's steps together."""
    if here.size == 1:
        return
    part = min(map(len, torch.arange(run.batch).split(run.micro_batch or run.batch)))
    what = "batch" if run.micro_batch is None else "The smallest part that micro_batch makes of a batch"
    require(part >= here.size, what, part, f"at least the number of processes, {here.size}")
    attack, mode = run.objective.attack, run.objective.batch_norm
    waits = attack is not None and (attack.stops_at_success or isinstance(attack, Combined))
    if run.norm_over == "batch" and mode != "eval" and waits:
        raise UsageError(
            f"On {here.size} processes batch norm takes its statistics of all of them, while crafting too (batch_norm is "
            f"{mode!r}); the attack leaves images in each where it succeeds there, and the others would wait: take batch_norm "
            "'eval' or norm_over 'process'."
        )


def _opened(folder: Folder, part: Split) -> tuple[Folder, Precision]:
    """The folder, and the precision that its run began in. Raises: UsageError where that began with other classes or labels."""
    refuse_other_labels(folder.path, part)
    return folder, read_precision(folder.path)


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
