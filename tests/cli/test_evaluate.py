import json
import shutil

import pytest
import torch
from commands import run
from safetensors.torch import load_file, save_file

from hardy.describe import rebuild
from hardy.models import Architecture, small_cnn
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


def test_a_json_file_that_exists_is_not_overwritten(capsys, trained, tmp_path):
    (tmp_path / "mine.json").write_text("mine")
    ran = run(capsys, "evaluate", trained, *FEW, "--json", tmp_path / "mine.json")
    assert ran.code == 2
    assert "exists already" in ran.err
    assert (tmp_path / "mine.json").read_text() == "mine"


def test_a_json_file_that_cannot_be_made_is_refused_before_anything_is_measured(capsys, trained, tmp_path):
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "file" / "rows.json", tmp_path / "link"):
        (tmp_path / "link").is_symlink() or (tmp_path / "link").symlink_to(tmp_path / "nowhere")
        ran = run(capsys, "evaluate", trained, *FEW, "--json", path)
        assert ran.code == 2
        assert str(path) in ran.err
        assert "clean: " not in ran.err


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


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (("--attacks", "pgd-20x"), "There is no attack named 'pgd-20x'; did you mean"),
        (("--attacks", "pgd-0"), "at least 1"),
        (("--attacks", "pgd-K"), "'pgd-K' lacks its number of steps"),
        (("--attacks", ""), "names with commas between"),
        (("--eps", "8"), "8/255, not 8"),
        (("--eps", "0"), "in (0, 1]"),
        (("--eps", "-1/255"), "in (0, 1]"),
        (("--eps", "eight"), "is not a number"),
        (("--n", "0"), "at least 1 image"),
        (("--judge", "first"), "first"),
        (("--weights", "middle"), "middle"),
        (("--batch", "0"), "batch is 0"),
        (("--attacks", "pgd-007"), "There is no attack named 'pgd-007'"),
        (("--attacks", "pgd-٣"), "There is no attack named 'pgd-٣'"),
        (("--eps", "nan"), "is not a finite number"),
        (("--seed", "-1"), "seed is -1; it must be in [0, 2**32)"),
        (("--device", "xpu"), "device is 'xpu'; it must be cpu"),
    ],
)
def test_a_wrong_option_gets_a_sentence_and_exit_code_2(capsys, trained, args, sentence):
    ran = run(capsys, "evaluate", trained, *args)
    assert ran.code == 2
    assert sentence in " ".join(ran.err.replace("│", " ").split())
    assert "Traceback" not in ran.err


def _damaged(kind, trained, folder):
    path = folder / f"{kind}.safetensors"
    whole = (trained / "last.safetensors").read_bytes()
    tensors, header = read_weights(trained / "last.safetensors")
    if kind == "truncated":
        path.write_bytes(whole[: len(whole) // 2])
    elif kind == "page":
        path.write_text("<html>404</html>")
    elif kind == "foreign":
        save_file(load_file(trained / "last.safetensors"), path)
    elif kind == "nan":
        tensors["layers.0.0.weight" if "layers.0.0.weight" in tensors else next(iter(tensors))].fill_(torch.nan)
        save_weights(path, tensors, small_cnn(width=2), 10, 1, {k: header[k] for k in ("data", "run")})
    elif kind == "architecture":
        save_weights(path, tensors, small_cnn(width=3), 10, 1, {k: header[k] for k in ("data", "run")})
    return path


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("missing", "There is no weights file"),
        ("truncated", "damaged or not a safetensors file"),
        ("page", "damaged or not a safetensors file"),
        ("foreign", "does not say which network"),
        ("nan", "hold NaN or infinite values"),
        ("architecture", "belong to another architecture"),
    ],
)
def test_a_wrong_weights_file_gets_a_sentence_with_its_name(capsys, trained, tmp_path, kind, sentence):
    path = _damaged(kind, trained, tmp_path)
    ran = run(capsys, "evaluate", path, *FEW)
    assert ran.code == 2
    assert sentence in ran.err
    assert str(path) in ran.err


def test_a_folder_that_is_no_run_gets_a_sentence(capsys, tmp_path):
    ran = run(capsys, "evaluate", tmp_path)
    assert ran.code == 2
    assert "not the folder of a run" in ran.err
