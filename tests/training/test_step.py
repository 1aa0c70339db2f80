"""Step: the objective's terms, as a module."""

import copy
import shutil

import pytest
import torch

from hardy.attacks import PGD
from hardy.objectives import AWP, PGDAT, RAT, RLFATP, FeatureMatching
from hardy.training.precision import prepare
from hardy.training.step import Step
from objectives.by_hand import images, labels, network, noise


def test_a_step_gives_what_the_objective_gives():
    model, objective = network(), RLFATP(PGD(steps=2))
    terms = Step(copy.deepcopy(model), objective)(images(), labels(), noise())
    wanted = objective(model, images(), labels(), noise())
    assert terms.keys() == wanted.keys()
    assert all(torch.equal(terms[name], wanted[name]) for name in wanted)


def test_a_step_owns_the_networks_parameters_and_no_others():
    model = network()
    step = Step(model, RLFATP(PGD(steps=2)))
    assert [id(p) for p in step.parameters()] == [id(p) for p in model.parameters()]
    sum(step(images(), labels(), noise()).values()).backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch.compile warns of torch's own parts
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.parametrize(
    "objective", [RLFATP(PGD(steps=2)), AWP(PGDAT(PGD(steps=2))), FeatureMatching(PGD(steps=2)), RAT(PGD(steps=2))]
)
def test_a_compiled_step_has_the_terms_and_gradients_of_a_plain_one(objective):
    plain = network()
    compiled = prepare(copy.deepcopy(plain), torch.device("cpu"), "float32", compiled=True)
    prepare(plain, torch.device("cpu"), "float32")
    found = []
    for model in (plain, compiled):
        terms = Step(model, objective)(images(), labels(), noise())
        sum(terms.values()).backward()
        found.append((terms, {name: p.grad for name, p in model.named_parameters()}))
    (terms, gradients), (compiled_terms, compiled_gradients) = found
    torch.testing.assert_close(compiled_terms, terms, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(compiled_gradients, gradients, rtol=1e-3, atol=1e-5)
    assert type(compiled.trunk) is not type(plain.trunk)  # a compiled function, not the method
