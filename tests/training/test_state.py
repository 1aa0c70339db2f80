"""A run's folder: whole checkpoints or none, whatever was damaged, and nothing touched that is not the run's."""

import dataclasses
import json
import os

import pytest
import torch

from hardy import files
from hardy.attacks import PGD
from hardy.errors import FailedError, UsageError
from hardy.models import small_cnn
from hardy.models.checkpoints import load
from hardy.objectives import PGDAT, RolledPGDAT, Standard
from hardy.randomness import Noise
from hardy.training.average import EMA
from hardy.training.optim import SGD, Adam, Piecewise
from hardy.training.record import read_metrics, read_run
from hardy.training.state import Checkpoint, Folder
from training.fakes import same, tiny, weights


def folder(path, run=None) -> Folder:
    return Folder(path, run or tiny(), (1, 8, 8), "abcd", {"device": "cpu"})


def network(step: int = 0):
    return tiny().model.build(4, 1, Noise.of_batch(1, step))


def point(step: int, *, average: bool = False, best: dict | None = None) -> Checkpoint:
    """A checkpoint whose every number depends on the step."""
    model = network(step)
    optimizer = torch.optim.Adam(model.parameters(), lr=step / 100)
    model(torch.ones(2, 1, 8, 8) * step / 100).square().sum().backward()
    optimizer.step()
    state = EMA().start(network(step + 1)) if average else None
    return Checkpoint(step, model.state_dict(), optimizer.state_dict(), state, [{"loss": step / 3}], best)


def equal(a: Checkpoint, b: Checkpoint) -> bool:
    moments = [
        torch.equal(a.optimizer["state"][i][name], b.optimizer["state"][i][name])
        for i in b.optimizer["state"]
        for name in ("exp_avg", "exp_avg_sq", "step")
    ]
    averages = same(a.average, b.average) if a.average and b.average else a.average is b.average
    return (
        all(moments)
        and averages
        and same(a.weights, b.weights)
        and (a.step, a.pending, a.best) == (b.step, b.pending, b.best)
        and a.optimizer["param_groups"] == b.optimizer["param_groups"]
    )


def names(path) -> set[str]:
    return {file.name for file in path.iterdir()}


PAIR = ("safetensors", "state.pt")
either_file = pytest.mark.parametrize("ending", PAIR)


# what is written


def test_a_new_folder_says_all_about_its_run(tmp_path):
    folder(tmp_path / "deep" / "run")
    told = json.loads((tmp_path / "deep" / "run" / "run.json").read_text())
    assert read_run(tmp_path / "deep" / "run") == tiny()
    assert (told["classes"], told["shape"], told["device"]) == (4, [1, 8, 8], "cpu")
    assert told["torch"] == torch.__version__
    assert {"id", "hardy", "commit", "python", "started", "machine", "threads"} <= told.keys()
    assert names(tmp_path / "deep" / "run") == {"run.json"}


@pytest.mark.parametrize("average", [False, True])
def test_a_checkpoint_comes_back_equal(tmp_path, average):
    folder(tmp_path).commit(point(7, average=average))
    assert equal(folder(tmp_path).newest(), point(7, average=average))
    assert not equal(
        folder(tmp_path).newest(), dataclasses.replace(point(7, average=average), weights=point(8).weights)
    )


def test_what_users_load_is_the_average_where_there_is_one(tmp_path):
    made = folder(tmp_path)
    made.commit(point(3))
    assert same(weights(tmp_path / "last.safetensors"), point(3).weights)
    made.commit(point(4, average=True))
    assert same(weights(tmp_path / "last.safetensors"), point(4, average=True).average)
    assert same(load(tmp_path).state_dict(), point(4, average=True).average)


def test_the_state_file_needs_no_trust(tmp_path):
    folder(tmp_path).commit(point(3, average=True))
    state = torch.load(tmp_path / "checkpoints" / "step-00000003.state.pt", weights_only=True)
    assert state["step"] == 3
    assert state["digest"] == files.digest(tmp_path / "checkpoints" / "step-00000003.safetensors")


def test_only_the_two_newest_pairs_are_kept(tmp_path):
    made = folder(tmp_path)
    for step in (1, 2, 9, 10, 100_000_000):
        made.commit(point(step))
    kept = {f"step-{step}.{ending}" for step in ("00000010", "100000000") for ending in PAIR}
    assert names(tmp_path / "checkpoints") == kept
    assert made.last_step() == 100_000_000


def test_the_best_weights_stay_as_long_as_a_checkpoint_names_them(tmp_path):
    made = folder(tmp_path)
    first = made.save_best(1, 0.2, point(1).weights)
    assert not (tmp_path / "best.safetensors").exists()
    made.commit(point(1, best=first))
    assert same(weights(tmp_path / "best.safetensors"), point(1).weights)
    second = made.save_best(2, 0.3, point(2).weights)
    made.commit(point(2, best=second))
    assert same(weights(tmp_path / "best.safetensors"), point(2).weights)
    assert {first["file"], second["file"]} <= names(tmp_path / "checkpoints")
    made.commit(point(3, best=second))
    assert {name for name in names(tmp_path / "checkpoints") if name.startswith("best")} == {second["file"]}
    assert made.newest().best == {**second, "value": 0.3, "step": 2}


def test_a_checkpoint_whose_state_was_never_written_does_not_count(tmp_path, monkeypatch):
    made = folder(tmp_path)
    made.commit(point(1))

    def killed(path, content):
        raise KeyboardInterrupt

    monkeypatch.setattr("hardy.training.state.write_bytes", killed)
    with pytest.raises(KeyboardInterrupt):
        made.commit(point(2))
    assert "step-00000002.safetensors" in names(tmp_path / "checkpoints")
    assert equal(folder(tmp_path).newest(), point(1))


def test_what_users_load_is_brought_up_to_the_checkpoint_if_a_kill_came_between(tmp_path, monkeypatch):
    made = folder(tmp_path)
    made.commit(point(1))
    with monkeypatch.context() as patch:
        patch.setattr(Folder, "_publish", lambda self, point: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            made.commit(point(2))
    assert same(weights(tmp_path / "last.safetensors"), point(1).weights)
    assert equal(folder(tmp_path).newest(), point(2))
    assert same(weights(tmp_path / "last.safetensors"), point(2).weights)


# what is damaged


def _damage(path, how: str) -> None:
    content = path.read_bytes()
    if how == "missing":
        path.unlink()
    elif how == "empty":
        path.write_bytes(b"")
    elif how.startswith("cut"):
        path.write_bytes(content[: int(len(content) * float(how.split()[1]))])
    elif how == "one byte short":
        path.write_bytes(content[:-1])
    elif how == "longer":
        path.write_bytes(content + b"\0")
    elif how.startswith("flip"):
        place = int((len(content) - 1) * float(how.split()[1]))
        path.write_bytes(content[:place] + bytes([content[place] ^ 16]) + content[place + 1 :])
    else:
        path.write_bytes(b"<html>not found</html>")
    assert not path.exists() or path.read_bytes() != content


HOW = ["missing", "empty", "cut 0.1", "cut 0.5", "cut 0.9", "one byte short", "another file"]


@either_file
@pytest.mark.parametrize("how", [*HOW, *(f"flip {share}" for share in (0, 0.3, 0.6, 0.9, 1))])
def test_a_run_goes_on_from_the_checkpoint_before_a_damaged_one(tmp_path, ending, how):
    made = folder(tmp_path)
    made.commit(point(4))
    made.commit(point(8))
    _damage(tmp_path / "checkpoints" / f"step-00000008.{ending}", how)
    found = folder(tmp_path).newest()
    # a state file is an archive with padding, where a flipped bit harms nothing
    harmless = how.startswith("flip") and ending == "state.pt" and equal(found, point(8))
    assert harmless or equal(found, point(4))
    assert same(weights(tmp_path / "last.safetensors"), found.weights)


def test_no_flipped_byte_of_a_state_file_changes_what_a_run_goes_on_from(tmp_path):
    made = folder(tmp_path)
    made.commit(point(4))
    made.commit(point(8))
    file = tmp_path / "checkpoints" / "step-00000008.state.pt"
    content, back = file.read_bytes(), 0
    for place in range(0, len(content), max(1, len(content) // 150)):
        file.write_bytes(content[:place] + bytes([content[place] ^ 0x40]) + content[place + 1 :])
        found = made._read(8)
        assert found is None or equal(found, point(8))
        back += found is None
    assert back > 50


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[(field, value) for field in ("optimizer", "average", "pending", "best") for value in (3, "x", [1], {"a": 1})],
        ("optimizer", {"state": {0: {"exp_avg": 1}}, "param_groups": []}),
        ("average", {}),
        ("pending", [{"loss": "x"}]),
    ],
)
def test_a_run_goes_on_from_the_checkpoint_before_one_of_other_kinds(tmp_path, field, value):
    made = folder(tmp_path)
    made.commit(point(4))
    made.commit(point(8))
    file = tmp_path / "checkpoints" / "step-00000008.state.pt"
    torch.save({**torch.load(file, weights_only=True), field: value}, file)
    assert equal(folder(tmp_path).newest(), point(4))


def test_best_weights_of_a_value_that_is_no_number_are_none_to_go_on_from(tmp_path):
    made = folder(tmp_path)
    made.commit(point(4))
    made.commit(point(8, best=made.save_best(8, 0.5, point(8).weights) | {"value": "x"}))
    assert equal(folder(tmp_path).newest(), point(4))


def test_a_run_whose_checkpoints_are_all_damaged_has_none_and_keeps_its_rows(tmp_path):
    made = folder(tmp_path)
    made.commit(point(4))
    made.commit(point(8))
    made.log({"kind": "train", "step": 4})
    for step in (4, 8):
        _damage(tmp_path / "checkpoints" / f"step-0000000{step}.safetensors", "cut 0.5")
    with pytest.raises(UsageError, match="holds weights of step 8 of this run, but no whole checkpoint"):
        folder(tmp_path).newest()
    assert len(read_metrics(tmp_path)) == 1
    assert folder(tmp_path).last_step() is None


def test_the_users_own_files_in_a_runs_folder_stay(tmp_path):
    made = folder(tmp_path)
    made.commit(point(1))
    mine = [tmp_path / ".notes.partial", tmp_path / "checkpoints" / "best-mine.safetensors"]
    for file in mine:
        file.write_text("mine")
    (tmp_path / ".rsync.partial").mkdir()
    half = tmp_path / "checkpoints" / ".step-00000002.state.pt.x1.partial"
    half.write_text("half")
    folder(tmp_path).commit(point(2))
    assert [file.read_text() for file in mine] == ["mine", "mine"]
    assert not half.exists()


def test_a_damaged_newer_checkpoint_does_not_push_out_the_ones_a_run_makes_on_the_way_there(tmp_path):
    made = folder(tmp_path)
    for step in (4, 8):
        made.commit(point(step))
    _damage(tmp_path / "checkpoints" / "step-00000008.safetensors", "cut 0.5")
    for step in (5, 6):
        made.commit(point(step))
    assert names(tmp_path / "checkpoints") == {f"step-0000000{step}.{ending}" for step in (5, 6) for ending in PAIR}
    _damage(tmp_path / "checkpoints" / "step-00000006.state.pt", "cut 0.5")
    assert equal(folder(tmp_path).newest(), point(5))


@pytest.mark.parametrize("how", ["missing", "cut 0.5", "flip 0.5"])
def test_damaged_best_weights_are_restored_from_the_copy_for_users(tmp_path, how):
    made = folder(tmp_path)
    best = made.save_best(2, 0.3, point(2).weights)
    made.commit(point(2, best=best))
    made.commit(point(3, best=best))
    _damage(tmp_path / "checkpoints" / best["file"], how)
    assert equal(folder(tmp_path).newest(), point(3, best=best))
    assert files.digest(tmp_path / "checkpoints" / best["file"]) == best["digest"]
    assert same(weights(tmp_path / "best.safetensors"), point(2).weights)


def test_a_run_goes_on_from_before_best_weights_that_are_damaged_in_both_places(tmp_path):
    made = folder(tmp_path)
    first = made.save_best(2, 0.2, point(2).weights)
    made.commit(point(2, best=first))
    second = made.save_best(3, 0.3, point(3).weights)
    made.commit(point(3, best=second))
    for file in (tmp_path / "best.safetensors", tmp_path / "checkpoints" / second["file"]):
        _damage(file, "cut 0.5")
    assert equal(folder(tmp_path).newest(), point(2, best=first))
    assert same(weights(tmp_path / "best.safetensors"), point(2).weights)


def test_a_checkpoint_of_another_run_under_this_name_does_not_count(tmp_path):
    made = folder(tmp_path)
    for step in (1, 2):
        made.commit(point(step))
    checkpoints = tmp_path / "checkpoints"
    (checkpoints / "step-00000002.safetensors").write_bytes((checkpoints / "step-00000001.safetensors").read_bytes())
    assert equal(folder(tmp_path).newest(), point(1))


# metrics


def test_rows_after_the_checkpoint_and_a_torn_last_line_are_dropped(tmp_path):
    made = folder(tmp_path)
    made.commit(point(4))
    for step in (2, 4, 5):
        made.log({"kind": "train", "step": step, "loss": step / 7})
    whole = (tmp_path / "metrics.jsonl").read_text().splitlines(keepends=True)
    for torn in ('{"kind": "train", "step": 4, "lo', '{"kind": "train"', "{", "3", "\n\n"):
        (tmp_path / "metrics.jsonl").write_text("".join(whole) + torn)
        folder(tmp_path).newest()
        assert (tmp_path / "metrics.jsonl").read_text() == "".join(whole[:2])


def test_rows_are_read_without_the_torn_ones(tmp_path):
    (tmp_path / "metrics.jsonl").write_bytes(b'{"step": 1}\n{"step": 2, "a\xff\n[1]\n{"step": "x"}\n{"step": 3}\n{"st')
    assert read_metrics(tmp_path) == [{"step": 1}, {"step": 3}]


# whose folder it is


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"optimizer": Adam(lr=0.5)}, r"optimizer\.lr \(0\.01 there, 0\.5 given\)"),
        ({"seed": 3}, r"seed \(0 there, 3 given\)"),
        ({"average": EMA()}, r"average\.decay \(None there, 0\.995 given\)"),
        ({"model": small_cnn(3)}, r"model\.width \(2 there, 3 given\)"),
        ({"epochs": None, "steps": 9}, r"epochs \(3 there, None given\); steps \(None there, 9 given\)"),
        ({"objective": Standard()}, r"objective\.attack\.steps \(2 there, None given\)"),
        ({"objective": RolledPGDAT(tiny().objective.attack)}, "other classes of settings"),
        ({"optimizer": SGD(), "objective": PGDAT(PGD(steps=9)), "seed": 4, "batch": 5}, "; and [0-9]+ more"),
    ],
)
def test_other_settings_are_refused_and_named(tmp_path, given, said):
    folder(tmp_path).commit(point(1))
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    with pytest.raises(UsageError, match=said):
        folder(tmp_path, tiny(**given))
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before


def test_a_list_in_place_of_a_tuple_is_no_other_setting(tmp_path):
    folder(tmp_path, tiny(optimizer=SGD(lr=1, schedule=Piecewise([0.5, 0.75]))))
    assert read_run(tmp_path) == folder(tmp_path, tiny(optimizer=SGD(lr=1.0))).run


def test_a_folder_with_other_files_is_refused_and_untouched(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    (tmp_path / ".thesis.tex.swp.partial").write_text("mine too")
    with pytest.raises(UsageError, match=r"holds files but no run\.json; name a new or empty folder"):
        folder(tmp_path)
    assert names(tmp_path) == {"thesis.tex", ".thesis.tex.swp.partial"}
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_a_file_in_place_of_the_folder_is_refused_and_untouched(tmp_path):
    (tmp_path / "run").write_text("mine")
    with pytest.raises(UsageError, match="is a file"):
        folder(tmp_path / "run")
    assert (tmp_path / "run").read_text() == "mine"


def test_a_run_killed_while_it_wrote_its_very_first_file_can_be_started_again(tmp_path):
    (tmp_path / ".run.json.abc123.partial").write_text('{"run"')
    folder(tmp_path)
    assert names(tmp_path) == {"run.json"}


@pytest.mark.parametrize("content", ["", '{"run": {"type": "R', "[]", '{"id": 3}', "\x00\x01"])
def test_a_damaged_run_json_is_refused_and_nothing_overwritten(tmp_path, content):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(UsageError, match=r"run\.json is damaged"):
        folder(tmp_path)
    assert (tmp_path / "run.json").read_text() == content


def test_a_folder_without_run_json_is_not_a_runs(tmp_path):
    with pytest.raises(UsageError, match=r"has no run\.json; it is not the folder of a run"):
        read_run(tmp_path)


def test_leftover_partial_files_are_removed_and_nothing_else(tmp_path):
    made = folder(tmp_path)
    for step in (1, 2):
        made.commit(point(step))
    before = names(tmp_path), names(tmp_path / "checkpoints")
    others = [
        "notes.txt",
        ".hidden",
        "plot.partial",
        "checkpoints/step-backup.safetensors",
        "checkpoints/step-1.state.pt",
        "checkpoints/mine.pt",
    ]
    partial = [".last.safetensors.x1.partial", "checkpoints/.step-00000003.safetensors.y2.partial"]
    for name in (*others, *partial):
        (tmp_path / name).write_text("x")
    again = folder(tmp_path)
    assert equal(again.newest(), point(2))
    again.commit(point(3))
    assert all((tmp_path / name).read_text() == "x" for name in others)
    assert not any((tmp_path / name).exists() for name in partial)
    assert names(tmp_path) == before[0] | {"notes.txt", ".hidden", "plot.partial"}


# a full disk


@either_file
def test_a_full_disk_is_a_sentence_and_leaves_the_checkpoint_before(tmp_path, monkeypatch, ending):
    made = folder(tmp_path)
    made.commit(point(1))
    full = f"step-00000002.{ending}"
    sync = files._sync

    def refuse(path):
        if full in path.name:
            raise OSError(28, os.strerror(28))
        sync(path)

    monkeypatch.setattr(files, "_sync", refuse)
    with pytest.raises(FailedError, match=rf"{full} could not be written: No space left on device"):
        made.commit(point(2))
    monkeypatch.undo()
    assert not any(name.startswith(".") for name in names(tmp_path / "checkpoints"))
    assert equal(folder(tmp_path).newest(), point(1))


@pytest.mark.parametrize("bytes_left", [1_000, 4_000, 8_000])
def test_files_that_may_not_grow_large_enough_are_a_sentence_too(tmp_path, bytes_left):
    resource = pytest.importorskip("resource")
    made = folder(tmp_path, tiny())
    made.commit(point(1))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_left, hard))
        with pytest.raises(FailedError, match=r"could not be written: File too large"):
            made.commit(point(2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert equal(folder(tmp_path).newest(), point(1))


def test_metrics_that_cannot_be_written_are_a_sentence(tmp_path):
    made = folder(tmp_path)
    (tmp_path / "metrics.jsonl").mkdir()
    with pytest.raises(FailedError, match=r"metrics\.jsonl could not be written"):
        made.log({"step": 1})


def test_a_run_that_never_came_to_a_row_gives_its_folder_to_another(tmp_path):
    folder(tmp_path / "run", tiny(batch=8))
    folder(tmp_path / "run", tiny(batch=4))
    assert read_run(tmp_path / "run").batch == 4
    (tmp_path / "run" / "metrics.jsonl").write_text("")
    with pytest.raises(UsageError, match=r"batch \(4 there, 8 given\)"):
        folder(tmp_path / "run", tiny(batch=8))


def test_equal_weights_make_equal_files(tmp_path):
    for name in "ab":
        opened = folder(tmp_path / name, tiny())
        opened.commit(point(3))
    files = ["last.safetensors", "checkpoints/step-00000003.safetensors"]
    assert [(tmp_path / "a" / f).read_bytes() for f in files] == [(tmp_path / "b" / f).read_bytes() for f in files]
