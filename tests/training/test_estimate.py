"""What a run's steps and passes are estimated from: how many there are, and on how many images they are timed."""

import dataclasses

import pytest
import torch

from hardy.data.cifar import CIFAR10
from hardy.recipes import recipe
from hardy.training import estimate
from hardy.training.estimate import epochs_of, seconds_per_pass, steps_of
from training.fakes import tiny

SMALL = recipe("pgdat-cifar10-small")


@pytest.mark.parametrize(
    ("run", "steps", "epochs"),
    [
        (SMALL, 50 * (5_000 // 128), 50),  # its 500 held-out images are among the 45,000 unused ones
        (dataclasses.replace(SMALL, data=CIFAR10(first=49_800)), 50 * (49_300 // 128), 50),  # 200 unused are too few
        (recipe("infofeature-cifar10"), 120 * (49_000 // 128), 120),
        (recipe("rat-cifar10"), 80_000, 206),  # 390 steps an epoch
        (recipe("rat-imagenette"), 80_000, 1_096),  # 73 steps an epoch
    ],
)
def test_steps_and_epochs_are_of_the_images_that_are_left_to_learn_from(run, steps, epochs):
    assert (steps_of(run), epochs_of(run)) == (steps, epochs)


def test_a_run_whose_images_are_not_counted_before_has_the_length_it_was_given():
    unknown = tiny(epochs=2)
    assert unknown.data.training_images is None
    assert (steps_of(unknown), epochs_of(unknown)) == (None, 2)
    assert steps_of(dataclasses.replace(unknown, epochs=None, steps=7)) == 7


@pytest.mark.parametrize(("quick", "sizes"), [(1e9, [8, 32]), (0.0, [8])])
def test_a_quick_pass_is_timed_on_a_whole_batch_and_a_long_one_on_a_few_images(monkeypatch, quick, sizes):
    tried, of_batch = [], estimate.Noise.of_batch

    def recorded(n, **more):
        tried.append(n)
        return of_batch(n, **more)

    monkeypatch.setattr(estimate.Noise, "of_batch", recorded)
    monkeypatch.setattr(estimate, "_QUICK", quick)
    assert min(seconds_per_pass(tiny(epochs=1, batch=32), torch.device("cpu"), "float32")) > 0
    assert tried[-len(sizes) :] == sizes
