"""The job of diagnosing a trained run: done once, known again, and made anew for other weights."""

import dataclasses
import json

import pytest

from hardy.attacks import Linf
from hardy.describe import describe, rebuild
from hardy.evaluation.diagnosis import Plan
from hardy.jobs import Diagnose, Job, Place, Train
from hardy.training.progress import Watch
from training.fakes import tiny

FEW = Plan(images=3, apgd_t_steps=2, fab_steps=2, target_classes=1, square_queries=3, nattack_images=0)


@pytest.fixture
def job(tmp_path) -> Diagnose:
    return Diagnose(Train(tiny(epochs=1), str(tmp_path)), Linf(0.1), FEW)


def execute(job: Job) -> list[str]:
    notes: list[str] = []
    job.execute(Place(device="cpu"), Watch(note=notes.append))
    return notes


def test_a_diagnosis_is_made_of_a_trained_run_and_found_again(job):
    assert job.needs == (job.train,)
    assert not job.done()
    execute(job.train)
    assert not job.done()
    notes = execute(job)
    assert any(note.startswith("PGD-20: ") for note in notes)
    said = job.result()
    assert said is not None
    assert said["verdict"] in ("masked", "suspicious", "no sign")
    assert (said["n"], said["ball"], said["surrogate"]) == (3, "Linf 0.1", None)
    assert len(said["signs"]) == 14
    again = rebuild(json.loads(json.dumps(describe(job))), Diagnose)
    assert again == job
    assert again.result() == said


def test_another_ball_or_plan_is_another_diagnosis(job):
    others = [
        dataclasses.replace(job, ball=Linf(0.2)),
        dataclasses.replace(job, plan=dataclasses.replace(FEW, images=4)),
    ]
    assert len({one.file for one in (job, *others)}) == 3
    assert len({one.name for one in (job, *others)}) == 3


@pytest.mark.parametrize(
    "damage", [lambda text: text[:50], lambda text: text.replace('"weights sha256": "', '"weights sha256": "0')]
)
def test_a_torn_file_or_one_of_other_weights_is_no_diagnosis(job, damage):
    execute(job.train)
    execute(job)
    job.file.write_text(damage(job.file.read_text()))
    assert job.result() is None
    assert not job.done()
