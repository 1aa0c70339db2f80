"""The README is true: its tree is the sources' own first lines, its example and commands run."""

import ast
import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

import hardy
from hardy.__main__ import COMMANDS

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


def test_every_command_the_readme_names_exists():
    named = set(re.findall(r"^hardy ([a-z]+)", README, re.MULTILINE)) | set(re.findall(r"`hardy ([a-z]+)", README))
    assert named <= COMMANDS.keys()
    assert {"train", "evaluate", "analyse"} <= named


def test_every_recipe_and_file_the_readme_names_exists():
    for line in re.findall(r"^hardy train (.*)$", README, re.MULTILINE):
        hardy.recipe(shlex.split(line)[0])
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


@pytest.mark.parametrize("target", ["demo", "test", "lint"])
def test_the_makefile_has_the_readmes_commands(target):
    assert f"make {target}" in README
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
