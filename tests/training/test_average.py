"""EMA against averages computed by hand."""

import pytest
import torch

from hardy.errors import UsageError
from hardy.models import small_cnn
from hardy.training.average import EMA


def _move(model, step: int) -> None:
    with torch.no_grad():
        for i, p in enumerate(model.parameters()):
            p.fill_(0.1 * step * (i + 1))
        model.layers[1].running_mean.fill_(float(step) ** 2)
        model.layers[1].num_batches_tracked.fill_(step)


def test_the_average_is_the_one_computed_by_hand():
    model, ema = small_cnn(width=1).build(3, 1), EMA(decay=0.7)
    average = ema.start(model)
    by_hand = {name: value.double() for name, value in model.state_dict().items()}
    decays = []
    for step in range(1, 31):
        _move(model, step)
        ema.update(average, model, step)
        decays.append(min(0.7, (1 + step) / (10 + step)))
        for name, value in model.state_dict().items():
            by_hand[name] = decays[-1] * by_hand[name] + (1 - decays[-1]) * value.double()
    assert decays[0] == 2 / 11
    assert decays[-1] == 0.7
    assert average["layers.1.num_batches_tracked"] == 30
    assert average["layers.1.running_mean"] < 900
    for name, value in average.items():
        if value.is_floating_point():
            torch.testing.assert_close(value.double(), by_hand[name], rtol=1e-5, atol=1e-6)


def test_the_average_starts_as_a_copy_that_later_steps_do_not_touch():
    model = small_cnn(width=1).build(3, 1)
    average = EMA().start(model)
    assert all(torch.equal(average[name], value) for name, value in model.state_dict().items())
    _move(model, 1)
    assert average["layers.1.running_mean"] == 0
    assert not any(value.requires_grad for value in average.values())


def test_the_network_is_left_as_it_was():
    model, ema = small_cnn(width=1).build(3, 1), EMA()
    average = ema.start(model)
    _move(model, 3)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    ema.update(average, model, 3)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_a_decay_of_zero_follows_the_network():
    model, ema = small_cnn(width=1).build(3, 1), EMA(decay=0.0)
    average = ema.start(model)
    _move(model, 2)
    ema.update(average, model, 2)
    assert all(torch.equal(average[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize("decay", [-0.1, 1.0, float("nan")])
def test_a_decay_out_of_range_is_refused(decay):
    with pytest.raises(UsageError, match=r"decay is .*; it must be"):
        EMA(decay=decay)
