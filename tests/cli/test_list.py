from commands import run

from hardy.recipes import recipes
from hardy.recipes.settings import METHODS


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


def test_one_kind_is_listed_alone(capsys):
    ran = run(capsys, "list", "methods")
    assert "rlfat-p" in ran.out
    assert "wrn_34_10" not in ran.out


def test_an_unknown_kind_gets_the_nearest_name(capsys):
    ran = run(capsys, "list", "recipe")
    assert ran.code == 2
    assert "did you mean recipes" in ran.err
