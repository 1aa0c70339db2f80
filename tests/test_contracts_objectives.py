"""What every objective must do, asked of each one that a recipe uses."""

import copy
import dataclasses
import json

import pytest
import torch

from hardy.attacks import Linf
from hardy.describe import describe, fingerprint, rebuild
from hardy.models import small_cnn
from hardy.objectives import Objective
from hardy.recipes import digits, rlfat2020, small
from hardy.recipes.settings import METHODS, objective
from objectives.by_hand import images, labels, network, noise


def _quick(one: Objective) -> Objective:
    """The same objective with two steps of attack."""
    attack = getattr(one, "attack", None)
    return one if attack is None else dataclasses.replace(one, attack=dataclasses.replace(attack, steps=2))


def _every() -> dict[str, Objective]:
    """Each different objective of the recipes, and each method with either mode of batch norm."""
    runs = {**digits.recipes(), **small.recipes(), **rlfat2020.recipes()}
    found = {name: _quick(run.objective) for name, run in runs.items()}
    for method in METHODS:
        for mode in ("eval", "train"):
            found[f"{method} {mode}"] = objective(method, Linf(8 / 255), 2, 2 / 255, batch_norm=mode)
    return {name: one for i, (name, one) in enumerate(found.items()) if one not in list(found.values())[:i]}


EVERY = _every()
every = pytest.mark.parametrize("one", EVERY.values(), ids=EVERY.keys())


def test_the_recipes_bring_every_method_in_both_modes_of_batch_norm():
    modes = {(type(one).__name__, getattr(one, "batch_norm", None)) for one in EVERY.values()}
    assert modes == {("Standard", None)} | {
        (name, mode) for name in ("PGDAT", "TRADES", "RLFATP", "RLFATT", "RolledPGDAT") for mode in ("eval", "train")
    }


@every
@pytest.mark.parametrize("n", [2, 5])
def test_terms_are_named_finite_scalars_of_which_one_is_positive(one, n):
    terms = one(network(), images(n), labels(n), noise(n))
    assert terms
    assert all(isinstance(name, str) and name for name in terms)
    assert all(term.shape == () and term.dtype == torch.float32 and term.isfinite() for term in terms.values())
    assert all(term >= -1e-6 for term in terms.values())
    assert sum(terms.values()) > 0


@every
def test_the_gradient_of_the_sum_reaches_every_parameter(one):
    model = network()
    sum(one(model, images(), labels(), noise()).values()).backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []
    assert all(p.grad.isfinite().all() for p in model.parameters())


@every
def test_the_network_is_left_in_training_mode_with_its_parameters_as_they_were(one):
    model = network()
    model.linear.bias.requires_grad_(False)
    before = {name: p.clone() for name, p in model.named_parameters()}
    one(model, images(), labels(), noise())
    assert all(module.training for module in model.modules())
    assert {name for name, p in model.named_parameters() if not p.requires_grad} == {"linear.bias"}
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())
    assert all(p.grad is None for p in model.parameters())


@every
def test_the_images_are_left_as_they_were(one):
    x, y = images(), labels()
    kept = x.clone(), y.clone()
    one(network(), x, y, noise())
    assert torch.equal(x, kept[0])
    assert torch.equal(y, kept[1])
    assert not x.requires_grad
    assert x.grad is None


@every
def test_the_same_noise_gives_the_same_loss_and_another_step_another_where_anything_is_random(one):
    model = network()

    def terms(step: int, seed: int = 0) -> list[float]:
        found = one(copy.deepcopy(model), images(), labels(), noise(step=step, seed=seed))
        return [term.item() for term in found.values()]

    assert terms(5) == terms(5)
    is_random = type(one).__name__ != "Standard"
    assert (terms(5) != terms(6)) == is_random
    assert (terms(5) != terms(5, seed=1)) == is_random


@every
def test_torchs_global_generator_is_left_alone(one):
    before = torch.get_rng_state()
    sum(one(network(), images(), labels(), noise()).values()).backward()
    assert torch.equal(torch.get_rng_state(), before)


@every
def test_an_objective_is_rebuilt_from_its_description(one):
    again = rebuild(json.loads(json.dumps(describe(one))), Objective)
    assert again == one
    assert fingerprint(again) == fingerprint(one)


@every
def test_a_trunk_in_bfloat16_gives_nearly_the_same_terms(one):
    exact = small_cnn(width=8).build(5, 3)
    rough = copy.deepcopy(exact)
    rough.autocast = torch.bfloat16
    a, b = (one(model, images(8), labels(8), noise(8)) for model in (exact, rough))
    assert a.keys() == b.keys()
    assert all(term.dtype == torch.float32 for term in b.values())
    assert (sum(a.values()) - sum(b.values())).abs() < 0.1
