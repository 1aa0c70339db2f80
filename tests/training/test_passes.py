"""The passes of a step are counted where the trunk is, in batches, and the network is left as it was."""

import copy

import torch

from hardy.objectives.objective import Objective
from hardy.training.passes import Passes, counting, passes_of_step
from objectives.by_hand import images, labels, network, noise


class Made(Objective):
    """Five passes: a whole batch twice, half of one, one without a gradient, and one that the loss does not look at."""

    def terms(self, model, x, y, made, noise):
        with torch.no_grad():
            model(x)
        model(x)
        return {"loss": model(x).sum() + model(x).sum() + model(x[: len(x) // 2]).sum()}


def test_passes_are_counted_by_images_and_only_those_back_that_are_made():
    model = network()
    before = model.trunk
    assert passes_of_step(Made(), model, images(4), labels(4), noise(4)) == Passes(4.5, 2.5)
    assert "trunk" not in vars(model)
    assert model.trunk == before
    assert all(p.grad is not None for p in model.parameters())


def test_a_trunk_that_was_put_in_place_of_the_networks_own_is_there_again():
    model = network()
    model.trunk = compiled = copy.deepcopy(model).trunk  # as `prepare` does with a compiled one
    with counting(model, 4) as passes:
        model(images(4))
    assert vars(model)["trunk"] is compiled
    assert passes.forwards == 1
