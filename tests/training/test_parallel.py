"""Two data-parallel processes (gloo, CPU): a step's gradient is the mean of those that each process's images alone would give."""

import copy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hardy.attacks import Linf
from hardy.data.block_shuffle import block_shuffle
from hardy.objectives import AWP, Objective
from hardy.recipes.methods import METHODS, Inner, objective
from hardy.training.step import Step
from objectives.by_hand import assert_near, gradients, images, labels, network, noise

N = 8
SHARDS = (slice(0, N // 2), slice(N // 2, N))


def objectives() -> dict[str, Objective]:
    return {method: objective(method, Inner(Linf(8 / 255), 2)) for method in METHODS}


def process(rank: int, folder: Path) -> None:
    """One of the two processes: the gradients of every method, in a file."""
    torch.set_num_threads(1)
    rendezvous = f"file://{folder / 'rendezvous'}"
    torch.distributed.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=2)
    some = SHARDS[rank]
    found = {}
    for method, one in objectives().items():
        step = Step(network(), one)
        parallel = torch.nn.parallel.DistributedDataParallel(step, broadcast_buffers=False)
        sum(parallel(images(N)[some], labels(N)[some], noise(N)[some]).values()).backward()
        found[method] = [p.grad for p in step.model.parameters()]
    torch.save(found, folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> list[dict[str, list[torch.Tensor]]]:
    folder = tmp_path_factory.mktemp("parallel")
    command = "from training.test_parallel import *; process(int(sys.argv[1]), Path(sys.argv[2]))"
    tests = Path(__file__).parents[1]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", command, str(rank), str(folder)], cwd=tests, stderr=subprocess.PIPE, text=True
        )
        for rank in range(2)
    ]
    said = [one.communicate(timeout=300)[1] for one in processes]
    assert [one.returncode for one in processes] == [0, 0], "\n".join(said)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("method", METHODS)
def test_the_gradient_of_two_processes_is_the_mean_of_each_ones_own(found, method):
    one, model = objectives()[method], network()
    alone = []
    for some in SHARDS:
        copied = copy.deepcopy(model)
        alone.append(gradients(sum(one(copied, images(N)[some], labels(N)[some], noise(N)[some]).values()), copied))
    means = [(a + b) / 2 for a, b in zip(*alone, strict=True)]
    for rank in range(2):
        assert_near(found[rank][method], means)


def test_block_shuffle_draws_are_shared_by_the_processes():
    whole = block_shuffle(images(N), 2, noise(N, step=3))
    parts = [block_shuffle(images(N)[some], 2, noise(N, step=3)[some]) for some in SHARDS]
    assert torch.equal(torch.cat(parts), whole)
    assert not torch.equal(whole, images(N))


def test_the_methods_that_couple_a_batch_say_so():
    coupled = {method for method, one in objectives().items() if one.coupled}
    assert coupled == {"feature-matching", "feature-scatter", "adv-interp", "awp-pgdat", "awp-trades"}
    for one in (objectives()[method] for method in coupled):
        told = sys.modules[type(one).__module__].__doc__
        assert "process" in told, type(one).__name__
        assert isinstance(one, AWP) or "batch" in told
