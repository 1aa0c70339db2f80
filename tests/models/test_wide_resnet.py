"""Wide residual networks: sizes, names of parameters, and the forward pass computed again by hand."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import batch_norm, conv2d, relu

from hardy.errors import UsageError
from hardy.models import WideResNet, parameter_count, wrn_28_10, wrn_34_10, wrn_40_2
from hardy.randomness import Noise


@pytest.mark.parametrize(
    ("network", "classes", "count"),
    [
        (wrn_28_10(), 10, 36_479_194),
        (wrn_28_10(), 100, 36_536_884),
        (wrn_34_10(), 10, 46_160_474),
        (wrn_34_10(), 100, 46_218_164),
        # 3x3 convolutions 9 * (3*16 + 16*32 + 11*32*32 + 32*64 + 11*64*64 + 64*128 + 11*128*128) = 2,226,096
        # shortcuts 16*32 + 32*64 + 64*128 = 10,752; linear 1,290
        # batch norms 2 * (16 + 11*32 + 32 + 11*64 + 64 + 11*128 + 128) = 5,408
        (wrn_40_2(), 10, 2_243_546),
    ],
)
def test_parameter_counts_are_the_published_ones(network, classes, count):
    with torch.device("meta"):
        model = network.empty(classes, 3)
    assert parameter_count(model) == count


def test_parameters_are_named_as_in_published_checkpoints():
    expected = ["conv1.weight"]
    for block in (1, 2, 3):
        for unit in (0, 1):
            for layer in ("bn1", "conv1", "bn2", "conv2"):
                kinds = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
                expected += [
                    f"block{block}.layer.{unit}.{layer}.{kind}" for kind in (kinds if "bn" in layer else ("weight",))
                ]
            if unit == 0:
                expected.append(f"block{block}.layer.0.convShortcut.weight")
    expected += [f"bn1.{kind}" for kind in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")]
    expected += ["fc.weight", "fc.bias"]
    assert list(WideResNet(depth=16, widen=2).build(10).state_dict()) == expected


def test_without_widening_the_first_group_needs_no_convolution_in_its_shortcut():
    names = WideResNet(depth=10, widen=1).build(10).state_dict()
    assert [name for name in names if "convShortcut" in name] == [
        f"block{block}.layer.0.convShortcut.weight" for block in (2, 3)
    ]


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("size", [8, 9])
def test_the_forward_pass_is_that_of_the_paper(size, train):
    model = WideResNet(depth=16, widen=2).build(4)
    x = Noise.of_batch(3).uniform((3, size, size))
    model(x)  # running statistics that differ from 0 and 1
    w = {name: value.clone() for name, value in model.state_dict().items()}

    def activated(x: Tensor, name: str) -> Tensor:
        running = w[f"{name}.running_mean"].clone(), w[f"{name}.running_var"].clone()
        return relu(batch_norm(x, *running, w[f"{name}.weight"], w[f"{name}.bias"], train, eps=1e-5))

    out = conv2d(x, w["conv1.weight"], padding=1)
    for block, stride in ((1, 1), (2, 2), (3, 2)):
        for unit in (0, 1):
            name, step = f"block{block}.layer.{unit}", stride if unit == 0 else 1
            a = activated(out, f"{name}.bn1")
            b = activated(conv2d(a, w[f"{name}.conv1.weight"], stride=step, padding=1), f"{name}.bn2")
            shortcut = conv2d(a, w[f"{name}.convShortcut.weight"], stride=step) if unit == 0 else out
            out = conv2d(b, w[f"{name}.conv2.weight"], padding=1) + shortcut
    pooled = activated(out, "bn1").flatten(2).mean(2)
    expected = pooled @ w["fc.weight"].T + w["fc.bias"]
    torch.testing.assert_close(model.train(train)(x), expected)


@pytest.mark.parametrize("depth", [30, 4, 0, -2])
def test_a_depth_that_is_not_6n_plus_4_is_refused_in_a_sentence(depth):
    with pytest.raises(UsageError, match=rf"^depth is {depth}; it must be 6n \+ 4 with n at least 1, such as .*\.$"):
        WideResNet(depth=depth)


def test_a_widening_below_one_is_refused():
    with pytest.raises(UsageError, match=r"^widen is 0; it must be at least 1\.$"):
        WideResNet(widen=0)


def test_builders_take_a_normalisation():
    for builder, depth in ((wrn_28_10, 28), (wrn_34_10, 34), (wrn_40_2, 40)):
        network = builder(mean=(0.5,), deviation=(0.25,))
        assert (network.depth, network.mean, network.deviation) == (depth, (0.5,), (0.25,))
