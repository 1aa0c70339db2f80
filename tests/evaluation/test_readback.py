"""Whether a network is the same after it was written and read again, to the last bit."""

import copy

import pytest
import torch

from hardy.errors import FailedError
from hardy.evaluation.readback import check_same, logits
from toys import classifier, split

N = 260  # more than go through the network at once


def test_the_logits_of_all_images_are_the_networks_in_evaluation_mode_and_it_is_left_as_it_was():
    model = classifier().train()
    data = split(N, model.eval())
    with torch.no_grad():
        expected = model(data.x())
    model.train()
    before = copy.deepcopy(model.state_dict())
    told = []
    found = logits(model, data, told.append)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert told == [250, 260]
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert found.device.type == "cpu"
    assert found.dtype == torch.float32


def test_a_copy_is_the_same_and_one_whose_last_bit_differs_is_not():
    model = classifier()
    data = split(12, model)
    measured = logits(model, data)
    check_same(measured, logits(copy.deepcopy(model), data), data, "w.pt")
    measured[3, 0] = torch.nextafter(measured[3, 0], torch.tensor(torch.inf))
    with pytest.raises(FailedError, match=r"w\.pt was read back .*: 1 of 12 images get other logits"):
        check_same(measured, logits(model, data), data, "w.pt")


def test_what_differs_is_said_by_its_accuracy():
    model = classifier()
    data = split(12, model)  # labelled as it predicts
    other = copy.deepcopy(model)
    other.linear.weight.data.neg_()
    other.linear.bias.data.neg_()
    with pytest.raises(FailedError, match=r"12 of 12 images get other logits, and 0 are .* where 12 were"):
        check_same(logits(model, data), logits(other, data), data, "w.pt")
