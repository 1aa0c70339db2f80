"""What every objective must do, asked of each one that a recipe uses."""

import copy
import dataclasses
import json

import pytest
import torch

from hardy import objectives
from hardy.attacks import Linf
from hardy.describe import describe, fingerprint, rebuild
from hardy.models import small_cnn
from hardy.objectives import AWP, Objective
from hardy.recipes import digits, rlfat2020, small
from hardy.recipes.methods import METHODS, Inner, objective
from hardy.training.passes import passes_of_step
from objectives.by_hand import assert_near, batch_norms, far, gradients, images, labels, network, noise

MODES = ("eval", "train", "batch")


def _quick(one: Objective) -> Objective:
    """The same objective with two steps of attack."""
    if isinstance(one, AWP):
        return dataclasses.replace(one, inner=_quick(one.inner))
    if one.attack is None:
        return one
    return dataclasses.replace(one, attack=dataclasses.replace(one.attack, steps=min(2, one.attack.steps)))


def _every() -> dict[str, Objective]:
    """Each different objective of the recipes, and each method with either mode of batch norm."""
    runs = {**digits.recipes(), **small.recipes(), **rlfat2020.recipes()}
    found = {name: _quick(run.objective) for name, run in runs.items()}
    for method in METHODS:
        for mode in MODES:
            found[f"{method} {mode}"] = objective(method, Inner(Linf(8 / 255), 2, 2 / 255, mode))
    return {name: one for i, (name, one) in enumerate(found.items()) if one not in list(found.values())[:i]}


def _inmost(one: Objective) -> Objective:
    return one.inner if isinstance(one, AWP) else one


def _class(name: str) -> type:
    made = getattr(objectives, name)
    return made if isinstance(made, type) else object


EVERY = _every()
every = pytest.mark.parametrize("one", EVERY.values(), ids=EVERY.keys())


def test_the_recipes_bring_every_method_in_both_modes_of_batch_norm():
    found = {(type(_inmost(one)).__name__, _inmost(one).batch_norm) for one in EVERY.values()}
    exported = {name for name in objectives.__all__ if issubclass(_class(name), Objective)}
    adversarial = exported - {"Objective", "Standard", "AWP"}
    assert found == {("Standard", "eval")} | {(name, mode) for name in adversarial for mode in MODES}
    assert any(isinstance(one, AWP) for one in EVERY.values())


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
def test_images_and_networks_in_float64_give_the_terms_of_float32_ones(one):
    plain = one(network(), images(), labels(), noise())
    wide = one(network().double(), images().double(), labels(), noise())
    assert all(term.dtype == torch.float64 for term in wide.values())
    # a sign of the gradient may turn where it is nearly 0
    assert (sum(wide.values()) - sum(plain.values())).abs() < 0.01 * sum(plain.values())


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
def test_the_running_statistics_are_those_of_the_losses_passes_unless_crafting_is_to_move_them(one):
    model, mode = network(), _inmost(one).batch_norm
    before = {name: value.clone() for name, value in model.named_buffers()}
    one.craft(model, images(), labels(), noise())
    moved = {name for name, value in model.named_buffers() if not torch.equal(value, before[name])}
    of_norms = {
        name for name in before if name.rpartition(".")[2] in ("running_mean", "running_var", "num_batches_tracked")
    }
    assert moved == (of_norms if mode == "train" and _inmost(one).attack is not None else set())


@every
def test_what_was_crafted_has_no_gradient_and_the_loss_of_it_is_the_objectives(one):
    model = network()
    made = one.craft(copy.deepcopy(model), images(), labels(), noise())
    assert not any(part.requires_grad for part in (made if isinstance(made, tuple) else (made,)))
    if _inmost(one).batch_norm == "train":
        return  # the loss then sees the statistics that crafting left
    whole = one(copy.deepcopy(model), images(), labels(), noise())
    assert one.terms(copy.deepcopy(model), images(), labels(), made, noise()) == whole


@every
@pytest.mark.parametrize("n", [3, 4])
def test_a_method_that_is_not_coupled_gives_an_image_the_same_loss_in_another_batch(one, n):
    """Without batch norm's statistics, the gradient of a batch is the mean of its images' own."""
    model = network()
    for layer in batch_norms(model):  # in training mode, with nothing to learn of a batch
        layer.forward = lambda x, layer=layer: torch.nn.functional.batch_norm(
            x, layer.running_mean, layer.running_var, layer.weight, layer.bias
        )
    x, y, drawn = images(n), labels(n), noise(n)

    def gradient(some) -> list[torch.Tensor]:
        return gradients(sum(one(model, x[some], y[some], drawn[some]).values()), model)

    whole = gradient(slice(n))
    alone = [gradient(slice(i, i + 1)) for i in range(n)]
    means = [sum(parts) / n for parts in zip(*alone, strict=True)]
    if one.coupled:
        assert far(whole, means)
    else:
        assert_near(whole, means)


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
    assert (sum(a.values()) - sum(b.values())).abs() < 0.05 * sum(a.values())


# what a step costs, in passes of the batch: (forwards, backwards) with `steps` steps of attack, where these are left open
COSTS = {
    "standard": lambda steps: (1, 1),
    "pgdat": lambda steps: (steps + 1, steps + 1),
    "pgdat-rolled": lambda steps: (steps + 1, steps + 1),
    "rbsat-p": lambda steps: (steps + 1, steps + 1),
    "rlfat-p": lambda steps: (steps + 2, steps + 2),  # the shuffled and the whole images
    "trades": lambda steps: (
        steps + 3,
        steps + 2,
    ),  # the clean prediction that is left, then clean and perturbed images
    "rbsat-t": lambda steps: (steps + 3, steps + 2),
    "rlfat-t": lambda steps: (steps + 4, steps + 3),
    "alp": lambda steps: (steps + 2, steps + 2),
    "feature-matching": lambda steps: (steps + 2, steps + 2),
    "feature-scatter": lambda steps: (3, 2),  # clean logits, one step, the loss
    "adv-interp": lambda steps: (3, 2),  # partners' features, one step, the loss
    "infofeature": lambda steps: (steps + 2, steps + 1),  # the clean maps come on top
    "avmixup": lambda steps: (steps + 1, steps + 1),
    "adt": lambda steps: (7 * 5 + 1, 7 * 5 + 1),
    "rat": lambda steps: (steps + 2, steps + 2),  # two points of each image; the path costs nothing
    "mart": lambda steps: (steps + 2, steps + 2),
    "fgsm-rs": lambda steps: (2, 2),
    "awp-pgdat": lambda steps: (steps + 2, steps + 2),  # the loss once more, and not the attack
    "awp-trades": lambda steps: (steps + 5, steps + 4),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("steps", [1, 3])
def test_a_step_costs_as_many_passes_as_its_method_has(method, steps):
    one = objective(method, Inner(Linf(8 / 255), steps))
    passes = passes_of_step(one, network(), images(), labels(), noise())
    assert (passes.forwards, passes.backwards) == COSTS[method](steps)
