"""What the jobs of a table would take on this machine: a line for each, and the sum, from a few steps and passes measured now."""

import dataclasses
from collections.abc import Sequence
from functools import cache

import torch

from hardy.cli.console import err, out, table
from hardy.cli.train import duration
from hardy.describe import counted
from hardy.jobs import Analyse, Evaluate, Job, Time, Train
from hardy.training.estimate import hardware, seconds_per_pass, seconds_per_step, steps_of
from hardy.training.precision import Precision
from hardy.training.run import Run


def print_hours(jobs: Sequence[Job], on: torch.device) -> None:
    """List the jobs with the time that each would take, and what is left in all; jobs that cannot be timed are counted."""
    left = {job.name: seconds_of(job, on) for job in jobs if not job.done()}

    def told(name: str) -> str:
        cost = left.get(name, "done")
        return cost if isinstance(cost, str) else "not estimated" if cost is None else duration(cost)

    table(None, ("job", "at most"), [(job.name, told(job.name)) for job in jobs])
    costs = list(left.values())
    total, unknown = sum(cost or 0.0 for cost in costs), costs.count(None)
    without = f", without {counted(unknown, 'job')} not estimated" if unknown else ""
    out.print(f"\nabout {duration(total)} ({total / 3600:.1f} hours) one after another on {hardware(on)}{without}")


def seconds_of(job: Job, on: torch.device) -> float | None:
    """Seconds that a job would take from its beginning, with validation where it trains; None where that is not known."""
    match job:
        case Train(run=run):
            steps = steps_of(run)
            if steps is None:
                return None
            return steps * _step(_seedless(run), on) + _passes(job, run, on, run.precision)
        case Time(run=run):
            return (job.steps + 1) * _step(_seedless(run), on)
        case Evaluate(train=train, precision=precision):
            return _passes(job, train.run, on, precision)
        case Analyse(train=train):
            return _passes(job, train.run, on, "float32")
    return None


def _passes(job: Job, run: Run, on: torch.device, precision: Precision) -> float:
    """Seconds of the passes that a job makes through the run's network in that precision."""
    passes = job.passes
    if passes is None or passes == (0, 0):
        return 0.0
    forward, backward = _per_pass(_seedless(run), on, precision)
    return passes[0] * forward + passes[1] * backward


def _seedless(run: Run) -> Run:
    """The run whose times stand for those of all its seeds."""
    return dataclasses.replace(run, seed=0)


@cache
def _step(run: Run, on: torch.device) -> float:
    err.print(f"timing {run.name}")
    return seconds_per_step(run, on)


@cache
def _per_pass(run: Run, on: torch.device, precision: Precision) -> tuple[float, float]:
    return seconds_per_pass(run, on, precision)
