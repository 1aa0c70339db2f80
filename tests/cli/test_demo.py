import json
from dataclasses import replace

import pytest
from commands import run

import hardy
from hardy.attacks import NATTACK
from hardy.cli import demo
from hardy.models import small_cnn


@pytest.fixture
def short(monkeypatch):
    """The demonstration with two tiny methods, few images and few queries."""

    def quick(name):
        recipe = hardy.recipe(name)
        return replace(recipe, model=small_cnn(width=2), epochs=1, precision="float32")

    monkeypatch.setattr(demo, "METHODS", ("standard", "standard"))
    monkeypatch.setattr(demo, "recipe", quick)
    monkeypatch.setattr(demo, "_IMAGES", 5)
    monkeypatch.setattr(demo, "_NATTACK_IMAGES", 1)
    monkeypatch.setattr(demo, "NATTACK", lambda ball, **_: NATTACK(ball, steps=1, population=4))


def test_a_resumed_demo_passes_over_rows_without_settings_and_guesses_nothing_from_what_was_done(
    capsys, tmp_path, short
):
    first = run(capsys, "demo", "--out", tmp_path)
    assert first.code == 0, first.err
    lines = [line for line in first.err.splitlines() if "of 2 methods after" in line]
    assert ["left" in line for line in lines] == [True, False]
    results = tmp_path / "standard" / "results.jsonl"
    row = json.loads(results.read_text().splitlines()[0])
    rows = results.read_text() + json.dumps({**row, "settings": None}) + "\n"
    results.write_text(rows)
    again = run(capsys, "demo", "--out", tmp_path)
    assert again.code == 0, again.err
    assert "1 of 2 methods after" in again.err
    assert "left" not in again.err
    assert again.out == first.out
    assert results.read_text() == rows


def test_numbers_that_cannot_be_stored_are_shown_all_the_same(capsys, tmp_path, short):
    run(capsys, "demo", "--out", tmp_path)
    results = tmp_path / "standard" / "results.jsonl"
    results.unlink()
    (tmp_path / "elsewhere").mkdir()
    results.symlink_to(tmp_path / "elsewhere" / "gone" / "away")
    (tmp_path / "elsewhere" / "gone").write_text("no folder")
    ran = run(capsys, "demo", "--out", tmp_path)
    assert ran.code == 1
    assert "Accuracy in %" in ran.out
    assert f"could not be written to {results}" in ran.err
