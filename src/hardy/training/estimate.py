"""How long a training step takes here, measured on a few made-up images."""

import time

import torch

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
        terms = step(x, y, noise)
        torch.stack(list(terms.values())).sum().backward()
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - started

    few = min(_FEW, run.batch)
    once(few)
    seconds = once(few)
    if few == run.batch or seconds > _QUICK:
        return seconds * run.batch / few
    once(run.batch)
    return once(run.batch)
