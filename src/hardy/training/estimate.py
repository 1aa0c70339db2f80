"""How long a training step, or a pass of an attack, takes here, measured on a few made-up images; how many steps a run has."""

import math
import time
from dataclasses import dataclass

import torch

from hardy.describe import counted
from hardy.models.classifier import Classifier, frozen
from hardy.objectives.objective import loss_of
from hardy.randomness import Noise
from hardy.training.passes import Passes, counting
from hardy.training.precision import Precision, prepare
from hardy.training.run import Run
from hardy.training.step import Step

_FEW = 8  # images of the first trial
_QUICK = 1.0  # seconds: a trial that takes less is repeated with the whole batch


def hardware(device: torch.device) -> str:
    """What times are of, in words: the GPU's name, or how many threads of the CPU."""
    return (
        torch.cuda.get_device_name(device) if device.type == "cuda" else counted(torch.get_num_threads(), "CPU thread")
    )


def steps_of(run: Run) -> int | None:
    """Optimiser steps of a run; None where they go by the number of its images, which is not known before they are read."""
    images = _learnt(run)
    return run.steps if images is None else run.length(images)


def epochs_of(run: Run) -> int | None:
    """Epochs that a run begins; None where that is not known before its images are read."""
    images = _learnt(run)
    if run.epochs is not None or images is None:
        return run.epochs
    return math.ceil(run.length(images) / (images // run.own_batch))


def _learnt(run: Run) -> int | None:
    """How many images a run learns from, without those that it holds out."""
    there, held_out = run.data.training_images, run.validation.images
    return None if there is None else there - (held_out if held_out > run.data.unused_images else 0)


def seconds_per_step(run: Run, device: torch.device) -> float:
    """Seconds of one optimiser step of this run on this machine, from one step after a warm-up.

    A large network on a slow machine is timed on a few images, in proportion.
    """
    trial, few = _Trial.of(run, device), min(_FEW, run.batch)
    trial.seconds(few)
    seconds = trial.seconds(few)
    if few == run.batch or seconds > _QUICK:
        return seconds * run.batch / few
    trial.seconds(run.batch)
    return trial.seconds(run.batch)


def timed_steps(run: Run, device: torch.device, steps: int) -> tuple[list[float], Passes]:
    """(seconds of each of so many optimiser steps with whole batches, after a warm-up; passes of the batch in a step)."""
    trial = _Trial.of(run, device)
    with counting(trial.model, run.batch) as passes:
        trial.seconds(run.batch)
    return [trial.seconds(run.batch) for _ in range(steps)], passes


@dataclass(frozen=True)
class _Trial:
    """A run's network, objective and optimiser, to be timed on made-up images."""

    run: Run
    device: torch.device
    model: Classifier
    step: Step
    optimizer: torch.optim.Optimizer

    @staticmethod
    def of(run: Run, device: torch.device) -> "_Trial":
        model = run.model.build(run.data.classes, run.data.shape[0])
        prepare(model, device, run.precision, run.layout, compiled=run.compile)
        return _Trial(run, device, model, Step(model, run.objective), run.optimizer.build(model))

    def seconds(self, n: int) -> float:
        """Of one step with n images."""
        noise = Noise.of_batch(n, device=self.device)
        x = noise.uniform(self.run.data.shape)
        y = noise.integers(self.run.data.classes, ())
        started = time.perf_counter()
        loss_of(self.step(x, y, noise)).backward()
        self.optimizer.step()
        _wait(self.device)
        return time.perf_counter() - started


def seconds_per_pass(run: Run, device: torch.device, precision: Precision) -> tuple[float, float]:
    """Seconds of (a forward, a backward) pass of one image through the run's network in that precision, as attacks make them.

    As with steps, the trial is of few images where a pass of these takes long, and else of a whole batch.
    """
    channels = run.data.shape[0]
    model = prepare(run.model.build(run.data.classes, channels), device, precision, run.layout)

    def seconds(n: int) -> tuple[float, float]:
        x = Noise.of_batch(n, device=device).uniform(run.data.shape).requires_grad_()
        for _ in range(2):  # the first is a warm-up
            started = time.perf_counter()
            logits = model(x)
            _wait(device)
            between = time.perf_counter()
            torch.autograd.grad(logits.sum(), x)
            _wait(device)
        return (between - started) / n, (time.perf_counter() - between) / n

    few = min(_FEW, run.batch)
    with frozen(model):
        found = seconds(few)
        return found if few == run.batch or few * sum(found) > _QUICK else seconds(run.batch)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
