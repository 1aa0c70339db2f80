"""Run: its length, what it refuses, and its description."""

import dataclasses
import json

import pytest

from hardy.attacks import PGD, Linf
from hardy.describe import describe, fingerprint, rebuild
from hardy.errors import UsageError
from hardy.objectives import AWP, FeatureMatching, FeatureScatterAT, InterpolationAT
from hardy.training.average import EMA
from hardy.training.run import Run, Validation
from training.fakes import tiny


def test_epochs_count_whole_batches_and_steps_count_themselves():
    assert tiny(epochs=3, batch=8).length(26) == 9
    assert tiny(epochs=3, batch=13).length(26) == 6
    assert tiny(epochs=None, steps=7, batch=8).length(26) == 7
    assert tiny(epochs=1, batch=26).length(26) == 1


@pytest.mark.parametrize("length", [{"epochs": 3}, {"epochs": None, "steps": 7}])
def test_a_batch_larger_than_the_training_images_is_refused(length):
    with pytest.raises(UsageError, match="batch is 27; it must be at most the number of training images, 26"):
        tiny(batch=27, **length).length(26)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"epochs": 3, "steps": 3}, "given as one of them"),
        ({"epochs": None}, "given as one of them"),
        ({"epochs": 0}, "length is 0; it must be at least 1"),
        ({"epochs": None, "steps": -5}, "length is -5"),
        ({"batch": 0}, "batch is 0"),
        ({"micro_batch": 0}, "micro_batch is 0; it must be in 1..8, or None"),
        ({"micro_batch": 9}, "micro_batch is 9; it must be in 1..8, or None"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 2**32}, r"seed is 4294967296; it must be in \[0, 2\*\*32\)"),
    ],
)
def test_settings_out_of_range_are_refused(changes, said):
    with pytest.raises(UsageError, match=said):
        tiny(**changes)


@pytest.mark.parametrize("one", [FeatureScatterAT(), InterpolationAT(), FeatureMatching(), AWP()])
def test_methods_that_look_at_a_batch_together_refuse_parts_of_it(one):
    name = type(one).__name__
    with pytest.raises(
        UsageError, match=f"micro_batch is 4; {name} looks at the images of a batch together, and takes only"
    ):
        tiny(objective=one, micro_batch=4)
    assert tiny(objective=one, micro_batch=8).micro_batch == 8
    assert tiny(objective=one).micro_batch is None


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (lambda: Validation(images=-1), "validation.images is -1; it must be at least 0"),
        (lambda: Validation(every=0), "validation.every is 0; it must be at least 1 epoch"),
    ],
)
def test_a_validation_out_of_range_is_refused(bad, said):
    with pytest.raises(UsageError, match=said):
        bad()


def test_a_run_is_rebuilt_equal_from_json_and_every_setting_is_part_of_its_id():
    run = tiny(average=EMA(), validation=Validation(4, 2, PGD(Linf(0.2), 3)), seed=5)
    again = rebuild(json.loads(json.dumps(describe(run))), Run)
    assert again == run
    assert fingerprint(again) == fingerprint(run)
    other = {
        "name": "other",
        "epochs": 4,
        "batch": 9,
        "average": None,
        "precision": "bfloat16",
        "seed": 6,
        "compile": True,
    }
    ids = {fingerprint(dataclasses.replace(run, **{key: value})) for key, value in other.items()}
    assert len(ids | {fingerprint(run)}) == len(other) + 1
