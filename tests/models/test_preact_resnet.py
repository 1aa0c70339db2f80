"""PreActResNet-18: size, names of parameters, and the forward pass computed again by hand."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import batch_norm, conv2d, relu

from hardy.errors import UsageError
from hardy.models import parameter_count, preact_resnet_18
from hardy.randomness import Noise


def test_the_parameter_count_is_the_sum_over_layers():
    # a 3x3 convolution from a to b channels has 9ab weights, a batch norm of b channels 2b
    # stem        9*3*64                                                                         1,728
    # layer 1     4 * (128 + 9*64*64)                                                          147,968
    # layer 2     128 + 9*64*128 + shortcut 64*128 + 3 * (256 + 9*128*128)                     525,184
    # layer 3     256 + 9*128*256 + shortcut 128*256 + 3 * (512 + 9*256*256)                 2,098,944
    # layer 4     512 + 9*256*512 + shortcut 256*512 + 3 * (1024 + 9*512*512)                8,392,192
    # batch norm  2*512                                                                          1,024
    # linear      512*10 + 10                                                                    5,130
    with torch.device("meta"):
        model = preact_resnet_18().empty(10, 3)
    assert parameter_count(model) == 1_728 + 147_968 + 525_184 + 2_098_944 + 8_392_192 + 1_024 + 5_130 == 11_172_170


def test_parameters_are_named_as_in_common_cifar_code():
    expected = {"conv1.weight", "bn.weight", "bn.bias", "linear.weight", "linear.bias"}
    for group in (1, 2, 3, 4):
        for block in (0, 1):
            name = f"layer{group}.{block}"
            expected |= {f"{name}.{rest}" for rest in ("bn1.weight", "bn1.bias", "conv1.weight")}
            expected |= {f"{name}.{rest}" for rest in ("bn2.weight", "bn2.bias", "conv2.weight")}
            if group > 1 and block == 0:
                expected.add(f"{name}.shortcut.0.weight")
    assert {name for name, _ in preact_resnet_18(4).build(10).named_parameters()} == expected


@pytest.mark.parametrize("train", [True, False])
def test_the_forward_pass_is_that_of_the_paper(train):
    model = preact_resnet_18(4).build(5)
    x = Noise.of_batch(3).uniform((3, 16, 16))
    model(x)  # running statistics that differ from 0 and 1
    w = {name: value.clone() for name, value in model.state_dict().items()}

    def activated(x: Tensor, name: str) -> Tensor:
        running = w[f"{name}.running_mean"].clone(), w[f"{name}.running_var"].clone()
        return relu(batch_norm(x, *running, w[f"{name}.weight"], w[f"{name}.bias"], train, eps=1e-5))

    out = conv2d(x, w["conv1.weight"], padding=1)
    for group in (1, 2, 3, 4):
        for block in (0, 1):
            name, first = f"layer{group}.{block}", group > 1 and block == 0
            a = activated(out, f"{name}.bn1")
            b = conv2d(a, w[f"{name}.conv1.weight"], stride=2 if first else 1, padding=1)
            shortcut = conv2d(a, w[f"{name}.shortcut.0.weight"], stride=2) if first else out
            out = conv2d(activated(b, f"{name}.bn2"), w[f"{name}.conv2.weight"], padding=1) + shortcut
    expected = activated(out, "bn").flatten(2).mean(2) @ w["linear.weight"].T + w["linear.bias"]
    torch.testing.assert_close(model.train(train)(x), expected)


def test_a_width_below_one_is_refused():
    with pytest.raises(UsageError, match=r"^width is 0; it must be at least 1\.$"):
        preact_resnet_18(0)


def test_the_builder_takes_a_normalisation():
    network = preact_resnet_18(8, mean=(0.5,), deviation=(0.25,))
    assert (network.width, network.mean, network.deviation) == (8, (0.5,), (0.25,))
