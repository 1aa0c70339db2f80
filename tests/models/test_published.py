"""Published networks: as they were published, with all that is told about them."""

import json
import shutil
from pathlib import Path

import pytest

import hardy
from hardy.describe import rebuild
from hardy.errors import UsageError
from hardy.files import digest
from hardy.models import published as networks
from hardy.models import small_cnn
from hardy.models.checkpoints import find_weights, read_weights, save_weights
from hardy.models.published import about, find, published
from hardy.randomness import Noise
from hardy.results import Measurement
from hardy.training.run import Run

LARGEST = 3_000_000  # bytes


@pytest.fixture
def one(tmp_path, monkeypatch):
    """A folder of published networks with a single one, named toy."""
    file = tmp_path / "published" / "toy.safetensors"
    save_weights(file, small_cnn(2).build(4, 1).state_dict(), small_cnn(2), 4, 1, {})
    file.with_suffix(".json").write_text(json.dumps({"measured": [], "sha256": digest(file)}))
    monkeypatch.setattr(networks, "FOLDER", file.parent)
    monkeypatch.chdir(tmp_path)
    return file


def test_a_network_is_loaded_by_its_name(one):
    assert published() == ["toy"]
    assert find("toy") == one
    model = hardy.load("toy")
    assert model(Noise.of_batch(2).uniform((1, 8, 8))).shape == (2, 4)
    assert not model.training


def test_a_file_or_folder_of_the_users_comes_before_a_published_name(one, tmp_path):
    shutil.copy(one, tmp_path / "toy")
    assert find_weights(tmp_path / "toy") == (tmp_path / "toy", None)
    assert find_weights(Path("toy")) == (Path("toy"), None)


def test_a_file_that_is_not_as_it_was_published_is_refused(one):
    content = bytearray(one.read_bytes())
    content[-5] ^= 1
    one.write_bytes(content)
    with pytest.raises(UsageError, match="is not the file that was published: its SHA-256 must be"):
        hardy.load("toy")
    one.unlink()
    with pytest.raises(UsageError, match="is not the file that was published"):
        hardy.load("toy")


@pytest.mark.parametrize("told", ["", "{", "[]", '{"measured": []}', "\udcff"])
def test_what_is_told_of_a_network_is_refused_by_name_where_it_is_damaged(one, told):
    one.with_suffix(".json").write_text(told, errors="surrogateescape")
    with pytest.raises(UsageError, match=r"toy\.json is damaged: it does not tell about a published network"):
        hardy.load("toy")


def test_a_name_that_is_none_is_refused_with_the_nearest(one):
    with pytest.raises(
        UsageError, match=r"no weights file toys, nor a folder of that name. Of the published networks, did you"
    ):
        hardy.load("toys")
    with pytest.raises(UsageError, match="no published network named 'toys'; did you mean toy"):
        about("toys")
    with pytest.raises(UsageError, match="The last weights were asked for"):
        hardy.load("toy", "last")


@pytest.mark.parametrize("name", published())
def test_what_the_package_publishes_is_small_whole_and_described(name):
    file, told = find(name), about(name)
    assert file.stat().st_size < LARGEST
    run = rebuild(told["run"], Run)
    _, header = read_weights(file)
    assert header["run"] == run.name
    assert header["step"] == header["steps"] == told["trained"]["steps"]
    model = hardy.load(name)
    assert not model.training
    made = run.model.build(header["classes"], header["channels"])
    assert model.state_dict().keys() == made.state_dict().keys()
    rows = [Measurement(**row) for row in told["measured"]]
    assert {row.what for row in rows} >= {"clean accuracy"}
    for row in rows:
        assert row.settings["weights sha256"] == told["sha256"]
        assert row.low <= row.value <= row.high
    assert "/" not in told["trained"]["origin"].replace("8/255", "")
