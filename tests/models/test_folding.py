"""What stands for the trunk while a network is attacked in low precision is the same function of the images."""

import gc
import weakref
from collections.abc import Callable
from copy import deepcopy
from threading import Thread

import pytest
import torch
from torch import Tensor, nn

from hardy.models import (
    Architecture,
    Classifier,
    MadryResNet,
    PreActResNet18,
    ResNet18,
    SmallCNN,
    WideResNet,
    crafting,
    frozen,
    wrap,
)
from hardy.models.folding import can_be_folded, folded
from hardy.models.full_precision import full_precision
from hardy.models.preact_resnet import PreActResNet18Module
from hardy.randomness import Noise

NETWORKS = [PreActResNet18(4), ResNet18(4), SmallCNN(8), WideResNet(10, 1), MadryResNet(1, 1)]


def lived_in(architecture: Architecture) -> Classifier:
    """A network in eval mode whose batch norms have statistics, and weights of both signs."""
    noise, model = Noise.of_batch(1), architecture.build(4)
    for i, layer in enumerate(model.modules()):
        if isinstance(layer, nn.BatchNorm2d):
            drawn = noise.derive(str(i)).uniform((4, layer.num_features), -1, 1)[0]
            layer.running_mean, layer.running_var = drawn[0].clone(), 1.5 + drawn[1]
            layer.weight.data, layer.bias.data = drawn[2].clone(), drawn[3].clone()
    return model.eval()


def pixels(n: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return Noise.of_batch(n, purpose="pixels").uniform((3, 16, 16)).to(dtype)


@pytest.mark.parametrize("architecture", NETWORKS, ids=repr)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_same_maps_and_gradients(architecture: Architecture, layout: torch.memory_format) -> None:
    model = lived_in(architecture).double().to(memory_format=layout)
    x = pixels(3, torch.float64).requires_grad_()
    maps, quick = model.trunk(x), folded(model, model.trunk, torch.float64)
    torch.testing.assert_close(quick(x), maps, rtol=1e-9, atol=1e-10)
    weights = Noise.of_batch(1).normal(tuple(maps.shape))[0].double()
    expected, got = (torch.autograd.grad((out * weights).sum(), x)[0] for out in (maps, quick(x)))
    assert float(expected.abs().max()) > 0
    torch.testing.assert_close(got, expected, rtol=1e-8, atol=1e-9)
    layers = list(quick.modules())
    assert not [layer for layer in layers if isinstance(layer, nn.BatchNorm2d)]
    own = {id(p) for p in model.parameters()}
    assert not [p for p in quick.parameters() if id(p) in own or p.requires_grad]


def test_follows_the_weights() -> None:
    model = lived_in(PreActResNet18(4)).double()
    x = pixels(2, torch.float64)
    before = folded(model, model.trunk, torch.float64)(x)
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(1.1)
    after = folded(model, model.trunk, torch.float64)(x)
    assert not torch.allclose(before, after)
    torch.testing.assert_close(after, model.trunk(x), rtol=1e-9, atol=1e-10)


def test_only_while_crafting_in_low_precision_and_eval_mode() -> None:
    model, x = lived_in(PreActResNet18(4)), pixels(8)
    with torch.no_grad():
        plain = model(x)
        with frozen(model):
            assert torch.equal(model(x), plain)  # float32: to the bit
        model.autocast = torch.bfloat16
        low = model(x)
        with frozen(model):
            quick = model(x)
            with frozen(model):
                assert torch.equal(model(x), quick)
            assert torch.equal(model(x), quick)
            with full_precision(model):
                assert torch.equal(model(x), plain)  # verdicts
        assert torch.equal(model(x), low)
        with crafting(model, "train"):
            torch.testing.assert_close(model(x), model(x), rtol=0, atol=0)
            training = model(x)
    assert not torch.equal(quick, low)  # it was another computation
    # both round to 8 bits at every layer: about as far from float32
    assert float((quick - plain).abs().max()) < 3 * float((low - plain).abs().max())
    assert not torch.allclose(training, plain, atol=1e-2)


def test_other_peoples_networks_and_compiled_ones_run_as_they_are() -> None:
    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))

        def forward(self, x: Tensor) -> Tensor:
            return self.layers(x + torch.rand_like(x)).mean((2, 3))

    model = wrap(Noisy().eval())
    model.autocast = torch.bfloat16
    with frozen(model), torch.no_grad():
        assert not torch.equal(model(pixels(2)), model(pixels(2)))
    ours = lived_in(SmallCNN(8))
    ours.autocast = torch.bfloat16
    calls: list[int] = []
    trunk = ours.trunk
    ours.trunk = lambda x: (calls.append(len(x)), trunk(x))[1]  # type: ignore[method-assign]
    with frozen(ours), torch.no_grad():
        ours(pixels(2))
    assert calls == [2]


def test_the_network_is_not_kept_alive() -> None:
    model = lived_in(SmallCNN(8))
    folded(model, model.trunk, torch.bfloat16)
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


def test_nothing_is_kept_in_the_network() -> None:
    model = lived_in(SmallCNN(8))
    model.autocast = torch.bfloat16

    def seen() -> tuple[str, list[str], list[str], list[str]]:
        return repr(model), list(model.state_dict()), list(vars(model)), [name for name, _ in model.named_modules()]

    before = seen()
    with frozen(model), torch.no_grad():
        assert seen() == before
        copied, quick = deepcopy(model), model(pixels(8))
    assert seen() == before
    with torch.no_grad():
        assert torch.equal(copied(pixels(8)), model(pixels(8)))
        assert not torch.equal(copied(pixels(8)), quick)


def test_training_mode_within_a_frozen_network_is_training_mode() -> None:
    model = lived_in(SmallCNN(8))
    model.autocast = torch.bfloat16
    with torch.no_grad():
        with crafting(model, "train"):
            expected = model(pixels(8))
        with frozen(model):
            quick = model(pixels(8))
            with crafting(model, "train"):
                assert torch.equal(model(pixels(8)), expected)
    assert not torch.equal(quick, expected)


def test_another_layer_in_place_of_one_is_seen() -> None:
    model, x = lived_in(PreActResNet18(4)).double(), pixels(2, torch.float64)
    before = folded(model, model.trunk, torch.float64)(x)
    model.layer1[0].conv1 = nn.Conv2d(4, 4, 3, padding=1, bias=True).double()  # type: ignore[index, union-attr]
    model.layer2[0].bn1 = nn.BatchNorm2d(4, affine=False).double().eval()  # type: ignore[index, union-attr]
    model.bn = nn.Identity()
    after = folded(model, model.trunk, torch.float64)(x)
    assert not torch.allclose(before, after)
    torch.testing.assert_close(after, model.trunk(x), rtol=1e-9, atol=1e-10)


class Mine(PreActResNet18Module):
    """Another's, whose trunk is no fixed graph, in a class that says nothing of it."""

    def trunk(self, x: Tensor) -> Tensor:
        return super().trunk(x if float(x.mean()) > 0 else -x)


class Doubled(nn.Module):
    """Another's layer."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


def with_hook(model: Classifier) -> Classifier:
    model.get_submodule("layer4").register_forward_hook(lambda layer, given, made: 2 * made)
    return model


def with_layer(model: Classifier) -> Classifier:
    model.layer4 = nn.Sequential(model.layer4, Doubled())
    return model


@pytest.mark.parametrize("change", [with_hook, with_layer, lambda model: Mine(4, 4, 3).eval()])
def test_what_a_trace_may_not_show_is_run_as_it_is(change: Callable[[Classifier], Classifier]) -> None:
    model = lived_in(PreActResNet18(4))
    assert can_be_folded(model)
    model = change(model)
    assert not can_be_folded(model)
    model.autocast = torch.bfloat16
    with torch.no_grad():
        expected = model(pixels(2))
        with frozen(model):
            assert torch.equal(model(pixels(2)), expected)


def test_another_thread_may_run_its_network_while_one_is_traced() -> None:
    model, other, seen = lived_in(SmallCNN(8)), lived_in(SmallCNN(4)), []

    def trunk(x: Tensor) -> Tensor:
        thread = Thread(target=lambda: seen.append(other(pixels(2))))
        thread.start()
        thread.join()
        return model.trunk(x)

    folded(model, trunk, torch.float32)
    assert len(seen) == 1
    assert torch.equal(seen[0], other(pixels(2)))
