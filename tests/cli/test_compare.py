import json

import pytest
from commands import run

COSTS = {"illegal": [], "seconds": 1, "forwards": 1, "backwards": 1}


def outcomes(path, broken, held, shift=0, **about):
    """A file of outcomes with images named by their places."""
    line = {"stage": 0, "broken": broken, "held": held, "crc32": [place + shift for place in broken + held], **COSTS}
    path.write_text(json.dumps({"about": about, "stages": 1}) + "\n" + json.dumps(line) + "\n")
    return path


def test_compare_prints_how_many_images_are_robust_in_both_one_or_neither(capsys, tmp_path):
    one = outcomes(tmp_path / "one.jsonl", [0, 1, 2], [3, 4, 5, 6, 7, 8, 9, 20], run="trades", summary="PGD, 20 steps")
    two = outcomes(tmp_path / "two.jsonl", [0, 3, 4, 5, 6, 7, 8], [1, 2, 9, 21])
    ran = run(capsys, "compare", one, two)
    assert (ran.code, ran.err) == (0, "")
    rows = [line.split() for line in ran.out.splitlines()]
    assert f"first: trades; PGD, 20 steps ({one})" in ran.out
    assert f"second: no name ({two})" in ran.out
    for row in ("robust in both 1 10.0", "only in the first 6 60.0", "only in the second 2 20.0", "in neither 1 10.0"):
        assert row.split() in rows
    assert "On the same 10 images the accuracy is 70.0 % in the first and 30.0 % in the second." in ran.out
    assert "They differ on 8 images" in ran.out
    assert "Left out: 1 image not decided in the first, 1 not in the second." in ran.out
    assert "p = 0.29 (exact McNemar test)" in ran.out  # 2 * (1 + 8 + 28) / 2**8


def test_compare_says_which_file_is_wrong(capsys, tmp_path):
    one = outcomes(tmp_path / "one.jsonl", [0], [1])
    other = outcomes(tmp_path / "other.jsonl", [0], [1], shift=1)
    (tmp_path / "empty.jsonl").write_text("")
    for second, said in (
        (other, f"{one} and {other} are about different images or labels"),
        (tmp_path / "empty.jsonl", "empty.jsonl does not hold outcomes; those that hardy evaluate writes do."),
        (tmp_path / "none.jsonl", "none.jsonl could not be read: No such file or directory."),
        (tmp_path, f"{tmp_path} could not be read: Is a directory."),
    ):
        ran = run(capsys, "compare", one, second)
        assert (ran.code, ran.out) == (2, "")
        assert said in ran.err


@pytest.mark.parametrize("network", ["best", "last"])
def test_compare_takes_what_evaluate_writes(capsys, trained, tmp_path, network):
    for name, eps in (("small", "0.001"), ("large", "0.9")):
        command = ("evaluate", trained / f"{network}.safetensors", "--n", "30", "--attacks", "fgsm", "--eps", eps)
        assert run(capsys, *command, "--outcomes", tmp_path / name).code == 0
    files = [next((tmp_path / name).glob("*.jsonl")) for name in ("small", "large")]
    ran = run(capsys, "compare", *files)
    assert ran.code == 0, ran.err
    assert "On the same 30 images" in ran.out
    assert "Linf 0.001" in ran.out


def test_compare_tells_what_else_was_measured_differently(capsys, tmp_path):
    same = {"run": "trades", "summary": "PGD", "attack": {"steps": 20}, "network": "abc"}
    one = outcomes(tmp_path / "one.jsonl", [0], [1], judge="last", seed=0, **same)
    two = outcomes(tmp_path / "two.jsonl", [1], [0], judge="any", **same)
    ran = run(capsys, "compare", one, two)
    lines = ran.out.splitlines()
    assert lines[2:4] == ["judge: last in the first, any in the second", "seed: 0 in the first, None in the second"]
    assert "Left out" not in ran.out
    assert "same measurement" not in ran.out
    assert "Both files are of the same measurement" in run(capsys, "compare", one, one).out


def test_compare_prints_no_chance_of_zero(capsys, tmp_path):
    one = outcomes(tmp_path / "one.jsonl", list(range(2000)), [])
    two = outcomes(tmp_path / "two.jsonl", [], list(range(2000)))
    assert "by chance with p < 1e-300" in run(capsys, "compare", one, two).out


def test_two_measurements_in_one_file_are_refused(capsys, tmp_path):
    one = outcomes(tmp_path / "one.jsonl", [0], [1], run="one")
    two = outcomes(tmp_path / "two.jsonl", [1], [0], run="two")
    (tmp_path / "both.jsonl").write_text(one.read_text() + two.read_text())
    ran = run(capsys, "compare", tmp_path / "both.jsonl", one)
    assert (ran.code, ran.out) == (2, "")
    assert "both.jsonl holds the outcomes of more than one measurement" in ran.err
