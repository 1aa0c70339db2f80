"""The README and the pages of docs/ are true: every block of code in them is run, and the site is built.

A page's blocks are run one after another in a folder of their own, as a reader would: Python as it stands, each line of a shell
block as a command. Commands have less to do than they say (LESS), those on CIFAR-10 are run where its images are, and those of
ONLY_READ are not run at all: of these the flags are read for real, as those of all are in the quick tests.
"""

import importlib
import os
import pkgutil
import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from PIL import Image

import hardy
from hardy import cli, describe
from hardy.__main__ import main
from hardy.models import preact_resnet_18

ROOT = Path(__file__).parent.parent
PAGES = {path.stem: path for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]}

# What is put in place of a command's flags, or behind them, so that it has less to do; None: the flag is taken away.
LESS: dict[str, dict[str, str | None]] = {
    "train": {"--epochs": None, "--steps": "2"},
    "evaluate": {"--n": "3"},
    "diagnose": {"--n": "3"},
    "analyse sensitivity": {"--n": "3"},
    "analyse eps": {"--n": "2"},
    "analyse saliency": {"--n": "2", "--samples": "2"},
    "analyse examples": {"--n": "2"},
    "analyse gaps": {"--n": "4"},
    "analyse transfer": {"--n": "2"},
    "analyse ablation": {"--n": "2"},
    "analyse surface": {"--points": "3"},
    "analyse corruptions": {"--n": "2"},
}

# Commands that are not run, and why; of hardy's the flags are read all the same.
_HOURS = "trains for hours; tests/cli/test_table.py runs tables"
_CLUSTER = "needs a cluster; tests/jobs/test_cluster.py has one"
_TIMES = "times steps of large networks, a minute; tests/cli/test_train.py and test_table.py run dry runs"
_PROCESSES = "starts processes; tests/cli/test_together.py runs both commands with two"
ONLY_READ = {
    "make demo": "installs, and trains for minutes; tests/cli/test_demo.py runs the command",
    "make test": "these tests",
    "torchrun --nproc-per-node 4 -m hardy train trades-folder --data.path images --model mynet:build": _PROCESSES,
    "torchrun --nproc-per-node 4 -m hardy evaluate runs/trades-folder --model mynet:build --attacks clean,pgd-20": _PROCESSES,
    "make docs": "installs; the last test below builds the site",
    "pip install .": "installs",
    "hardy train rlfat-p-cifar10 --dry-run": _TIMES,
    "hardy export rlfat-p-cifar10-small --to huggingface --out card": (
        "looks at 10,000 images three times, a minute; tests/cli/test_export.py runs it"
    ),
    "hardy table rlfat-1b --scale small --dry-run": _TIMES,
    "hardy table rlfat-1b --scale small --seeds 2 --rows PGDAT RLFAT-P --dry-run": _TIMES,
    "hardy table rat-1-cifar10 --scale paper --also autoattack diagnosis --dry-run": _TIMES,
    "hardy table rat-3 --scale smoke": "starts a process for each job, a minute; tests/cli/test_table.py does the same jobs",
    "hardy table rlfat-1b --scale small --precision bfloat16": _HOURS,
    "pip install 'hardy[cluster]'": "installs",
    "hardy table rlfat-1b --scale paper --on ray --out /shared/tables": _CLUSTER,
    "hardy table rlfat-1b --scale paper --out /shared/tables --status": _CLUSTER,
}
NEEDS_IMAGES = re.compile("cifar10")  # of a command: it is run where $HARDY_DATA has CIFAR-10
FILE = re.compile(r"# (\w+\.py)\n")  # begins a block of Python that is a file of the reader's


class Block(NamedTuple):
    """A fenced block of code. line: of the page, where it begins."""

    language: str
    body: str
    line: int


def blocks(text: str) -> list[Block]:
    found = []
    for match in re.finditer(r"^```(.*)\n((?:.*\n)*?)```$", text, re.MULTILINE):
        found.append(Block(match[1], match[2], text[: match.start()].count("\n") + 1))
    return found


def commands(body: str) -> Iterator[str]:
    """The lines of a shell block, without comments."""
    for line in body.splitlines():
        words = shlex.split(line, comments=True)
        if words:
            yield shlex.join(words) if "*" not in line else " ".join(words)


def less(words: list[str]) -> list[str]:
    """The command with less to do."""
    flags = next((LESS[name] for name in (" ".join(words[:2]), words[0]) if name in LESS), {})
    made = list(words)
    for flag, value in flags.items():
        if flag in made:
            del made[made.index(flag) : made.index(flag) + 2]
        made += [] if value is None else [flag, value]
    return made


class ReadError(Exception):
    """Raised in place of what a command does once its flags are read."""


def read(command: str, monkeypatch) -> None:
    """Let a command read its flags, and do nothing."""
    name, *words = shlex.split(command)
    if name == "make":
        assert re.search(rf"^{words[0]}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE), command
    if name == "torchrun":
        name, *words = words[words.index("hardy") :]
    if name != "hardy":
        return
    with monkeypatch.context() as patch:
        for found in pkgutil.iter_modules(cli.__path__):
            module = importlib.import_module(f"hardy.cli.{found.name}")
            if found.name != "flags" and hasattr(module, "parse"):
                patch.setattr(module, "parse", _then_stop(module.parse))
        for name in ("passes", "table"):  # `hardy list` has names instead of flags
            patch.setattr(cli.list, name, _then_stop(lambda *args, **options: None))
        with pytest.raises(ReadError):
            main(words)


def _then_stop(function):
    def then_stop(*args, **options):
        function(*args, **options)
        raise ReadError

    return then_stop


def run(page: Path, monkeypatch, capsys, *, images: bool) -> list[str]:
    """Run a page's blocks in the working folder; the commands that were only read, for want of images or as ONLY_READ says."""
    whole, only_read, names = hardy.recipe, [], {}
    monkeypatch.setattr(hardy, "recipe", lambda name: replace(whole(name), epochs=None, steps=2))
    for block in blocks(page.read_text(encoding="utf-8")):
        place = f"{page.name}, line {block.line}"
        if block.language == "python":
            if file := FILE.match(block.body):
                Path(file[1]).write_text(block.body, encoding="utf-8")
                importlib.invalidate_caches()
                importlib.import_module(Path(file[1]).stem)
            else:
                exec(compile(block.body, place, "exec"), names)
        elif block.language == "sh":
            for command in commands(block.body):
                if command in ONLY_READ or (NEEDS_IMAGES.search(command) and not images):
                    read(command, monkeypatch)
                    only_read.append(command)
                    continue
                name, *words = shlex.split(command)
                assert name == "hardy", f"{place}: {command} is run by no test; ONLY_READ says why where that is meant"
                words = [str(path) for word in words for path in (sorted(Path().glob(word)) if "*" in word else [word])]
                capsys.readouterr()
                code = main(less(words))
                assert code == 0, f"{place}: {command} ended with {code}. {capsys.readouterr().err}"
        else:
            assert block.language == "text", f"{place}: a block is sh, python or text, and not {block.language!r}"
    return only_read


@pytest.fixture
def reader(monkeypatch, tmp_path):
    """A reader's empty folder; afterwards all is as it was."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for found in pkgutil.iter_modules(cli.__path__):  # the library's own settings stay
        importlib.import_module(f"hardy.cli.{found.name}")
    monkeypatch.setattr(describe, "_ALLOWED", dict(describe._ALLOWED))  # a page's own settings go with it
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "/").is_relative_to(tmp_path):
            del sys.modules[name]


def prepare(page: str) -> None:
    """What the blocks of a page take for granted."""
    if page == "README":
        images("dark", "light")
        someones_results()
        Path("docs").symlink_to(ROOT / "docs")
    elif page == "engineers":
        images("beech", "birch", "oak", "pine")


def images(*classes: str) -> None:
    """A folder of images, a shade of grey for each class."""
    for label, name in enumerate(classes):
        (Path("images") / name).mkdir(parents=True)
        for i in range(60):
            shade = 40 + 180 * label // len(classes) + i % 9
            Image.new("RGB", (40, 36), (shade,) * 3).save(Path("images") / name / f"{i:04}.png")


def someones_results() -> None:
    """Weights of other people's code, and outcomes of two networks."""
    torch.save(preact_resnet_18().build(10).state_dict(), "model_best.pth")
    _, test = hardy.recipe("pgdat-digits").data.load()
    for seed, file in enumerate(("outcomes/ONE.jsonl", "other/TWO.jsonl")):
        network = hardy.recipe("pgdat-digits").model.build(10, 1, hardy.Noise.of_batch(1, seed))
        hardy.evaluate(network.eval(), test.take(slice(4)), ["pgd-2"], outcomes=Path(file).parent)
        next(Path(file).parent.glob("*.jsonl")).rename(file)


@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize("page", PAGES)
def test_every_block_of_a_page_can_be_read(page, monkeypatch):
    for block in blocks(PAGES[page].read_text(encoding="utf-8")):
        if block.language == "python":
            compile(block.body, f"{page}, line {block.line}", "exec")
            if file := FILE.match(block.body):
                Path(file[1]).write_text(block.body, encoding="utf-8")
        for command in commands(block.body) if block.language == "sh" else ():
            read(command, monkeypatch)


@pytest.mark.slow
@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize("page", PAGES)
def test_every_block_of_a_page_runs(page, monkeypatch, capsys):
    prepare(page)
    only_read = run(PAGES[page], monkeypatch, capsys, images=False)
    assert all(command in ONLY_READ or NEEDS_IMAGES.search(command) for command in only_read)


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize("page", [name for name, path in PAGES.items() if NEEDS_IMAGES.search(path.read_text("utf-8"))])
def test_every_block_of_a_page_runs_on_real_images(page, monkeypatch, capsys):
    if not any(Path(os.environ.get("HARDY_DATA", ".")).glob("cifar-10*")):
        pytest.skip("$HARDY_DATA has no CIFAR-10")
    prepare(page)
    assert set(run(PAGES[page], monkeypatch, capsys, images=True)) <= ONLY_READ.keys()


def test_no_command_is_excused_that_no_page_has():
    shown = {
        command
        for path in PAGES.values()
        for block in blocks(path.read_text(encoding="utf-8"))
        if block.language == "sh"
        for command in commands(block.body)
    }
    assert shown >= ONLY_READ.keys()


def test_blocks_and_commands_are_found_as_they_are_written():
    text = "# A page\n\n```sh\nhardy list   # all\n\nhardy compare a*.jsonl b\n```\ntext\n```python\nx = 1\n```\n```\nno\n```\n"
    first, second, third = blocks(text)
    assert list(commands(first.body)) == ["hardy list", "hardy compare a*.jsonl b"]
    assert (second.language, second.body, second.line) == ("python", "x = 1\n", 9)
    assert third.language == ""


def test_less_replaces_flags_or_adds_them():
    assert less(["train", "x", "--epochs", "9", "--seed", "1"]) == ["train", "x", "--seed", "1", "--steps", "2"]
    assert less(["analyse", "eps", "x", "--n", "50"]) == ["analyse", "eps", "x", "--n", "2"]
    assert less(["analyse", "shuffle", "--k", "2"]) == ["analyse", "shuffle", "--k", "2"]


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ("```sh\nhardy train nothing-digits\n```", "no recipe"),
        ("```sh\nrm -r runs\n```", "run by no test"),
        ("```python\nassert False, 'wrong'\n```", "wrong"),
        ("```\nplain\n```", "a block is sh, python or text"),
    ],
)
@pytest.mark.usefixtures("reader")
def test_a_block_that_does_not_run_is_caught(block, said, monkeypatch, capsys):
    Path("page.md").write_text(block + "\n", encoding="utf-8")
    with pytest.raises(AssertionError, match=said):
        run(Path("page.md"), monkeypatch, capsys, images=False)


def test_a_flag_that_does_not_exist_is_caught_where_a_command_is_only_read(monkeypatch):
    read("hardy table rlfat-1b --dry-run", monkeypatch)
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        read("hardy table rlfat-1b --dry", monkeypatch)
