"""Jobs of training: a run is found again in its folder, whatever id an older version gave it."""

import json

import pytest

from hardy.describe import fingerprint
from hardy.jobs import Place, Train
from hardy.training.loop import Watch
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
