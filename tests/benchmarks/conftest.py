"""The scripts of benchmarks/ as modules."""

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

FOLDER = Path(__file__).parents[2] / "benchmarks"
NAMES = [file.stem for file in FOLDER.glob("*.py")]


@pytest.fixture(scope="module")
def benchmarks():
    """The modules by name, which find each other as those of a script's folder do."""
    sys.path.insert(0, str(FOLDER))
    yield SimpleNamespace(**{name: importlib.import_module(name) for name in NAMES})
    sys.path.remove(str(FOLDER))
    for name in NAMES:
        del sys.modules[name]


@pytest.fixture
def refused(tmp_path, capsys, monkeypatch):
    """Asserts that a script ends with this sentence at these flags, says nothing else, and leaves a file that is there."""

    def check(script, flags, said):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        there = tmp_path / "there"
        there.write_text("mine", encoding="utf-8")
        with pytest.raises(SystemExit) as stop:
            script.main([flag.format(tmp=tmp_path) for flag in flags])
        assert stop.value.code == 2
        shown = capsys.readouterr()
        assert said in shown.err
        assert shown.out == ""
        assert there.read_text(encoding="utf-8") == "mine"

    return check
