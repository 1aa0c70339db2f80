"""How long a training step, or a pass of an attack, takes here, measured on a few made-up images."""

import time

import torch

from hardy.models.classifier import frozen
from hardy.objectives.objective import loss_of
from hardy.randomness import Noise
from hardy.training.precision import prepare
from hardy.training.run import Run
from hardy.training.step import Step

_FEW = 8  # images of the first trial
_QUICK = 1.0  # seconds: a trial that takes less is repeated with the whole batch


def seconds_per_step(run: Run, device: torch.device) -> float:
    """Seconds of one optimiser step of this run on this machine, from one step after a warm-up.

    A large network on a slow machine is timed on a few images, in proportion.
    """
    channels = run.data.shape[0]
    model = run.model.build(run.data.classes, channels)
    prepare(model, device, run.precision, run.layout, compiled=run.compile)
    step, optimizer = Step(model, run.objective), run.optimizer.build(model)

    def once(n: int) -> float:
        noise = Noise.of_batch(n, device=device)
        x = noise.uniform(run.data.shape)
        y = noise.integers(run.data.classes, ())
        started = time.perf_counter()
        loss_of(step(x, y, noise)).backward()
        optimizer.step()
        _wait(device)
        return time.perf_counter() - started

    few = min(_FEW, run.batch)
    once(few)
    seconds = once(few)
    if few == run.batch or seconds > _QUICK:
        return seconds * run.batch / few
    once(run.batch)
    return once(run.batch)


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
