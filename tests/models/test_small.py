"""The small network: its size, its maps, and that it learns."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from hardy.errors import UsageError
from hardy.models import parameter_count, small_cnn
from hardy.randomness import Noise


def test_the_parameter_count_is_the_sum_over_layers():
    # convolutions 9 * (1*16 + 16*32 + 32*64 + 64*64) = 60,048; batch norms 2 * (16 + 32 + 64 + 64) = 352; linear 650
    assert parameter_count(small_cnn().build(10, 1)) == 60_048 + 352 + 650 == 61_050


@pytest.mark.parametrize(("size", "side"), [(8, 2), (16, 4), (28, 7), (32, 8)])
def test_maps_have_a_quarter_of_the_images_side(size, side):
    maps = small_cnn(4).build(10, 1).maps(torch.zeros(2, 1, size, size))
    assert maps.shape == (2, 16, side, side)


def test_it_learns_which_half_of_the_image_is_brighter():
    model = small_cnn(4).build(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    x = 0.5 * Noise.of_batch(64, purpose="x").uniform((1, 8, 8))
    y = Noise.of_batch(64, purpose="y").integers(2, ())
    x[y == 0, :, :4] += 0.3
    x[y == 1, :, 4:] += 0.3
    for _ in range(20):
        optimizer.zero_grad()
        cross_entropy(model(x), y).backward()
        optimizer.step()
    assert (model(x).argmax(1) == y).float().mean() > 0.95


def test_a_width_below_one_is_refused():
    with pytest.raises(UsageError, match=r"^width is 0; it must be at least 1\.$"):
        small_cnn(0)


def test_the_builder_takes_a_normalisation():
    network = small_cnn(8, mean=(0.5,), deviation=(0.25,))
    assert (network.width, network.mean, network.deviation) == (8, (0.5,), (0.25,))
