import sys
from dataclasses import dataclass

from commands import run
from rich.console import Console

from hardy import data, describe, models
from hardy.cli import flags
from hardy.cli import list as listing
from hardy.data import Dataset, Digits
from hardy.models import SmallCNN
from hardy.recipes import recipe, recipes
from hardy.recipes.methods import METHODS


def test_every_recipe_method_attack_data_set_and_network_is_listed(capsys):
    ran = run(capsys, "list")
    assert ran.code == 0
    names = {line.split()[0] for line in ran.out.splitlines() if line.strip()}
    assert recipes().keys() | METHODS.keys() <= names
    assert {
        "clean",
        "fgsm",
        "fgsm-rs",
        "pgd-K",
        "cw-K",
        "nattack",
        "cifar10",
        "cifar100",
        "digits",
        "w32_10",
        "wrn_34_10",
    } <= names


def test_a_new_data_set_or_network_is_listed_by_itself_and_can_be_asked_for(capsys, monkeypatch):
    @dataclass(frozen=True)
    class Mnist(Digits):
        """Seventy thousand digits.

        More is said of them here.
        """

    def tiny_net() -> SmallCNN:
        """A network of its own."""
        return SmallCNN(width=1)

    known = describe.named_settings()
    monkeypatch.setattr(flags, "named_settings", lambda: [*known, Mnist])
    monkeypatch.setattr(models, "tiny_net", tiny_net, raising=False)
    assert "mnist       Seventy thousand digits.\n" in run(capsys, "list", "data").out
    assert "tiny_net          A network of its own.\n" in run(capsys, "list", "models").out
    swapped, _ = flags.swap(recipe("pgdat-digits"), ["--data", "mnist", "--model", "tiny_net"])
    assert (swapped.data, swapped.model) == (Mnist(), SmallCNN(width=1))


def test_the_listed_data_sets_are_those_that_are_exported(capsys):
    exported = {
        n.lower() for n in data.__all__ if isinstance(getattr(data, n), type) and issubclass(getattr(data, n), Dataset)
    }
    listed = {line.split()[0] for line in run(capsys, "list", "data").out.splitlines()[2:]}
    assert exported - {"dataset"} <= listed


def test_one_kind_is_listed_alone(capsys):
    ran = run(capsys, "list", "methods")
    assert "rlfat-p" in ran.out
    assert "wrn_34_10" not in ran.out


def test_methods_are_listed_with_their_papers_what_is_known_of_them_and_the_passes_of_a_step(capsys):
    lines = run(capsys, "list", "methods").out.splitlines()
    told = {line.split()[0]: line for line in lines if line.strip()}
    assert told.keys() >= METHODS.keys()
    for name, method in METHODS.items():
        assert method.equation in told[name]
        assert method.autoattack in told[name]
        assert str(method.year or "none") in told[name]
    # 7 steps of attack and 1 of training; with the clean prediction before, the clean and the perturbed pass after
    assert told["pgdat"].split()[-2:] == ["8", "8"]
    assert told["trades"].split()[-2:] == ["10", "9"]
    assert told["standard"].split()[-2:] == ["1", "1"]


def test_in_a_narrow_terminal_methods_are_told_line_by_line(capsys, monkeypatch):
    narrow = Console(file=sys.stdout, width=80, force_terminal=True, color_system=None)
    monkeypatch.setattr(listing, "out", narrow)
    narrow.file = sys.stdout
    listing.main(["methods"])
    lines = capsys.readouterr().out.splitlines()
    assert "rat: points of the region of an attack's path. Paper: Song et al., arXiv 2021." in lines
    assert lines[lines.index("  CE(x', y); eqs. (4), (5)") + 2] == "  8 forwards, 8 backwards"
