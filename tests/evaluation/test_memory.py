"""How many images fit: what is counted of a network, what a system tells, and half as many where memory runs out."""

import pytest
import torch
from torch import Tensor, nn

from hardy.errors import FailedError
from hardy.evaluation import memory
from hardy.evaluation.memory import Room, fitting_batch
from toys import classifier, smooth, split

KIB = 1024


@pytest.fixture
def free(tmp_path, monkeypatch):
    """Sets how many KiB of memory the system says are free."""

    def say(kib: int | None) -> None:
        path = tmp_path / "meminfo"
        monkeypatch.setattr(memory, "_MEMINFO", path)
        if kib is not None:
            path.write_text(
                f"MemTotal:       99999999 kB\nMemFree:  1 kB\nMemAvailable:   {kib} kB\nHugePages_Total:  0\n"
            )

    return say


class Squares(nn.Module):
    """Keeps just one float32 copy of each image for its gradient, and a large matrix of weights."""

    def __init__(self, weights: int = 0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(max(weights, 1), 3))

    def forward(self, x: Tensor) -> Tensor:
        return x.square().flatten(1)[:, :3] + (x.flatten(1)[:, :1] @ self.weight[:1])


def test_half_the_free_memory_is_filled_with_what_an_image_keeps(free):
    model, data = Squares(), split(5, shape=(1, 16, 16))  # 1 KiB an image
    free(40)
    assert fitting_batch(model, data) == 20
    free(13)
    assert fitting_batch(model, data) == 6


def test_the_weights_are_not_counted_for_each_image(free):
    class Wide(nn.Module):
        """Keeps 64 KiB of weights and 1 KiB of each image."""

        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(256, 64, bias=False), nn.Linear(64, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.first(x.square().flatten(1)))

    free(40)
    assert fitting_batch(Wide(), split(5, shape=(1, 16, 16))) == 20
    assert fitting_batch(Wide(), split(1, shape=(1, 16, 16))) == 20  # there is no second image to compare with


def test_little_memory_still_means_one_image_and_much_memory_no_more_than_250(free):
    model, data = Squares(), split(5, shape=(1, 16, 16))
    free(0)
    assert fitting_batch(model, data) == 1
    free(10**9)
    assert fitting_batch(model, data) == 250


def test_a_network_that_keeps_nothing_for_a_gradient_gets_the_largest_batch(free):
    free(KIB)
    assert fitting_batch(lambda x: x.flatten(1)[:, :3].detach(), split(5)) == 250
    assert fitting_batch(nn.Sequential(nn.Flatten(), nn.Linear(16, 3)), split(5)) == 250  # its weights alone


@pytest.mark.parametrize("said", [None, "", "MemTotal: 1 kB\n", "MemAvailable:\n", "MemAvailable: much kB\n"])
def test_a_system_that_does_not_tell_what_is_free_gets_100(said, free, tmp_path):
    free(None)
    if said is not None:
        (tmp_path / "meminfo").write_text(said)
    assert fitting_batch(smooth(), split(5)) == 100


def test_the_network_is_left_as_it_was():
    model = classifier().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert 1 <= fitting_batch(model, split(5)) <= 250
    assert model.training
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("outside", [torch.inference_mode, torch.no_grad])
def test_what_is_kept_is_counted_within_inference_mode_too(outside, free):
    free(40)
    model = Squares()
    with outside():
        assert fitting_batch(model, split(5, shape=(1, 16, 16))) == 20  # its tensors are made inside


# running out


def refusing(holds: int, seen: list[int]):
    """Work that needs memory for so many images."""

    def work(part: Tensor) -> Tensor:
        seen.append(len(part))
        if len(part) > holds:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return part * 2

    return work


@pytest.mark.parametrize("holds", [1, 2, 3, 7, 30])
def test_every_image_is_worked_on_once_however_often_memory_runs_out(holds):
    room, seen = Room(16), []
    parts = list(room.parts(refusing(holds, seen), torch.arange(30)))
    assert torch.equal(torch.cat([part for part, _ in parts]), torch.arange(30))
    assert torch.equal(torch.cat([made for _, made in parts]), torch.arange(30) * 2)
    assert seen == sorted(seen, reverse=True)  # a size that failed is not tried again
    assert min(holds, 16) / 2 < room.images <= max(holds, 1) or room.images == 16


def test_work_that_ran_out_of_memory_late_keeps_what_was_done():
    left = [2]

    def work(part: Tensor) -> int:
        left[0] -= 1
        if left[0] == 0:
            raise torch.OutOfMemoryError
        return len(part)

    assert [made for _, made in Room(8).parts(work, torch.arange(20))] == [8, 4, 4, 4]


def test_copies_take_room():
    assert [len(part) for part, _ in Room(12).parts(len, torch.arange(7), copies=4)] == [3, 3, 1]
    assert [len(part) for part, _ in Room(3).parts(len, torch.arange(2), copies=300)] == [1, 1]


def test_no_images_are_worked_on_as_such():
    assert [made for _, made in Room(4).parts(len, torch.arange(0))] == [0]


def test_one_image_that_does_not_fit_is_an_error_and_other_errors_pass():
    with pytest.raises(FailedError, match="does not hold one image"):
        list(Room(4).parts(refusing(0, []), torch.arange(3)))
    with pytest.raises(ZeroDivisionError):
        list(Room(4).parts(lambda part: 1 // 0, torch.arange(3)))
