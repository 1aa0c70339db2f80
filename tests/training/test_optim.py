"""Schedules at points computed by hand, optimisers' groups, and settings that are refused."""

import pytest
import torch

from hardy.errors import UsageError
from hardy.models import small_cnn
from hardy.training.optim import SGD, Adam, Constant, Cosine, OneCycle, Piecewise


@pytest.mark.parametrize(
    ("schedule", "progress", "factor"),
    [
        (Constant(), 0.0, 1.0),
        (Constant(), 1.0, 1.0),
        (Piecewise(), 0.0, 1.0),
        (Piecewise(), 0.4999, 1.0),
        (Piecewise(), 0.5, 0.1),
        (Piecewise(), 0.7499, 0.1),
        (Piecewise(), 0.75, 0.01),
        (Piecewise(), 1.0, 0.01),
        (Piecewise((0.2,), 0.5), 0.2, 0.5),
        (Piecewise(()), 0.9, 1.0),
        (Cosine(), 0.0, 1.0),
        (Cosine(), 1 / 3, 0.75),
        (Cosine(), 0.5, 0.5),
        (Cosine(), 2 / 3, 0.25),
        (Cosine(), 1.0, 0.0),
        (Cosine(warmup=0.2), 0.0, 0.0),
        (Cosine(warmup=0.2), 0.05, 0.25),
        (Cosine(warmup=0.2), 0.2, 1.0),
        (Cosine(warmup=0.2), 0.6, 0.5),
        (Cosine(warmup=0.2), 1.0, 0.0),
        (OneCycle(), 0.0, 0.0),
        (OneCycle(), 0.1, 0.25),
        (OneCycle(), 0.4, 1.0),
        (OneCycle(), 0.7, 0.5),
        (OneCycle(), 1.0, 0.0),
        (OneCycle(peak=0.5), 0.25, 0.5),
    ],
)
def test_schedules_have_these_values(schedule, progress, factor):
    assert schedule(progress) == pytest.approx(factor, abs=1e-12)


def test_sgd_decays_everything_unless_told_to_spare_norms_and_biases():
    model = small_cnn(width=2).build(3, 1)
    (group,) = SGD(weight_decay=0.3).build(model).param_groups
    assert group["weight_decay"] == 0.3
    assert {id(p) for p in group["params"]} == {id(p) for p in model.parameters()}
    weights, others = SGD(weight_decay=0.3, decay_norms=False).build(model).param_groups
    assert (weights["weight_decay"], others["weight_decay"]) == (0.3, 0.0)
    names = {id(p): name for name, p in model.named_parameters()}
    assert {names[id(p)] for p in weights["params"]} == {f"layers.{i}.weight" for i in (0, 3, 6, 9)} | {"linear.weight"}
    norms = {f"layers.{i}.{kind}" for i in (1, 4, 7, 10) for kind in ("weight", "bias")}
    assert {names[id(p)] for p in others["params"]} == norms | {"linear.bias"}


def test_sgd_passes_its_settings_on():
    built = SGD(lr=0.3, momentum=0.8, nesterov=True, weight_decay=0.0).build(small_cnn(width=1).build(3, 1))
    assert type(built) is torch.optim.SGD
    assert [built.defaults[key] for key in ("lr", "momentum", "nesterov")] == [0.3, 0.8, True]


def test_adam_passes_its_settings_on_and_decays_nothing_by_default():
    model = small_cnn(width=1).build(3, 1)
    built = Adam(lr=0.3, beta1=0.5, beta2=0.6).build(model)
    (group,) = built.param_groups
    assert type(built) is torch.optim.Adam
    assert (group["lr"], group["betas"], group["weight_decay"]) == (0.3, (0.5, 0.6), 0.0)
    assert len(group["params"]) == len(list(model.parameters()))
    assert Adam(weight_decay=0.2).build(model).param_groups[0]["weight_decay"] == 0.2


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (lambda: SGD(lr=0.0), "lr is 0.0; it must be above 0"),
        (lambda: SGD(lr=float("nan")), "lr is nan"),
        (lambda: SGD(weight_decay=-1.0), "weight_decay is -1.0"),
        (lambda: SGD(momentum=1.0), r"momentum is 1.0; it must be in \[0, 1\)"),
        (lambda: SGD(momentum=-0.1), "momentum is -0.1"),
        (lambda: SGD(momentum=0.0, nesterov=True), "momentum is 0.0; it must be above 0 where nesterov is set"),
        (lambda: SGD(clip=0.0), "clip is 0.0; it must be above 0, or None"),
        (lambda: Adam(lr=-1e-3), "lr is -0.001"),
        (lambda: Adam(beta1=1.0), "beta1 is 1.0"),
        (lambda: Adam(beta2=-0.1), "beta2 is -0.1"),
        (lambda: Adam(clip=-1.0), "clip is -1.0"),
        (lambda: Piecewise((0.5, 0.5)), "rising"),
        (lambda: Piecewise((0.5, 0.2)), "rising"),
        (lambda: Piecewise((0.5, 1.2)), "drops is"),
        (lambda: Piecewise(factor=0.0), "factor is 0.0"),
        (lambda: Piecewise(factor=1.5), "factor is 1.5"),
        (lambda: Cosine(warmup=1.0), "warmup is 1.0"),
        (lambda: Cosine(warmup=-0.1), "warmup is -0.1"),
        (lambda: OneCycle(peak=0.0), "peak is 0.0"),
        (lambda: OneCycle(peak=1.0), "peak is 1.0"),
    ],
)
def test_bad_values_are_refused_with_what_is_allowed(bad, said):
    with pytest.raises(UsageError, match=said):
        bad()
