"""The scripts of benchmarks/ as modules."""

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

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
