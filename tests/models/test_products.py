"""A convolution as a product: the same function of images and weights, and taken only where it pays."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from hardy.models import PreActResNet18, wrap
from hardy.models import products as module
from hardy.models.folding import folded
from hardy.models.products import Product, as_products, pays, product
from hardy.randomness import Noise

CPU = torch.device("cpu")
LAYOUTS = [torch.contiguous_format, torch.channels_last]


def drawn(name: str, *shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return Noise.of_batch(1, purpose=name).normal(shape)[0].to(dtype)


def assert_same_gradients(out: torch.Tensor, expected: torch.Tensor, of: list[torch.Tensor]) -> None:
    """First gradients, and those of what the first ones make."""
    torch.testing.assert_close(out, expected)
    first = [torch.autograd.grad(it.exp().sum(), of, create_graph=True) for it in (out, expected)]
    torch.testing.assert_close(*first)
    second = [torch.autograd.grad(sum(grad.square().sum() for grad in grads), of) for grads in first]
    assert all(grad.abs().max() > 0 for grad in second[1])
    torch.testing.assert_close(*second)


@pytest.mark.parametrize("few", [0, 10**6], ids=["one product", "a product for each row of the kernel"])
@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_with_fixed_weights_it_is_the_convolution_and_so_are_its_gradients(few, k, biased, layout, monkeypatch):
    monkeypatch.setattr(module, "_FEW", few)
    x = drawn("x", 2, 3, 5, 4).contiguous(memory_format=layout).requires_grad_()
    weight, bias = drawn("weight", 7, 3, k, k), drawn("bias", 7) if biased else None
    assert_same_gradients(Product(weight, bias)(x), F.conv2d(x, weight, bias, padding=k // 2), [x])


@pytest.mark.parametrize("few", [0, 10**6], ids=["one product", "a product for each row of the kernel"])
@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("size", [(5, 4), (6, 7)])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_with_weights_that_learn_it_is_the_convolution_and_so_are_its_gradients(
    few, k, stride, size, layout, monkeypatch
):
    monkeypatch.setattr(module, "_FEW", few)
    x = drawn("x", 2, 3, *size).contiguous(memory_format=layout).requires_grad_()
    weight = drawn("weight", 7, 3, k, k).contiguous(memory_format=layout).requires_grad_()
    bias = drawn("bias", 7).requires_grad_()
    out = product(x, weight, bias, (stride, stride), (k // 2, k // 2), precision=torch.float64)
    assert_same_gradients(out, F.conv2d(x, weight, bias, stride, k // 2), [x, weight, bias])


USUAL = {"in_channels": 512, "out_channels": 512, "kernel_size": 3, "padding": 1}


@pytest.mark.parametrize(
    ("settings", "size", "expected"),
    [
        ({}, (8, 8), True),
        ({}, (8, 9), False),  # each pixel would be copied nine times
        ({"stride": 2}, (8, 8), True),
        ({"stride": (1, 2)}, (8, 8), False),
        ({"padding": "same"}, (8, 8), False),
        ({"padding": 0}, (8, 8), False),
        ({"padding": 2, "dilation": 2}, (8, 8), False),
        ({"groups": 2}, (8, 8), False),
        ({"padding_mode": "reflect"}, (4, 4), False),
        ({"kernel_size": 2}, (8, 8), False),
        ({"kernel_size": (3, 1), "padding": (1, 0)}, (8, 8), False),
        ({"in_channels": 16}, (8, 8), False),  # its weights stay in a core's cache
        ({"dtype": torch.float64}, (8, 8), False),
    ],
)
def test_it_pays_for_wide_convolutions_of_small_maps(settings, size, expected, monkeypatch):
    calls = []
    monkeypatch.setattr(module, "product", lambda *args, **given: calls.append(args) or product(*args, **given))
    layer = nn.Conv2d(**{**USUAL, **settings})
    x = torch.zeros(1, layer.in_channels, *size, dtype=layer.weight.dtype)
    with torch.autocast("cpu", torch.bfloat16):
        plain = layer(x)
        assert not calls
        with as_products(CPU, torch.bfloat16):
            out = layer(x)
    assert bool(calls) == expected
    assert out.shape == plain.shape
    assert out.dtype is plain.dtype


def test_keyword_arguments_are_those_of_conv2d():
    x, weight = torch.zeros(1, 512, 4, 4), torch.zeros(512, 512, 3, 3)
    assert pays(input=x, weight=weight, padding=1)
    assert not pays(x, weight, padding=1, dilation=2)
    with torch.autocast("cpu", torch.bfloat16), as_products(CPU, torch.bfloat16):
        assert F.conv2d(x, weight, padding=1, stride=2).shape == (1, 512, 2, 2)


def test_nothing_else_is_replaced():
    assert not isinstance(as_products(torch.device("cuda"), torch.bfloat16), module._Products)
    assert not isinstance(as_products(CPU, torch.float16), module._Products)
    x = drawn("x", 2, 3, 4, 4)
    with as_products(CPU, torch.bfloat16):
        assert torch.equal(F.relu(x), x.clamp_min(0))


def error(got: torch.Tensor, exact: torch.Tensor) -> float:
    return float((got.float() - exact).norm() / exact.norm())


@pytest.mark.parametrize("stride", [1, 2])
def test_it_rounds_about_as_a_convolution_in_bfloat16(stride):
    make = partial(drawn, dtype=torch.float32)
    x, weight = make("x", 4, 256, 8, 8).requires_grad_(), (make("weight", 512, 256, 3, 3) / 48).requires_grad_()
    upstream = make("upstream", 4, 512, 8 // stride, 8 // stride)

    def results(convolution):
        out = convolution(x, weight, None, stride, 1)
        return out.detach(), *torch.autograd.grad(out, (x, weight), upstream.to(out.dtype))

    exact = results(F.conv2d)
    with torch.autocast("cpu", torch.bfloat16):
        usual, got = results(F.conv2d), results(product)
    for mine, theirs, right in zip(got, usual, exact, strict=True):
        assert mine.dtype is theirs.dtype
        # a product for each row of the kernel rounds three times
        assert error(mine, right) < 1.75 * error(theirs, right) < 0.01


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


@pytest.mark.parametrize("whose", ["hardy", "other"])
def test_a_wide_network_learns_through_products_as_through_its_own_convolutions(whose, monkeypatch):
    model = PreActResNet18(64).build(10) if whose == "hardy" else wrap(_Wide())
    model.autocast = torch.bfloat16
    x, y, sizes = Noise.of_batch(4).uniform((3, 32, 32)), torch.arange(4), []
    monkeypatch.setattr(module, "product", lambda x, *args: sizes.append(x.shape) or product(x, *args))

    def gradients():
        model.zero_grad()
        F.cross_entropy(model(x), y).backward()
        return torch.cat([p.grad.flatten() for p in model.parameters()])

    through_products = gradients()
    assert sizes == [(4, 256, 8, 8), *[(4, 512, 4, 4)] * 3] if whose == "hardy" else [(4, 512, 8, 8)]
    monkeypatch.setattr(module, "pays", lambda *args, **given: False)
    usual, model.autocast = gradients(), None
    exact = gradients()
    assert error(through_products, usual) > 0
    assert error(through_products, exact) < 1.5 * error(usual, exact)


class _Wide(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 512, 3, 4, 1), nn.Conv2d(512, 512, 3, 1, 1)
        self.last = nn.Linear(512, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.second(self.first(x).relu()).mean((2, 3)))


def test_a_compiled_trunk_is_left_alone(monkeypatch):
    model = PreActResNet18(64).build(10)
    model.autocast, calls = torch.bfloat16, []
    monkeypatch.setattr(module, "product", lambda *args: calls.append(args) or product(*args))
    model.trunk = model.trunk  # as prepare(compiled=True) sets one
    model(Noise.of_batch(2).uniform((3, 32, 32)))
    assert not calls


@pytest.mark.parametrize("few", [0, 10**6])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_batch_may_be_empty(few, stride, monkeypatch):
    monkeypatch.setattr(module, "_FEW", few)
    x, weight = drawn("x", 0, 3, 5, 4).requires_grad_(), drawn("weight", 7, 3, 3, 3).requires_grad_()
    made = product(x, weight, None, stride, precision=torch.float64)
    expected = F.conv2d(x, weight, None, stride, 1)
    torch.testing.assert_close(made, expected)
    torch.testing.assert_close(*(torch.autograd.grad(out.sum(), (x, weight)) for out in (made, expected)))
    if stride == 1:
        fixed = Product(weight.detach(), None)(x)
        assert torch.autograd.grad(fixed.sum(), x)[0].shape == x.shape


def test_layers_for_which_a_network_turns_autocast_off_are_no_products():
    x, weight = torch.zeros(1, 512, 4, 4), torch.zeros(512, 512, 3, 3)
    with torch.autocast("cpu", torch.bfloat16), as_products(CPU, torch.bfloat16):
        assert F.conv2d(x, weight, padding=1).dtype is torch.bfloat16
        with torch.autocast("cpu", enabled=False):
            out = F.conv2d(x, weight, padding=1)
    assert out.dtype is torch.float32


@pytest.mark.parametrize("layout", LAYOUTS)
def test_it_is_laid_out_as_a_convolution(layout):
    make = partial(drawn, dtype=torch.float32)
    x, weight = (make(name, *size).contiguous(memory_format=layout) for name, size in
                 {"x": (2, 512, 4, 4), "weight": (512, 512, 3, 3)}.items())  # fmt: skip
    assert product(x, weight).stride() == F.conv2d(x, weight, padding=1).stride()


def test_of_what_is_no_convolution_torch_says_why():
    with torch.autocast("cpu", torch.bfloat16), as_products(CPU, torch.bfloat16):
        with pytest.raises(RuntimeError, match=r"expected input.* to have 512 channels, but got 256 channels"):
            F.conv2d(torch.zeros(1, 256, 4, 4), torch.zeros(512, 512, 3, 3), padding=1)
        assert not pays(torch.zeros(1, 512, 4, 4, dtype=torch.complex64), torch.zeros(512, 512, 3, 3), padding=1)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")  # which torch.func.jvp uses
def test_transforms_of_torch_go_through_the_usual_convolution():
    model, x = wrap(_Wide()).eval(), Noise.of_batch(2).uniform((3, 32, 32))
    model.autocast = torch.bfloat16
    assert torch.func.vmap(lambda one: model(one[None])[0])(x).shape == (2, 10)
    assert torch.func.jacrev(model)(x).shape == (2, 10, 2, 3, 32, 32)
    assert torch.func.jvp(model, (x,), (x,))[1].shape == (2, 10)


def test_a_layer_that_is_run_again_in_the_backward_pass_is_the_same_there():
    layer, x = nn.Conv2d(512, 512, 3, 1, 1), torch.zeros(2, 512, 4, 4).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16), as_products(CPU, torch.bfloat16):
        out = checkpoint(lambda x: layer(x).relu(), x, use_reentrant=False)
    out.sum().backward()
    assert x.grad is not None
