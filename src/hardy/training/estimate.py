"""How long a training step, or a pass of an attack, takes here, measured on a few made-up images."""

import time
from dataclasses import dataclass

import torch

from hardy.models.classifier import Classifier, frozen
from hardy.objectives.objective import loss_of
from hardy.randomness import Noise
from hardy.training.passes import Passes, counting
from hardy.training.precision import prepare
from hardy.training.run import Run
from hardy.training.step import Step

_FEW = 8  # images of the first trial
_QUICK = 1.0  # seconds: a trial that takes less is repeated with the whole batch


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


def seconds_per_pass(run: Run, device: torch.device) -> tuple[float, float]:
    """Seconds of (a forward, a backward) pass of one image through the run's network, in float32, as attacks make them."""
    channels = run.data.shape[0]
    model = prepare(run.model.build(run.data.classes, channels), device, "float32", run.layout)
    x = Noise.of_batch(_FEW, device=device).uniform(run.data.shape).requires_grad_()
    with frozen(model):
        for _ in range(2):  # the first is a warm-up
            started = time.perf_counter()
            logits = model(x)
            _wait(device)
            between = time.perf_counter()
            torch.autograd.grad(logits.sum(), x)
            _wait(device)
    return (between - started) / _FEW, (time.perf_counter() - between) / _FEW


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
