import dataclasses
from typing import Any

import pytest
import torch

from hardy.describe import settings
from hardy.errors import UsageError
from hardy.objectives import AWP, Objective
from hardy.objectives.objective import loss_of
from hardy.training.loop import train
from training.fakes import tiny

SCALAR = torch.tensor(2.0, requires_grad=True)
MUST = "; they must be a dict of scalar tensors by name, at least one"


@settings
class OneOfEachImage(Objective):
    """A loss of one's own that lacks the mean over images."""

    def terms(self, model, x, y, made, noise):
        return {"natural": torch.nn.functional.cross_entropy(model(x), y, reduction="none")}


class WithoutDecorator(Objective):
    """A loss of one's own that is no settings class."""

    def terms(self, model, x, y, made, noise):
        return {"natural": torch.nn.functional.cross_entropy(model(x), y)}


def test_the_loss_is_the_sum_of_the_terms():
    assert loss_of({"a": SCALAR, "b": torch.tensor(0.5)}).item() == 2.5


@pytest.mark.parametrize(
    ("terms", "said"),
    [
        (SCALAR, r"a tensor of shape \(\)"),
        (None, "a NoneType"),
        ({}, r"{}"),
        ({"a": SCALAR, "b": 0.1}, "'b': 'a float'"),
        ({"a": SCALAR.expand(3)}, r"'a': 'a tensor of shape \(3,\)'"),
        ({0: SCALAR}, "0: 'a tensor"),
    ],
)
def test_terms_that_are_no_named_scalars_are_refused(terms: Any, said: str):
    with pytest.raises(UsageError, match=f"^An objective's terms are .*{said}.*{MUST}"):
        loss_of(terms)


def test_terms_without_gradient_are_refused():
    with pytest.raises(UsageError, match="An objective's terms, a, b, have no gradient"):
        loss_of({"a": torch.tensor(1.0), "b": SCALAR.detach()})


@pytest.mark.parametrize("objective", [OneOfEachImage(), AWP(OneOfEachImage())], ids=["plain", "awp"])
def test_ones_own_objective_that_forgot_the_mean_is_told_so_in_the_first_step(tmp_path, objective):
    with pytest.raises(UsageError, match=r"'natural': 'a tensor of shape \(8,\)'"):
        train(tiny(objective=objective), tmp_path / "run", device="cpu")


def test_ones_own_objective_that_is_no_settings_class_is_told_how_to_be_one(tmp_path):
    run = dataclasses.replace(tiny(), objective=WithoutDecorator())
    with pytest.raises(UsageError, match=r"WithoutDecorator in .* the decorator hardy\.describe\.settings makes one"):
        train(run, tmp_path / "run", device="cpu")
