"""The import rule: lower never imports higher, folders on one level do not import each other; plotting only in report."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "hardy"

# Each part of the package and how high it stands. Parts on level 0 are single files that may import each other.
LEVELS = {
    **dict.fromkeys(["types", "errors", "describe", "files", "randomness", "results", "parallel"], 0.0),
    "report": 0.5,
    **dict.fromkeys(["losses", "data", "models"], 1.0),
    "attacks": 2.0,
    **dict.fromkeys(["objectives", "evaluation"], 3.0),
    "training": 4.0,
    "jobs": 5.0,
    "recipes": 6.0,
    "cli": 7.0,
    **dict.fromkeys(["__init__", "__main__"], 8.0),
}
# Of a lower part, all that a higher one may import.
ONLY = {("training", "evaluation"): {"evaluation.checks", "evaluation.sharing", "evaluation.stream"}}
# Where a package of others may be imported: folders, or single files.
IMPORTS_THE_USERS = ("own.py",)  # a module of the user's, which only the user can name
CONFINED = {"matplotlib": ["report/"], "rich": ["cli/", "data/download.py"], "tyro": ["cli/"]}


def imports(code: str, file: Path, source: Path) -> list[tuple[int, str]]:
    """(line, absolute dotted name) of everything a file imports, inside functions too."""
    inside = ["hardy", *file.relative_to(source).parts[:-1]]
    found = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = inside[: len(inside) - node.level + 1] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            found += [(node.lineno, f"{origin}.{alias.name}") for alias in node.names]
        elif (
            isinstance(node, ast.Call)
            and file.name not in IMPORTS_THE_USERS
            and _name(node.func)
            in (
                "__import__",
                "importlib.import_module",
                "import_module",
            )
        ):
            named = (
                node.args[0].value
                if node.args and isinstance(node.args[0], ast.Constant)
                else "a name made up at run time"
            )
            found.append((node.lineno, str(named)))
    return found


def _name(node: ast.expr) -> str:
    return ast.unparse(node) if isinstance(node, ast.Name | ast.Attribute) else ""


def violations(code: str, place: str, source: Path = SOURCE) -> list[str]:
    """What a file of that place (relative to the package) breaks of the rule."""
    part = place.split("/", 1)[0].removesuffix(".py")
    if part not in LEVELS:
        return [f"{place}: {part} has no level"]
    found = []
    for line, name in imports(code, source / place, source):
        top, *rest = name.split(".")
        if top in CONFINED and not any(place == allowed or place.startswith(allowed) for allowed in CONFINED[top]):
            found.append(f"{place}:{line}: {top} is for {' and '.join(CONFINED[top])} only")
        if name == "a name made up at run time" and LEVELS[part] < LEVELS["__main__"]:
            found.append(f"{place}:{line}: imports {name}")
        if top != "hardy":
            continue
        # what is no part of the package is one of its public names, which stand above all
        other = rest[0] if rest and rest[0] in LEVELS else "__init__"
        if other == part:
            continue
        own, its = LEVELS[part], LEVELS[other]
        if its > own:
            found.append(f"{place}:{line}: {part} imports {other}, which is higher")
        elif its == own > 0 and own < LEVELS["__init__"]:
            found.append(f"{place}:{line}: {part} imports {other}, which is on its level")
        allowed = ONLY.get((part, other))
        if allowed is not None and not any(f"{'.'.join(rest)}.".startswith(f"{path}.") for path in allowed):
            found.append(f"{place}:{line}: of {other}, {part} may import {', '.join(sorted(allowed))} only")
    return found


FILES = sorted(file.relative_to(SOURCE).as_posix() for file in SOURCE.rglob("*.py"))


@pytest.mark.parametrize("place", FILES)
def test_the_import_rule_holds(place):
    assert violations((SOURCE / place).read_text(encoding="utf-8"), place) == []


def test_the_files_of_every_level_are_seen():
    tops = {place.split("/", 1)[0].removesuffix(".py") for place in FILES}
    assert {"types", "describe", "losses", "data", "models", "attacks", "objectives", "evaluation", "training"} <= tops
    assert {"recipes", "cli", "report", "__init__"} <= tops
    seen = {
        name
        for place in FILES
        for _, name in imports((SOURCE / place).read_text(encoding="utf-8"), SOURCE / place, SOURCE)
    }
    assert {"hardy.randomness.Noise", "hardy.evaluation.stream.under_attack", "torch.Tensor"} <= seen


@pytest.mark.parametrize(
    ("place", "code", "said"),
    [
        (
            "losses/logits.py",
            "from hardy.models.classifier import Classifier",
            "losses imports models, which is on its level",
        ),
        ("data/split.py", "import hardy.models", "data imports models, which is on its level"),
        ("models/small.py", "from hardy.data import split", "models imports data, which is on its level"),
        ("attacks/pgd.py", "from hardy.objectives import PGDAT", "attacks imports objectives, which is higher"),
        (
            "objectives/trades.py",
            "from hardy.evaluation import accuracy",
            "objectives imports evaluation, which is on its",
        ),
        (
            "evaluation/accuracy.py",
            "from hardy.training.run import Run",
            "evaluation imports training, which is higher",
        ),
        ("training/loop.py", "from hardy.recipes.small import recipes", "training imports recipes, which is higher"),
        (
            "training/loop.py",
            "from hardy.evaluation import sweep",
            "may import evaluation.checks, evaluation.sharing, evaluation.stream only",
        ),
        (
            "training/loop.py",
            "from hardy.evaluation.stream_of_others import a",
            "may import evaluation.checks, evaluation.sharing, evaluation.stream only",
        ),
        ("report/page.py", "from hardy.models import small_cnn", "report imports models, which is higher"),
        ("results.py", "from hardy.report import page", "results imports report, which is higher"),
        ("jobs/job.py", "from hardy.recipes import recipe", "jobs imports recipes, which is higher"),
        ("recipes/small.py", "from hardy.cli import console", "recipes imports cli, which is higher"),
        ("cli/train.py", "from hardy import train", "cli imports __init__, which is higher"),
        ("attacks/pgd.py", "import hardy", "attacks imports __init__, which is higher"),
        ("attacks/pgd.py", "from hardy import training", "attacks imports training, which is higher"),
        ("attacks/pgd.py", "from .. import training", "attacks imports training, which is higher"),
        ("attacks/pgd.py", "from ..training.run import Run", "attacks imports training, which is higher"),
        (
            "attacks/pgd.py",
            "def f():\n    if 1:\n        import hardy.training.run as r",
            "attacks/pgd.py:3: attacks imports",
        ),
        (
            "attacks/pgd.py",
            "import importlib\nimportlib.import_module('hardy.cli')",
            "attacks imports cli, which is higher",
        ),
        ("attacks/pgd.py", "from importlib import import_module\nimport_module(name)", "a name made up at run time"),
        ("training/plot.py", "import matplotlib.pyplot as plt", "matplotlib is for report/ only"),
        (
            "evaluation/accuracy.py",
            "def f():\n    from rich.progress import track",
            "rich is for cli/ and data/download.py only",
        ),
        ("data/cifar.py", "import rich", "rich is for cli/ and data/download.py only"),
        ("training/run.py", "import tyro", "tyro is for cli/ only"),
        ("reporting.py", "", "reporting has no level"),
        ("plots/tables.py", "import torch", "plots has no level"),
    ],
)
def test_a_file_that_breaks_the_rule_is_caught(place, code, said):
    (found,) = violations(code, place)
    assert said in found


@pytest.mark.parametrize(
    ("place", "code"),
    [
        ("objectives/rlfat.py", "from hardy.data.block_shuffle import block_shuffle"),
        ("training/loop.py", "from hardy.evaluation.stream import under_attack"),
        ("training/loop.py", "from hardy.evaluation import stream"),
        ("report/page.py", "import matplotlib\nfrom hardy.results import read"),
        ("cli/report.py", "import rich, tyro\nfrom hardy.report import page"),
        ("data/download.py", "from rich.progress import Progress"),
        ("randomness.py", "from hardy.describe import require"),
        ("attacks/pgd.py", "from .attack import Attack\nfrom ..losses import logits\nimport richer"),
        ("__init__.py", "from hardy.training.loop import train"),
        ("__main__.py", "from hardy.cli import console\nimport hardy"),
    ],
)
def test_what_the_rule_allows_passes(place, code):
    assert violations(code, place) == []
