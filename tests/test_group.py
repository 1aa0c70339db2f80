"""Groups of processes: rows dealt out, a group of one, and what is said where processes do not find or lose each other.

What several processes tell each other is tested where they work together: evaluation/test_sharing.py, training/test_shared.py.
"""

import pytest
import torch

from hardy.cli import checks
from hardy.errors import FailedError, UsageError
from hardy.parallel import LOST, Group, joined, this_group
from hardy.training import precision


@pytest.mark.parametrize("size", [1, 2, 3, 8])
def test_rows_are_dealt_out_evenly_and_each_once(size):
    shares = [Group(rank, size).share(torch.arange(8)) for rank in range(size)]
    assert sorted(torch.cat(shares).tolist()) == list(range(8))
    assert {len(share) for share in shares} <= {8 // size, -(-8 // size)}


def test_a_group_of_one_does_everything_itself():
    alone, values = Group(), {"loss": torch.tensor(2.0)}
    assert alone.is_first
    assert alone.by_first(lambda: 3) == 3
    assert alone.gathered("mine") == ["mine"]
    assert alone.most(4, 0) == [4, 0]
    assert alone.mean(values) is values
    alone.leave_word("nobody reads it")
    assert alone.word(0.0) is None
    with alone.one_first():
        pass


@pytest.mark.parametrize("environment", [{}, {"WORLD_SIZE": "1", "RANK": "0"}, {"WORLD_SIZE": "2"}])
def test_without_torchrun_a_process_is_alone(monkeypatch, environment):
    monkeypatch.delenv("RANK", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with joined() as group, joined() as again:
        assert group is again is this_group()
        assert group.size == 1


def test_processes_that_cannot_find_each_other_are_told_of_torchrun(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with (
        pytest.raises(UsageError, match=r"WORLD_SIZE is 2, and the processes do not find each other: .* by torchrun"),
        joined(),
    ):
        pass
    assert this_group().size == 1


def test_a_lost_process_is_a_sentence_and_other_errors_stay():
    with pytest.raises(FailedError) as failed, joined():
        raise RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:4711")
    assert str(failed.value) == LOST
    with pytest.raises(RuntimeError, match="size of tensor"), joined():
        raise RuntimeError("The size of tensor a must match")


def test_a_word_that_nobody_keeps_any_more_is_no_other_failure():
    class Gone:
        def set(self, name, value):
            raise RuntimeError("Broken pipe")

    Group(0, 2, store=Gone()).leave_word("nobody reads it")


def test_a_group_of_the_callers_that_is_for_gpus_alone_is_refused(monkeypatch):
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        monkeypatch.setattr(torch.distributed, "get_backend_config", lambda: "cuda:nccl")
        monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
        with (
            pytest.raises(UsageError, match=r"of the backend cuda:nccl, which is for GPUs alone.*cpu:gloo,cuda:nccl"),
            joined(),
        ):
            pass
        monkeypatch.undo()
        with joined() as group:
            assert (group.rank, group.size) == (0, 1)
    finally:
        torch.distributed.destroy_process_group()


def test_each_process_takes_a_gpu_of_its_own(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(checks.torch, "empty", lambda *size, device: None)
    for module in (checks, precision):
        monkeypatch.setattr(module, "this_group", lambda: Group(3, 4, local=1, beside=2))
    assert checks.device(None) == checks.device("cuda") == precision.this_device() == torch.device("cuda:1")
    assert precision.this_device("cuda") == torch.device("cuda:1")
    assert precision.this_device("cuda:0") == torch.device("cuda:0")
    assert checks.device("cpu") == precision.this_device("cpu") == torch.device("cpu")
    with pytest.raises(UsageError, match=r"device is 'cuda:0', for 4 processes; each takes a GPU of its own"):
        checks.device("cuda:0")
