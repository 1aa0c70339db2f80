"""Networks written down as files that need PyTorch alone."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from hardy.models import MadryResNet, WideResNet, own, preact_resnet_18, resnet_18, small_cnn
from hardy.models.definition import definition
from hardy.randomness import Noise

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616)
ARCHITECTURES = [
    preact_resnet_18(2, mean=MEAN, deviation=STD),
    resnet_18(2),
    WideResNet(16, 1),
    MadryResNet(2, 1, MEAN, STD),
    small_cnn(2),
]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_files_network_computes_what_ours_does_from_the_same_state(architecture):
    model = architecture.build(7, 3, Noise.of_batch(1, 3))
    x = Noise.of_batch(4, purpose="images").uniform((3, 15, 16))
    model(x)  # other statistics than a new network's
    names: dict = {}
    exec(definition(architecture, 7, 3), names)
    network = names["network"]()
    assert network.state_dict().keys() == model.state_dict().keys()
    network.load_state_dict(model.state_dict())
    assert not network.training
    assert torch.equal(network(x), model.eval()(x))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_nothing_of_this_library_is_in_the_file(architecture):
    text = definition(architecture, 10, 3)
    assert not any(line.startswith(("import hardy", "from hardy")) for line in text.splitlines())
    assert not any(word in text for word in ("Maps", "Logits", "Features", "fixed_graph", "Noise", "@settings"))
    imported = [line for line in text.splitlines() if line.startswith(("import", "from"))]
    assert imported
    for line in imported:
        for name in line.partition("import ")[2].split(", "):
            assert text.count(name) > 1, name  # nothing is imported in vain


def test_the_file_runs_where_hardy_is_not(tmp_path):
    (tmp_path / "network.py").write_text(definition(small_cnn(2), 3, 1))
    code = "import torch, network, sys; print(tuple(network.network()(torch.rand(2, 1, 8, 8)).shape), 'hardy' in sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={"PATH": ""}, capture_output=True, text=True, check=False
    )
    assert ran.stdout.split("\n")[0] == "(2, 3) False", ran.stderr


def test_ones_own_network_has_a_file_already():
    assert definition(own(nn.Identity), 3, 1) is None
