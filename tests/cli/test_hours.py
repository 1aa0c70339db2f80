"""The hours that a table's jobs would take: what is counted of each, and what is said of those that are not."""

import dataclasses

import pytest
import torch

from hardy.attacks import PGD, Linf
from hardy.cli import hours
from hardy.evaluation.diagnosis import Plan
from hardy.jobs import Diagnose, Evaluate, Time, Train
from hardy.jobs.studies import Sensitivity
from hardy.jobs.study import Analyse
from hardy.recipes import recipe

CPU = torch.device("cpu")
TRAIN = Train(recipe("pgdat-cifar10-small"), "nowhere")


@pytest.fixture(autouse=True)
def known_times(monkeypatch):
    """A step takes a thousand seconds, a forward pass one, a backward pass three; in bfloat16 half of that."""
    hours._step.cache_clear()
    hours._per_pass.cache_clear()
    monkeypatch.setattr(hours, "seconds_per_step", lambda run, on: 1000.0)
    monkeypatch.setattr(
        hours, "seconds_per_pass", lambda run, on, precision: (0.5, 1.5) if precision == "bfloat16" else (1.0, 3.0)
    )
    yield
    hours._step.cache_clear()
    hours._per_pass.cache_clear()


def test_a_training_has_its_steps_and_its_validation():
    # each epoch, 500 images: clean 1; one step 1, 1 back; PGD 10, 10 back; 1 for each of the two verdicts
    validation = 50 * 500 * (1 + 11 + 2 + 3 * 11)
    assert hours.seconds_of(TRAIN, CPU) == 50 * 39 * 1000 + validation
    low = Train(dataclasses.replace(TRAIN.run, precision="bfloat16"), "nowhere")
    assert hours.seconds_of(low, CPU) == 50 * 39 * 1000 + validation / 2
    seldom = dataclasses.replace(TRAIN.run, validation=dataclasses.replace(TRAIN.run.validation, every=20))
    assert hours.seconds_of(Train(seldom, "nowhere"), CPU) == 50 * 39 * 1000 + validation * 3 / 50
    assert hours.seconds_of(Train(recipe("rat-cifar10"), "nowhere"), CPU) == 80_000 * 1000  # nothing is held out


def test_measurements_have_their_passes_and_timings_their_steps():
    attacked = Evaluate(TRAIN, "pgd-20", PGD(Linf(8 / 255), 20), 100)
    assert hours.seconds_of(attacked, CPU) == 100 * (20 + 2) + 3 * 100 * 20
    assert (
        hours.seconds_of(dataclasses.replace(attacked, precision="bfloat16"), CPU)
        == (100 * (20 + 2) + 3 * 100 * 20) / 2
    )
    assert hours.seconds_of(Evaluate(TRAIN, "clean", None, 100), CPU) == 100
    assert hours.seconds_of(Analyse(TRAIN, Sensitivity(10, shifts=(0.1,))), CPU) == 10 + 3 * 10
    assert hours.seconds_of(Time(TRAIN.run, "nowhere", 5), CPU) == 6 * 1000


def test_jobs_that_are_not_estimated_are_told_of_beside_the_sum(capsys, tmp_path):
    train = Train(TRAIN.run, str(tmp_path))
    jobs = [train, *(Diagnose(train, Linf(0.1), Plan(images=n)) for n in (1, 2))]
    hours.print_hours(jobs, CPU)
    said = capsys.readouterr().out
    assert said.count("not estimated") == 3
    assert "one after another on" in said
    assert said.rstrip().endswith(", without 2 jobs not estimated")
    hours.print_hours(jobs[:1], CPU)
    assert "not estimated" not in capsys.readouterr().out
