import json
import shutil

from commands import run

from hardy.describe import rebuild
from hardy.models import Architecture
from hardy.models.checkpoints import read_weights, save_weights
from hardy.results import read

FEW = ("--n", "30", "--attacks", "clean,fgsm,pgd-2", "--eps", "0.1")


def test_evaluate_prints_every_attack_with_interval_n_judge_and_description(capsys, trained):
    ran = run(capsys, "evaluate", trained, *FEW)
    assert ran.code == 0, ran.err
    for name in ("clean accuracy", "accuracy under fgsm", "accuracy under pgd-2"):
        line = next(line for line in ran.out.splitlines() if line.startswith(name))
        assert "[" in line
        assert " 30 " in line
    assert "last" in ran.out
    assert "PGD on CrossEntropy(), Linf 0.1, 2 steps of 0.025 from a uniform point of the ball" in ran.out
    assert "best weights of" in ran.out


def test_rows_go_to_the_run_and_to_a_new_json_file(capsys, trained, tmp_path):
    folder = shutil.copytree(trained, tmp_path / "copy", ignore=shutil.ignore_patterns("results.jsonl"))
    ran = run(capsys, "evaluate", folder, *FEW, "--json", tmp_path / "rows.json")
    assert ran.code == 0, ran.err
    written = json.loads((tmp_path / "rows.json").read_text())
    rows, passed_over = read(folder / "results.jsonl")
    assert passed_over == 0
    assert [row.what for row in rows] == [row["what"] for row in written]
    assert [row.value for row in rows] == [row["value"] for row in written]
    assert written[2]["settings"]["attack"]["steps"] == 2
    assert written[2]["settings"]["judge"] == "last"
    assert written[0]["low"] < written[0]["value"] < written[0]["high"]


def test_rows_that_cannot_be_stored_are_measured_and_printed_and_the_end_says_where_they_are_not(
    capsys, trained, tmp_path
):
    folder = shutil.copytree(trained, tmp_path / "copy", ignore=shutil.ignore_patterns("results.jsonl"))
    (folder / "results.jsonl").mkdir()
    ran = run(capsys, "evaluate", folder, *FEW, "--json", tmp_path / "rows.json")
    assert ran.code == 1
    for name in ("clean", "fgsm", "pgd-2"):
        assert f"{name}: " in ran.err
    assert "accuracy under pgd-2" in ran.out
    assert len(json.loads((tmp_path / "rows.json").read_text())) == 3
    last = ran.err.splitlines()[-1]
    assert last.startswith(f"hardy: The results could not be written to {folder / 'results.jsonl'}: ")
    assert last.endswith("Not stored there: 3 rows.")


def test_a_number_is_said_before_it_is_stored(capsys, trained, monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("hardy.cli.evaluate.append", stopped)
    ran = run(capsys, "evaluate", trained, *FEW)
    assert ran.code == 130
    assert "clean: " in ran.err


def test_attacks_may_have_blanks_around_them(capsys, trained):
    ran = run(capsys, "evaluate", trained, "--n", "5", "--attacks", " clean, fgsm ,", "--eps", "0.1")
    assert ran.code == 0, ran.err
    assert "accuracy under fgsm " in ran.out


def test_the_radius_taken_is_noted_where_it_is_used_only(capsys, trained, tmp_path):
    tensors, header = read_weights(trained / "last.safetensors")
    network = rebuild(header["model"], Architecture)
    weights = tmp_path / "never-attacked.safetensors"
    save_weights(weights, tensors, network, header["classes"], header["channels"], {"data": header["data"]})
    assert "8/255 is taken" in run(capsys, "evaluate", weights, "--n", "5", "--attacks", "fgsm").err
    for attacks in ("clean", "fgms"):
        assert "8/255 is taken" not in run(capsys, "evaluate", weights, "--n", "5", "--attacks", attacks).err


def test_eps_is_the_runs_own_where_none_is_given(capsys, trained):
    ran = run(capsys, "evaluate", trained, "--n", "5", "--attacks", "fgsm")
    assert "Linf 0.1," in ran.out


def test_a_weights_file_alone_is_enough_and_knows_the_radius_too(capsys, trained):
    ran = run(capsys, "evaluate", trained / "last.safetensors", *FEW)
    assert ran.code == 0, ran.err
    assert "eps 0.1" in ran.err
    assert "last.safetensors" in ran.out


def test_black_box_attacks_get_fewer_images(capsys, trained):
    ran = run(
        capsys, "evaluate", trained, "--n", "20", "--n-black-box", "1", "--attacks", "clean,nattack", "--eps", "0.3"
    )
    assert ran.code == 0, ran.err
    line = next(line for line in ran.out.splitlines() if line.startswith("accuracy under nattack"))
    assert line.split()[-5:-2] == ["1", "0.3", "any"]
