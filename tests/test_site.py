"""The site of `make docs`: what its pages are made of, and that it is whole and fetches nothing."""

import importlib
import importlib.util
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

import hardy
from hardy.recipes.methods import METHODS
from hardy.training.passes import Passes

ROOT = Path(__file__).parent.parent
MADE = ("house_style", "method_page", "api_pages", "low_data", "methods")


@pytest.fixture(scope="module")
def hooks():
    """The modules that make pages, by name."""
    path, before = list(sys.path), set(sys.modules)
    sys.path.insert(0, str(ROOT / "docs" / "hooks"))
    yield {name: importlib.import_module(name) for name in ("house_style", "method_page", "api_pages")}
    sys.path[:] = path
    for name in set(MADE) - before:
        sys.modules.pop(name, None)


DOCSTRING = """What it does.

    minimise   a * b,
      over     x

with * and <b> plain, and `a * b` code.

model: a network, or f(x). steps, eps: numbers. Not a name: this.

Source:  Somebody, 2020,
         eq. (1).
Differs: nothing. Raises: UsageError for x < 0.
"""


def test_a_docstring_becomes_markdown(hooks):
    assert hooks["house_style"].markdown(DOCSTRING, ["model", "steps", "eps"]).split("\n\n") == [
        "What it does.",
        "```{ .text .equation }\nminimise   a * b,\n  over     x\n```",
        r"with \* and &lt;b> plain, and `a * b` code.",
        "- **model**: a network, or f(x).\n- **steps, eps**: numbers. Not a name: this.",
        "**Source:** Somebody, 2020, eq. (1).",
        "**Differs:** nothing.",
        "**Raises:** UsageError for x &lt; 0.",
    ]


def test_an_equation_at_the_margin_is_one_too(hooks):
    assert hooks["house_style"].markdown("minimise   E[ x ]") == "```{ .text .equation }\nminimise   E[ x ]\n```"


def section(page, method):
    return re.search(rf"## {re.escape(method)} {{ #.*?(?=\n## |\Z)", page, re.DOTALL)[0]


@pytest.fixture
def page(hooks, monkeypatch):
    # counting them takes seconds; that they are counted right is tests/cli/test_list.py's
    monkeypatch.setattr(hooks["method_page"], "passes", lambda: dict.fromkeys(METHODS, Passes(8, 7.5)))
    return hooks["method_page"].page


def test_every_method_has_a_section_with_its_equation_cost_known_accuracy_and_recipes(page):
    page = page()
    assert re.findall(r"^## (\S+) ", page, re.MULTILINE) == list(METHODS)
    for name, method in METHODS.items():
        told = section(page, name)
        assert f"\n{method.equation}\n" in told
        assert f"**Known AutoAttack accuracy:** {method.autoattack}." in told
        assert f"`{name}-digits`" in told
    assert "**A step costs** 8 forward and 7.5 backward passes." in section(page, "pgdat")
    assert "`pgdat-rolled-digits`" not in section(page, "pgdat")


def test_what_a_papers_code_differs_in_is_said_once_a_file(page):
    page = page()
    assert page.count("**Differs:** KL is exact") == 1
    assert "under [`rbsat-p`](#rbsat-p)" in section(page, "rlfat-t")
    assert "**Source:** Wang et al." in section(page, "mart")


def test_a_method_shows_its_measured_rows(page):
    told = section(page(), "rlfat-p")
    assert (
        "| 10 epochs, last | 34.4 [31.5, 37.4] | 24.4 [21.8, 27.2] | 22.3 [19.8, 25.0] | – | 21.0 [15.9, 27.2] | none |"
        in told
    )
    assert "| 50 epochs, seed 1, last | 47.5 [44.4, 50.6] |" in told


def row(method, column, **more):
    return {"row": method, "column": column, "value": 0.5, "low": 0.25, "high": 0.75, **more}


def test_methods_of_which_little_is_measured_have_dashes_and_new_rows_appear(page, hooks, monkeypatch, tmp_path):
    rows = [row("alp", "clean"), row("alp", "PGD-20"), row("mart", "verdict", verdict="masked")]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    monkeypatch.setattr(hooks["method_page"].compared, "ROWS", tmp_path / "rows.jsonl")
    page = page()
    assert "| 10 epochs, last | 50.0 [25.0, 75.0] | 50.0 [25.0, 75.0] |\n" in f"{section(page, 'alp')}\n"
    assert "| trained for, weights | masking |\n| --- | --- |\n| 10 epochs, last | masked |" in section(page, "mart")
    assert "Not measured here yet." in section(page, "adt")
    assert "50 epochs" in section(page, "trades")


def test_every_public_name_is_on_the_page_of_its_package(hooks):
    pages = hooks["api_pages"].pages()
    for package in (hardy.attacks, hardy.data, hardy.evaluation, hardy.models, hardy.objectives, hardy.recipes, hardy):
        text = pages[f"api/{package.__name__.rpartition('.')[2]}.md"]
        assert [name for name in package.__all__ if f"| [`{name}`]" not in text] == []
    assert "::: hardy.losses.logits\n" in pages["api/losses.md"]
    assert "members: [cw, fgsm, PGD]" in pages["api/attacks.md"]
    assert "hardy.losses.criteria\n" not in pages["api/attacks.md"]  # told of on the page of losses


class Fetched(HTMLParser):
    """What a browser fetches to show a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag in ("script", "img", "iframe", "source", "video", "audio"):
            self.found.append(given.get("src") or "")
        if tag == "link" and given.get("rel") not in ("canonical", "prev", "next"):
            self.found.append(given.get("href") or "")


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_its_pages_fetch_nothing_from_elsewhere(tmp_path):
    if any(importlib.util.find_spec(name) is None for name in ("mkdocs", "material", "mkdocstrings")):
        pytest.skip("mkdocs-material and mkdocstrings are not installed; `make docs` installs them")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", tmp_path / "site"],
        cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (built.returncode, built.stderr) == (0, "")
    pages = {
        path.relative_to(tmp_path / "site").as_posix(): path.read_text("utf-8") for path in tmp_path.rglob("*.html")
    }
    written = {path.stem for path in (ROOT / "docs").glob("*.md")} | {"methods", "readme"}
    assert {f"{name}.html" for name in written} <= pages.keys()
    for place, text in pages.items():
        reading = Fetched()
        reading.feed(text)
        assert [link for link in reading.found if re.match("(https?:)?//", link)] == [], place
    api = pages["api/attacks.html"]
    assert 'id="hardy.attacks.pgd.PGD"' in api
    assert "<strong>Differs:</strong> equation (1) of the RLFAT paper" in api
    assert "<code>steps: int = 10</code>" in api
    assert "pixel units of [0, 1]; None is eps / 4" in api
    assert "E[ CE(f(x), y) + beta * KL(f(x) || f(x')) ]" in pages["methods.html"].replace("&#39;", "'")
    assert not list((tmp_path / "site").rglob("*.py"))
