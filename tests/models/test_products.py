"""A convolution as a product: the same function of the images, and taken only where it pays."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hardy.models import PreActResNet18
from hardy.models.folding import folded
from hardy.models.products import Product, is_small, pays
from hardy.randomness import Noise


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_it_is_the_convolution_and_so_are_its_gradients(k, biased, layout):
    noise = Noise.of_batch(2)
    x = noise.normal((3, 5, 4)).double().contiguous(memory_format=layout).requires_grad_()
    weight = noise.derive("weight").normal((7, 3, k, k))[0].double()
    bias = noise.derive("bias").normal((7,))[0].double() if biased else None
    out, expected = Product(weight, bias)(x), F.conv2d(x, weight, bias, padding=k // 2)
    torch.testing.assert_close(out, expected)
    grads = [torch.autograd.grad(it.exp().sum(), x, create_graph=True)[0] for it in (out, expected)]
    torch.testing.assert_close(*grads)
    torch.testing.assert_close(*[torch.autograd.grad(grad.square().sum(), x)[0] for grad in grads])


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, True),
        ({"stride": 2}, False),
        ({"padding": 0}, False),
        ({"padding": 2, "dilation": 2}, False),
        ({"groups": 2}, False),
        ({"padding_mode": "reflect"}, False),
        ({"kernel_size": 2}, False),
        ({"kernel_size": (3, 1), "padding": (1, 0)}, False),
        ({"in_channels": 16}, False),  # its weights stay in a core's cache
        ({"dtype": torch.float32}, False),
        ({"device": "meta"}, False),
    ],
)
def test_it_pays_for_wide_convolutions_in_bfloat16_that_leave_the_maps_size(settings, expected):
    usual = {"in_channels": 512, "out_channels": 512, "kernel_size": 3, "padding": 1, "dtype": torch.bfloat16}
    assert pays(nn.Conv2d(**{**usual, **settings})) == expected


def test_it_pays_on_small_maps():
    assert is_small(torch.empty(2, 3, 8, 8))
    assert not is_small(torch.empty(2, 3, 8, 9))


def test_a_wide_network_is_attacked_through_products_close_to_its_own_convolutions(monkeypatch):
    model = PreActResNet18(64).build(10).to(memory_format=torch.channels_last).eval()
    x = Noise.of_batch(2).uniform((3, 32, 32)).to(torch.bfloat16, memory_format=torch.channels_last).requires_grad_()
    calls = []
    forward = Product.forward
    monkeypatch.setattr(Product, "forward", lambda self, x: calls.append(x.shape) or forward(self, x))
    maps = folded(model, model.trunk, torch.bfloat16)(x)
    assert calls == [(2, 512, 4, 4)] * 3
    grad = torch.autograd.grad(maps.float().square().sum(), x)[0]
    exact_x = x.detach().float().requires_grad_()
    exact = model.trunk(exact_x)
    exact_grad = torch.autograd.grad(exact.square().sum(), exact_x)[0]
    assert float((maps - exact).detach().abs().max()) < 0.05 * float(exact.detach().abs().max())
    cosine = F.cosine_similarity(grad.float().flatten(), exact_grad.flatten(), dim=0)
    assert float(cosine) > 0.99
