"""The README is true: its tree is the sources' own first lines, its example and commands run."""

import ast
import re
import shlex
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

import hardy
from hardy.__main__ import COMMANDS, main

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
SOURCE = ROOT / "src" / "hardy"


def _block(language: str, containing: str) -> str:
    return next(body for body in re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL) if containing in body)


def _tree_lines() -> dict[str, str]:
    """{path below src/hardy: what the README says of it}."""
    found, folder = {}, ""
    for line in _block("text", "src/hardy/").splitlines():
        entry = re.match(r"  (  )?(\S+)\s+(.*)", line)
        if entry and entry[2].endswith("/"):
            folder = entry[2]
        elif entry and entry[2].endswith(".py"):
            found[(folder if entry[1] else "") + entry[2]] = entry[3]
    return found


def test_the_tree_has_every_module_with_the_first_line_of_its_docstring():
    actual = {}
    for path in sorted(SOURCE.rglob("*.py")):
        if path.name != "__init__.py":
            doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
            assert doc, path
            actual[str(path.relative_to(SOURCE))] = doc.splitlines()[0]
    assert _tree_lines() == actual


def test_the_python_example_runs(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    whole = hardy.recipe
    monkeypatch.setattr(hardy, "recipe", lambda name: replace(whole(name), epochs=1))  # the same code, less of it
    exec(_block("python", "hardy.train"), {})
    printed = capsys.readouterr().out.splitlines()
    assert [line.rsplit(" ", 3)[0] for line in printed] == [
        "clean accuracy",
        "accuracy under pgd-20",
        "accuracy under cw-20",
    ]


@pytest.fixture
def own_problem(monkeypatch, tmp_path):
    """A folder of images of two classes, and the README's network."""
    for label, name in enumerate(("dark", "light")):
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(60):
            Image.new("RGB", (40, 36), (60 + 120 * label + i % 9,) * 3).save(tmp_path / "images" / name / f"{i}.png")
    (tmp_path / "mynet.py").write_text(_block("python", "# mynet.py"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield
    sys.modules.pop("mynet", None)


@pytest.mark.usefixtures("own_problem")
def test_the_example_of_ones_own_images_and_network_runs_as_commands(capsys):
    for line in _block("sh", "rlfat-t-folder").splitlines():
        command = shlex.split(line)[1:]
        assert main([*command, *(["--epochs", "1"] if command[0] == "train" else [])]) == 0, capsys.readouterr().err
    assert "accuracy under pgd-20" in capsys.readouterr().out


@pytest.mark.usefixtures("own_problem")
def test_the_example_of_ones_own_images_and_network_runs_from_python(monkeypatch, capsys):
    whole = hardy.recipe
    monkeypatch.setattr(hardy, "recipe", lambda name: replace(whole(name), epochs=1))
    exec(_block("python", "import mynet"), {})
    assert capsys.readouterr().out.count(",") == 3


def test_every_command_the_readme_names_exists():
    named = set(re.findall(r"^hardy ([a-z]+)", README, re.MULTILINE)) | set(re.findall(r"`hardy ([a-z]+)", README))
    assert named <= COMMANDS.keys()
    assert {"train", "evaluate", "analyse"} <= named


def test_every_recipe_and_file_the_readme_names_exists():
    for line in re.findall(r"^hardy train (.*)$", README, re.MULTILINE):
        hardy.recipe(shlex.split(line)[0])
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


@pytest.mark.parametrize("target", ["demo", "test", "lint", "docs"])
def test_the_makefile_has_the_readmes_commands(target):
    assert f"make {target}" in README
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
