"""Parts of the images on several cores: the same numbers, each part on one thread, and nothing changed afterwards."""

import threading

import pytest
import torch
from torch import nn

from hardy.data.split import Split
from hardy.evaluation.cores import may_share, on_each_core
from hardy.evaluation.corruption import corruption_accuracy
from hardy.models.classifier import Classifier
from hardy.models.preact_resnet import preact_resnet_18
from hardy.randomness import Noise

N = 23


@pytest.fixture
def network() -> Classifier:
    return preact_resnet_18(4).build(5, 3, Noise.of_batch(1))


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_rows_of_two_threads_are_those_of_one(network, monkeypatch, two_threads):
    x = torch.randint(0, 256, (N, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    split = Split(x, torch.arange(N) % 5, tuple("abcde"), torch.arange(N), "noise")

    def rows() -> list[tuple[object, ...]]:
        told = []
        made = corruption_accuracy(
            network, split, kinds=("shot_noise", "fog", "elastic_transform"), severities=(1, 4), batch=5,
            tell=lambda done, total: told.append((done, total)),
        )  # fmt: skip
        assert told[-1] == (6 * N, 6 * N)
        assert told == sorted(told)
        return [(row.what, row.value, row.low, row.high, row.forwards) for row in made]

    asked = []
    threads = {threading.current_thread()}
    forward = network.forward
    monkeypatch.setattr(
        network, "forward", lambda x: (asked.append(len(x)), threads.add(threading.current_thread()), forward(x))[2]
    )
    several = rows()
    assert len(threads) > 1  # it was really shared
    assert max(asked) == 5  # no more at once than was asked for
    torch.set_num_threads(1)
    assert several == rows()


def test_each_part_has_one_thread_and_the_network_full_precision_throughout(network, two_threads):
    network.autocast = torch.bfloat16
    parts = torch.arange(20).split(3)
    seen = list(on_each_core(network, lambda part: (part, torch.get_num_threads(), network.autocast), parts))
    assert torch.equal(torch.cat([part for part, _, _ in seen]), torch.arange(20))
    assert {(threads, precision) for _, threads, precision in seen} == {(1, None)}
    assert torch.get_num_threads() == 2
    assert network.autocast == torch.bfloat16


def test_a_mistake_in_one_part_comes_out_and_leaves_the_threads_as_they_were(network, two_threads):
    def work(part):
        if 6 in part:
            raise ValueError("six")
        return part

    with pytest.raises(ValueError, match="six"):
        list(on_each_core(network, work, torch.arange(20).split(3)))
    assert torch.get_num_threads() == 2


def test_only_a_fixed_graph_of_layers_is_asked_by_several_threads(network):
    class Keeps(nn.Module):
        pass

    class Own(type(network)):
        fixed_graph = False

    assert may_share(network)
    assert not may_share(Keeps())
    assert not may_share(Own(4, 5, 3))
    assert not may_share(network.to("meta"))
