"""Precision and layout: what "auto" means, what runs in bfloat16, and that the layout does not change the numbers."""

import copy

import pytest
import torch

from hardy.models import preact_resnet_18, small_cnn
from hardy.models.madry_resnet import MadryResNet
from hardy.randomness import Noise
from hardy.training import precision
from hardy.training.precision import multiplies_bfloat16, prepare, resolve

CPU = torch.device("cpu")
networks = pytest.mark.parametrize("network", [small_cnn(8), preact_resnet_18(8), MadryResNet(2, 1)], ids=str)


def _images(n: int = 4):
    return Noise.of_batch(n, purpose="images").uniform((3, 16, 16))


@pytest.mark.parametrize("able", [True, False])
def test_auto_is_bfloat16_where_the_machine_multiplies_it_and_float32_elsewhere(monkeypatch, able):
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda device: able)
    assert resolve("auto", CPU) == ("bfloat16" if able else "float32")
    assert resolve("float32", CPU) == "float32"
    assert resolve("bfloat16", CPU) == "bfloat16"


def test_a_gpu_multiplies_bfloat16_from_compute_capability_8_on(monkeypatch):
    for capability, able in [((7, 5), False), ((8, 0), True), ((9, 0), True)]:
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, capability=capability: capability)
        assert multiplies_bfloat16(torch.device("cuda")) is able


def test_a_cpu_multiplies_bfloat16_with_either_instruction_set_and_other_devices_never_do(monkeypatch):
    for avx, amx in [(False, False), (True, False), (False, True)]:
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda avx=avx: avx)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda amx=amx: amx)
        assert multiplies_bfloat16(CPU) is (avx or amx)
    assert multiplies_bfloat16(torch.device("meta")) is False


@networks
def test_a_bfloat16_trunk_gives_float32_logits_near_the_float32_ones(network):
    exact = prepare(network.build(10).eval(), CPU, "float32")
    rough = prepare(copy.deepcopy(exact), CPU, "bfloat16")
    kinds = set()
    for layer in rough.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.register_forward_hook(lambda _, given, out: kinds.add(out.dtype))
    with torch.no_grad():
        a, b = exact(_images()), rough(_images())
    assert kinds == {torch.bfloat16}
    assert b.dtype == torch.float32
    assert not torch.equal(a, b)
    assert (a - b).abs().max() < 0.05 * a.abs().max()
    assert all(p.dtype == torch.float32 for p in rough.parameters())


@networks
def test_gradients_through_a_bfloat16_trunk_are_float32(network):
    model, x = prepare(network.build(10), CPU, "bfloat16"), _images().requires_grad_()
    model(x).square().sum().backward()
    assert x.grad.dtype == torch.float32
    assert x.grad.abs().sum() > 0
    assert all(p.grad.dtype == torch.float32 for p in model.parameters())


@networks
def test_channels_last_gives_what_contiguous_gives(network):
    contiguous = prepare(network.build(10), CPU, "float32", "contiguous")
    last = prepare(network.build(10), CPU, "float32", "channels_last")
    automatic = prepare(network.build(10), CPU, "float32", "auto")
    kernel = next(p for p in last.parameters() if p.ndim == 4 and p.shape[1] > 1)
    assert kernel.is_contiguous(memory_format=torch.channels_last)
    assert not kernel.is_contiguous()
    assert all(p.is_contiguous() for p in contiguous.parameters())
    assert [p.stride() for p in automatic.parameters()] == [p.stride() for p in last.parameters()]
    for model in (contiguous, last):
        model(_images()).square().mean().backward()
    torch.testing.assert_close(last.eval()(_images()), contiguous.eval()(_images()), rtol=1e-5, atol=1e-5)
    for a, b in zip(last.parameters(), contiguous.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=0, atol=1e-4 * float(b.grad.abs().max()))


def test_float32_takes_a_lower_precision_back():
    model = prepare(small_cnn(2).build(3), CPU, "bfloat16")
    assert model.autocast is torch.bfloat16
    assert prepare(model, CPU, "float32").autocast is None


def test_only_the_trunk_is_compiled_and_only_when_asked(monkeypatch):
    given = []
    monkeypatch.setattr(torch, "compile", lambda trunk: given.append(trunk) or (lambda x: 2 * trunk(x)))
    plain = prepare(small_cnn(2).build(3).eval(), CPU, "float32")
    assert given == []
    compiled = prepare(small_cnn(2).build(3).eval(), CPU, "float32", compiled=True)
    assert len(given) == 1
    assert compiled.state_dict().keys() == plain.state_dict().keys()
    torch.testing.assert_close(compiled.features(_images()), 2 * plain.features(_images()))
