"""Step: the objective's terms, as a module."""

import copy

import torch

from hardy.attacks import PGD
from hardy.objectives import RLFATP
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
