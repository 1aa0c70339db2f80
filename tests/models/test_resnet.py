"""ResNet-18: size, names of parameters, and the forward pass computed again by hand."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import batch_norm, conv2d, relu

from hardy.errors import UsageError
from hardy.models import parameter_count, resnet_18
from hardy.randomness import Noise


def test_the_parameter_count_is_the_sum_over_layers():
    # a 3x3 convolution from a to b channels has 9ab weights, a batch norm of b channels 2b
    # stem        9*3*64 + 128                                                                   1,856
    # layer 1     4 * (9*64*64 + 128)                                                          147,968
    # layer 2     9*64*128 + 256 + 3 * (9*128*128 + 256) + shortcut 64*128 + 256               525,568
    # layer 3     9*128*256 + 512 + 3 * (9*256*256 + 512) + shortcut 128*256 + 512           2,099,712
    # layer 4     9*256*512 + 1024 + 3 * (9*512*512 + 1024) + shortcut 256*512 + 1024        8,393,728
    # linear      512*10 + 10                                                                    5,130
    with torch.device("meta"):
        model = resnet_18().empty(10, 3)
    assert parameter_count(model) == 1_856 + 147_968 + 525_568 + 2_099_712 + 8_393_728 + 5_130 == 11_173_962


def test_parameters_are_named_as_in_common_cifar_code():
    expected = ["conv1.weight", "bn1.weight", "bn1.bias"]
    for group in (1, 2, 3, 4):
        for block in (0, 1):
            name = f"layer{group}.{block}"
            expected += [f"{name}.{rest}" for rest in ("conv1.weight", "bn1.weight", "bn1.bias")]
            expected += [f"{name}.{rest}" for rest in ("conv2.weight", "bn2.weight", "bn2.bias")]
            if group > 1 and block == 0:
                expected += [f"{name}.shortcut.{rest}" for rest in ("0.weight", "1.weight", "1.bias")]
    expected += ["linear.weight", "linear.bias"]
    assert [name for name, _ in resnet_18(4).build(10).named_parameters()] == expected


@pytest.mark.parametrize("train", [True, False])
def test_the_forward_pass_is_that_of_the_paper(train):
    model = resnet_18(4).build(5)
    x = Noise.of_batch(3).uniform((3, 16, 16))
    model(x)  # running statistics that differ from 0 and 1
    w = {name: value.clone() for name, value in model.state_dict().items()}

    def normed(x: Tensor, name: str) -> Tensor:
        running = w[f"{name}.running_mean"].clone(), w[f"{name}.running_var"].clone()
        return batch_norm(x, *running, w[f"{name}.weight"], w[f"{name}.bias"], train, eps=1e-5)

    out = relu(normed(conv2d(x, w["conv1.weight"], padding=1), "bn1"))
    for group in (1, 2, 3, 4):
        for block in (0, 1):
            name, first = f"layer{group}.{block}", group > 1 and block == 0
            a = conv2d(out, w[f"{name}.conv1.weight"], stride=2 if first else 1, padding=1)
            b = conv2d(relu(normed(a, f"{name}.bn1")), w[f"{name}.conv2.weight"], padding=1)
            if first:
                out = normed(conv2d(out, w[f"{name}.shortcut.0.weight"], stride=2), f"{name}.shortcut.1")
            out = relu(normed(b, f"{name}.bn2") + out)
    expected = out.flatten(2).mean(2) @ w["linear.weight"].T + w["linear.bias"]
    torch.testing.assert_close(model.train(train)(x), expected)


def test_a_width_below_one_is_refused():
    with pytest.raises(UsageError, match=r"^width is 0; it must be at least 1\.$"):
        resnet_18(0)


def test_the_builder_takes_a_normalisation():
    network = resnet_18(8, mean=(0.5,), deviation=(0.25,))
    assert (network.width, network.mean, network.deviation) == (8, (0.5,), (0.25,))
