"""Jobs of training: a run is found again in its folder, whatever id an older version gave it; and which weights are measured."""

import json

import pytest

from hardy.attacks import PGD, AutoAttack, Linf, Square
from hardy.describe import fingerprint
from hardy.errors import UsageError
from hardy.files import digest
from hardy.jobs import Analyse, Evaluate, Place, Train
from hardy.jobs.job import passes_of
from hardy.jobs.studies import Sensitivity
from hardy.training.progress import Watch
from hardy.training.run import Validation
from training.fakes import tiny

RUN = tiny(name="a [run]", epochs=1)


@pytest.fixture
def job(tmp_path) -> Train:
    made = Train(RUN, str(tmp_path))
    made.execute(Place(device="cpu"), Watch())
    return made


def test_a_trained_run_is_done_in_a_folder_with_name_seed_and_id(job, tmp_path):
    assert job.folder == tmp_path / f"a [run]-seed0-{fingerprint(RUN)[:6]}"
    assert job.done()
    assert not Train(tiny(name="a [run]", epochs=2), str(tmp_path)).done()


def test_a_run_of_a_version_with_fewer_settings_is_found_by_its_settings(job, tmp_path):
    told = json.loads((job.folder / "run.json").read_text())
    del told["run"]["micro_batch"]
    (job.folder / "run.json").write_text(json.dumps(told))
    older = job.folder.rename(tmp_path / "a [run]-seed0-000000")
    (tmp_path / "a [run]-seed0-111111").mkdir()  # no run at all
    assert job.folder == older
    assert job.done()
    other = Train(tiny(name="a [run]", epochs=2), str(tmp_path))
    assert other.folder.name not in (older.name, "a [run]-seed0-111111")


def test_a_folder_whose_description_is_gone_is_not_done(job):
    (job.folder / "run.json").unlink()
    assert not job.done()


def test_best_weights_are_measured_apart_from_the_last_ones(tmp_path):
    held_out = Validation(images=4, attack=PGD(Linf(0.1), 1))
    train, place = Train(tiny(name="a", epochs=3, validation=held_out), str(tmp_path)), Place(device="cpu")
    train.execute(place, Watch())
    last, best = Evaluate(train, "clean", None, 4), Evaluate(train, "clean", None, 4, which="best")
    assert (last.name, best.name) == (f"evaluate-{train.folder.name}-clean", f"evaluate-{train.folder.name}-best-clean")
    last.execute(place, Watch())
    assert last.done()
    assert not best.done()
    best.execute(place, Watch())
    study = Analyse(train, Sensitivity(4, exponents=(1.2,)), "best")
    study.execute(place, Watch())
    assert study.file.name.startswith("sensitivity-best-")
    for row in (best.result(), *(study.result() or ())):
        assert row.settings["weights"] == "best"
        assert row.settings["weights sha256"] == digest(train.folder / "best.safetensors")


def test_queries_of_square_have_no_backward_passes():
    ball = Linf(0.1)
    assert passes_of(Square(ball, queries=50), 10) == (500, 0)
    assert passes_of(AutoAttack(ball), 10)[1] <= 10 * (100 + 9 * 100 + 9 * 100)


def test_best_weights_of_a_run_that_holds_nothing_out_are_not_done_and_say_so(job):
    best = Evaluate(job, "clean", None, 4, which="best")
    Evaluate(job, "clean", None, 4).execute(Place(device="cpu"), Watch())
    assert not best.done()
    assert not Analyse(job, Sensitivity(4, exponents=(1.2,)), "best").done()
    with pytest.raises(UsageError, match=r"has no best\.safetensors; it has last weights"):
        best.execute(Place(device="cpu"), Watch())
