"""RobustBench's names: checked against its published classes, and read back by what reads others' files."""

import io

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, relu

from hardy.models import (
    WideResNet,
    own,
    preact_resnet_18,
    resnet_18,
    small_cnn,
    w32_10,
    w40_2,
    wrap,
    wrn_28_10,
    wrn_34_10,
)
from hardy.models.foreign import load
from hardy.models.robustbench import Entry, entry, tensors
from hardy.randomness import Noise

X = Noise.of_batch(3, purpose="images").uniform((3, 32, 32))
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616)
NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")

# Written down by hand from the constructors in RobustBench/robustbench @3c3ee54, robustbench/model_zoo/architectures/resnet.py
# (PreActBlockV2 and PreActResNet; BasicBlock and ResNet) and wide_resnet.py (BasicBlock, NetworkBlock and WideResNet); mu and
# sigma from model_zoo/cifar10.py @011e54c (Rice2020OverfittingNetL2, Modas2021PRIMEResNet18, Rice2020OverfittingNet).
LAYERS = {
    "preact": [
        "conv1",
        "layer1.0.bn1 layer1.0.conv1 layer1.0.bn2 layer1.0.conv2 layer1.1.bn1 layer1.1.conv1 layer1.1.bn2 layer1.1.conv2",
        "layer2.0.bn1 layer2.0.conv1 layer2.0.bn2 layer2.0.conv2 layer2.0.shortcut.0",
        "layer2.1.bn1 layer2.1.conv1 layer2.1.bn2 layer2.1.conv2",
        "layer3.0.bn1 layer3.0.conv1 layer3.0.bn2 layer3.0.conv2 layer3.0.shortcut.0",
        "layer3.1.bn1 layer3.1.conv1 layer3.1.bn2 layer3.1.conv2",
        "layer4.0.bn1 layer4.0.conv1 layer4.0.bn2 layer4.0.conv2 layer4.0.shortcut.0",
        "layer4.1.bn1 layer4.1.conv1 layer4.1.bn2 layer4.1.conv2",
        "bn linear",
    ],
    "resnet": [
        "conv1 bn1",
        "layer1.0.conv1 layer1.0.bn1 layer1.0.conv2 layer1.0.bn2 layer1.1.conv1 layer1.1.bn1 layer1.1.conv2 layer1.1.bn2",
        "layer2.0.conv1 layer2.0.bn1 layer2.0.conv2 layer2.0.bn2 layer2.0.shortcut.0 layer2.0.shortcut.1",
        "layer2.1.conv1 layer2.1.bn1 layer2.1.conv2 layer2.1.bn2",
        "layer3.0.conv1 layer3.0.bn1 layer3.0.conv2 layer3.0.bn2 layer3.0.shortcut.0 layer3.0.shortcut.1",
        "layer3.1.conv1 layer3.1.bn1 layer3.1.conv2 layer3.1.bn2",
        "layer4.0.conv1 layer4.0.bn1 layer4.0.conv2 layer4.0.bn2 layer4.0.shortcut.0 layer4.0.shortcut.1",
        "layer4.1.conv1 layer4.1.bn1 layer4.1.conv2 layer4.1.bn2",
        "linear",
    ],
    "wide": [  # depth 16: two units a block
        "conv1",
        "block1.layer.0.bn1 block1.layer.0.conv1 block1.layer.0.bn2 block1.layer.0.conv2 block1.layer.0.convShortcut",
        "block1.layer.1.bn1 block1.layer.1.conv1 block1.layer.1.bn2 block1.layer.1.conv2",
        "block2.layer.0.bn1 block2.layer.0.conv1 block2.layer.0.bn2 block2.layer.0.conv2 block2.layer.0.convShortcut",
        "block2.layer.1.bn1 block2.layer.1.conv1 block2.layer.1.bn2 block2.layer.1.conv2",
        "block3.layer.0.bn1 block3.layer.0.conv1 block3.layer.0.bn2 block3.layer.0.conv2 block3.layer.0.convShortcut",
        "block3.layer.1.bn1 block3.layer.1.conv1 block3.layer.1.bn2 block3.layer.1.conv2",
        "bn1 fc",
    ],
}  # fmt: skip
ARCHITECTURES = {
    "preact": preact_resnet_18(2, mean=MEAN, deviation=STD),
    "resnet": resnet_18(2),
    "wide": WideResNet(16, 2, MEAN, STD),
}


def trained(architecture, classes=4):
    """A network whose every number is another than a new one's."""
    model = architecture.build(classes, 3, Noise.of_batch(1, 5))
    model(X)
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            value.add_(Noise.of_batch(1, purpose=name).normal(value.shape)[0], alpha=0.01)
    return model.eval()


def kinds(layer: str) -> tuple[str, ...]:
    """What a layer of that name holds, as the classes make it: convolutions have no bias."""
    last = layer.rsplit(".", 1)[-1]
    if last in ("linear", "fc"):
        return "weight", "bias"
    norm = last.startswith("bn") or layer.endswith("shortcut.1")
    return NORM if norm else ("weight",)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_names_are_those_of_robustbenchs_classes(name):
    architecture = ARCHITECTURES[name]
    expected = {f"{layer}.{kind}" for line in LAYERS[name] for layer in line.split() for kind in kinds(layer)}
    expected |= {"mu", "sigma"} if architecture.mean else set()
    assert tensors(trained(architecture)).keys() == expected


@pytest.mark.parametrize("architecture", [*ARCHITECTURES.values(), small_cnn(2), w40_2(mean=MEAN, deviation=STD)])
def test_what_is_written_is_read_back_as_the_same_network_and_no_name_is_changed(architecture, tmp_path):
    model = trained(architecture)
    torch.save(tensors(model), tmp_path / "w.pt")
    assert torch.load(tmp_path / "w.pt", weights_only=True).keys() == tensors(model).keys()
    bare = type(architecture)(**{**vars(architecture), "mean": (), "deviation": ()})
    found = load(tmp_path / "w.pt", bare)
    with torch.no_grad():
        assert torch.equal(found.model(X), model(X))
    assert not any("names were read as ours" in note or "prefix" in note for note in found.notes)
    assert (found.mean is not None) == bool(architecture.mean)


class Theirs(nn.Module):
    """What RobustBench's PreActResNet computes with PreActBlockV2 and bn_before_fc, of a state by its names."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        super().__init__()
        self.state = state

    def norm(self, x: Tensor, name: str) -> Tensor:
        mean, var, weight, bias = (self.state[f"{name}.{kind}"].view(-1, 1, 1) for kind in (
            "running_mean", "running_var", "weight", "bias"))  # fmt: skip
        return relu((x - mean) / (var + 1e-5).sqrt() * weight + bias)

    def conv(self, x: Tensor, name: str, stride: int = 1) -> Tensor:
        weight = self.state[f"{name}.weight"]
        return nn.functional.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)

    def block(self, x: Tensor, name: str, stride: int) -> Tensor:
        activated = self.norm(x, f"{name}.bn1")
        shortcut = (
            self.conv(activated, f"{name}.shortcut.0", stride) if f"{name}.shortcut.0.weight" in self.state else x
        )
        out = self.norm(self.conv(activated, f"{name}.conv1", stride), f"{name}.bn2")
        return self.conv(out, f"{name}.conv2") + shortcut

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv((x - self.state["mu"]) / self.state["sigma"], "conv1")
        for layer, stride in ((1, 1), (2, 2), (3, 2), (4, 2)):
            x = self.block(self.block(x, f"layer{layer}.0", stride), f"layer{layer}.1", 1)
        pooled = avg_pool2d(self.norm(x, "bn"), 4).flatten(1)
        return pooled @ self.state["linear.weight"].T + self.state["linear.bias"]


def test_under_these_names_robustbenchs_preactresnet_computes_what_ours_does():
    model = trained(ARCHITECTURES["preact"])
    torch.testing.assert_close(Theirs(tensors(model))(X), model(X), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("architecture", "found"),
    [
        (wrn_28_10(), Entry("WideResNet-28-10", "WideResNet(depth=28, widen_factor=10, num_classes=100)")),
        (wrn_34_10(), Entry("WideResNet-34-10", "WideResNet(depth=34, widen_factor=10, num_classes=100)")),
        (
            preact_resnet_18(),
            Entry("PreActResNet-18", "PreActResNet(PreActBlockV2, [2, 2, 2, 2], num_classes=100, bn_before_fc=True)"),
        ),
        (resnet_18(), Entry("ResNet-18", "ResNet(BasicBlock, [2, 2, 2, 2], num_classes=100)")),
        (preact_resnet_18(16), Entry("PreActResNet-18 (width 16)", None)),
        (resnet_18(32, mean=MEAN, deviation=STD), Entry("ResNet-18 (width 32)", None)),
        (small_cnn(), Entry("SmallCNN (width 16)", None)),
        (w32_10(), Entry("MadryResNet (units 5, widen 10)", None)),
        (own(nn.Identity), Entry("torch.nn.modules.linear:Identity", None)),
    ],
)
def test_a_network_is_called_as_robustbench_calls_it_and_has_its_class_where_there_is_one(architecture, found):
    assert entry(architecture, 100) == found


def test_ones_own_network_is_written_by_its_own_names_and_the_file_holds_no_other_tensors():
    module = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    module[1].weight.data = torch.ones(3, 1000)[:, :12]  # a part of a larger one
    state = tensors(wrap(module, (0.5,), (0.25,)))
    assert state.keys() == {"1.weight", "1.bias", "mu", "sigma"}
    content = io.BytesIO()
    torch.save(state, content)
    assert len(content.getvalue()) < 3000
    state["1.bias"].zero_()
    assert bool(module[1].bias.any())
