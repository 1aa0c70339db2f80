"""The wide residual networks of the TensorFlow code: sizes, padding, and the forward pass computed again by hand."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import batch_norm, conv2d, leaky_relu, pad

from hardy.errors import UsageError
from hardy.models import MadryResNet, parameter_count, w32_10, w40_2
from hardy.randomness import Noise


@pytest.mark.parametrize(
    ("network", "classes", "count"),
    [(w32_10(), 10, 45_901_914), (w32_10(), 100, 45_959_604), (w40_2(), 10, 2_232_794)],
)
def test_parameter_counts_are_those_of_the_authors_code(network, classes, count):
    with torch.device("meta"):
        model = network.empty(classes, 3)
    assert parameter_count(model) == count


def test_no_shortcut_has_parameters():
    model = MadryResNet(units=2, widen=2).build(10)
    kinds = {name.split(".")[2] for name in model.state_dict() if name.startswith("block")}
    assert kinds == {"bn1", "conv1", "bn2", "conv2"}


@pytest.mark.parametrize("widen", [1, 3])
@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("size", [8, 9])
def test_the_forward_pass_is_that_of_the_tensorflow_code(size, train, widen):
    model = MadryResNet(units=2, widen=widen).build(4)
    x = Noise.of_batch(3).uniform((3, size, size))
    model(x)  # running statistics that differ from 0 and 1
    w = {name: value.clone() for name, value in model.state_dict().items()}

    def activated(x: Tensor, name: str) -> Tensor:
        running = w[f"{name}.running_mean"].clone(), w[f"{name}.running_var"].clone()
        return leaky_relu(batch_norm(x, *running, w[f"{name}.weight"], w[f"{name}.bias"], train, eps=1e-3), 0.1)

    def halved(x: Tensor) -> Tensor:
        """The mean of each 2x2 square; at an odd edge of the pixels that are there."""
        rows = [x[:, :, i : i + 2].mean(2) for i in range(0, x.shape[2], 2)]
        columns = torch.stack(rows, 2)
        return torch.stack([columns[..., j : j + 2].mean(3) for j in range(0, x.shape[3], 2)], 3)

    def windows_of_same(x: Tensor) -> Tensor:
        even = x.shape[2] % 2 == 0
        return pad(x, (0, 1, 0, 1) if even else (1, 1, 1, 1))

    out = conv2d(x, w["conv1.weight"], padding=1)
    for block in (1, 2, 3):
        for unit in (0, 1):
            name = f"block{block}.{unit}"
            a = activated(out, f"{name}.bn1")
            shortcut = a if (block, unit) == (1, 0) else out
            if block > 1 and unit == 0:
                b = conv2d(windows_of_same(a), w[f"{name}.conv1.weight"], stride=2)
                shortcut = halved(shortcut)
            else:
                b = conv2d(a, w[f"{name}.conv1.weight"], padding=1)
            c = conv2d(activated(b, f"{name}.bn2"), w[f"{name}.conv2.weight"], padding=1)
            missing = c.shape[1] - shortcut.shape[1]
            zeros = torch.zeros(3, missing // 2, *c.shape[2:])
            out = c + torch.cat([zeros, shortcut, zeros], 1)
    pooled = activated(out, "bn").flatten(2).mean(2)
    torch.testing.assert_close(model.train(train)(x), pooled @ w["fc.weight"].T + w["fc.bias"])


def test_a_strided_convolution_of_an_even_image_is_padded_at_the_bottom_and_right_only():
    model = MadryResNet(units=1, widen=1).build(2)
    unit, seen = model.block2[0], []
    unit.conv1.register_forward_hook(lambda layer, given, out: seen.append((given[0], out)))
    with torch.no_grad():
        unit.conv1.weight.zero_()
        unit.conv1.weight[0, 0, 0, 0] = 1  # every window's first pixel
        unit(Noise.of_batch(1).normal((16, 6, 6)))
    (padded, out), *_ = seen
    assert torch.equal(out[0, 0], padded[0, 0, 0:6:2, 0:6:2])
    assert padded.shape[2:] == (7, 7)
    assert (padded[..., -1] == 0).all()
    assert (padded[:, :, -1] == 0).all()
    assert (padded[..., :6, :6] != 0).all()


def test_batch_norms_have_tensorflows_constants():
    model = w40_2().build(10)
    constants = {(layer.eps, layer.momentum) for layer in model.modules() if isinstance(layer, torch.nn.BatchNorm2d)}
    assert constants == {(1e-3, 0.1)}


def test_the_last_layer_starts_with_uniform_unit_scaling_and_no_bias():
    fc = MadryResNet(units=1, widen=3).build(100).fc
    bound = (3 / 192) ** 0.5
    assert 0.999 * bound < fc.weight.abs().max() <= bound
    assert abs(fc.weight.std() * 192**0.5 - 1) < 0.02
    assert torch.equal(fc.bias, torch.zeros(100))


@pytest.mark.parametrize("field", ["units", "widen"])
def test_sizes_below_one_are_refused(field):
    with pytest.raises(UsageError, match=rf"^{field} is 0; it must be at least 1\.$"):
        MadryResNet(**{field: 0})


def test_builders_take_a_normalisation():
    for builder, units in ((w32_10, 5), (w40_2, 6)):
        network = builder(mean=(0.5,), deviation=(0.25,))
        assert (network.units, network.mean, network.deviation) == (units, (0.5,), (0.25,))
