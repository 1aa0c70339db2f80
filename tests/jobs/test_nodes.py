"""What is checked of machines before the first job, with machines that are made up: each looks as it would be."""

import re
from pathlib import Path

import pytest

from hardy.errors import UsageError
from hardy.files import WriteError
from hardy.jobs.nodes import Node, check_nodes, looker

NODES = [Node("aa", "n1", 1, 0), Node("bb", "n2", 1, 0)]


def check(folder, change=lambda said: said, data_root=None, elsewhere=None):
    """Notes of a check in which n2's answer is changed, or n2 has another file system."""
    notes: list[str] = []

    def ask(node, look, given):
        shared, name, root = given
        if node.host == "n2" and elsewhere is not None:
            shared = str(elsewhere / Path(shared).name)
        said = look(shared, name, root)
        return change(said) if node.host == "n2" else said

    check_nodes(NODES, folder, data_root, ask, lambda asked, seconds: asked, notes.append)
    return notes


def refused(folder, **how) -> str:
    with pytest.raises(UsageError) as error:
        check(folder, **how)
    assert list(folder.iterdir()) == []
    return str(error.value)


def test_machines_that_see_the_same_files_and_have_the_same_hardy_are_fit(tmp_path):
    assert check(tmp_path / "jobs", data_root=tmp_path) == []
    assert list((tmp_path / "jobs").iterdir()) == []


def test_a_machine_with_a_file_system_of_its_own_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("hardy.jobs.nodes.LAG", 0)
    said = refused(tmp_path / "jobs", elsewhere=tmp_path / "other")
    assert (
        said
        == f"--out must lie on a file system that all machines see: {tmp_path / 'jobs'} is here, and n2 does not see it."
    )


def test_what_a_machine_writes_and_is_not_seen_here_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("hardy.jobs.nodes.LAG", 0)
    monkeypatch.setattr("hardy.jobs.nodes._is_left", lambda shared, name: name == "aa")
    assert "n2 writes what is not seen here" in refused(tmp_path / "jobs")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"code": "0", "hardy": "0.0.9"}, r"n2 has another hardy than this machine \(0\.0\.9 there, .+ here\)\."),
        ({"torch": None}, r"n2 has no torch; install hardy .+ there\."),
        ({"hardy": None, "torch": None}, r"n2 has no hardy and torch; install"),
        ({"data": False}, r"n2 does not see the data folder /data\."),
        ({"skew": 90.2}, r"The clock of n2 and that of the file system differ by 90 seconds\."),
        ({"wrong": "cannot write there: Read-only file system"}, r"n2 cannot write there: Read-only file system\."),
    ],
)  # fmt: skip
def test_a_machine_that_is_not_fit_is_named_with_the_reason(tmp_path, change, said):
    change = {"data": True, **change}
    found = refused(tmp_path / "jobs", change=lambda seen: seen | change, data_root=Path("/data"))
    assert re.search(said, found), found


def test_a_machine_that_does_not_answer_is_named(tmp_path):
    assert refused(tmp_path / "jobs", change=lambda said: None) == "n2 did not answer within 180 seconds."


def test_another_torch_is_a_remark(tmp_path):
    (note,) = check(tmp_path / "jobs", change=lambda said: said | {"torch": "1.0"})
    assert note.startswith("n2 has torch 1.0, and this machine ")


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(WriteError, match="could not be made"):
        check(tmp_path / "file" / "jobs")


def test_the_look_travels_by_value_so_that_a_machine_without_hardy_can_answer():
    cloudpickle = pytest.importorskip("ray.cloudpickle")
    assert b"read_text" in cloudpickle.dumps(looker())
