"""Shortened: which training images `first` takes and leaves, for every release that has it."""

from dataclasses import replace

import pytest
import torch

from hardy.data import CIFAR10, CIFAR100, STL10, SVHN, Split
from hardy.data.dataset import Shortened
from hardy.describe import describe, rebuild
from hardy.errors import UsageError

RELEASES = [CIFAR10, CIFAR100, STL10, SVHN]


@pytest.fixture(params=RELEASES, ids=lambda data: data.__name__)
def data(request, monkeypatch: pytest.MonkeyPatch) -> type[Shortened]:
    """A data set of 12 training and 7 test images, each of which tells its number."""

    def part(name: str, n: int, first: int) -> Split:
        images = torch.arange(first, first + n, dtype=torch.uint8).view(-1, 1, 1, 1)
        return Split(
            images, torch.arange(n) % 3, tuple("abc"), torch.arange(n), f"a {name} set, {n} images from a disk"
        )

    monkeypatch.setattr(request.param, "total", 12)
    monkeypatch.setattr(request.param, "release", lambda *_: (part("training", 12, 0), part("test", 7, 100)))
    return request.param


def test_first_and_unused_part_the_training_images(data: type[Shortened]):
    whole, test = data().load()
    first, same_test = data(first=5).load()
    rest = data(first=5).unused()
    assert (len(first), len(rest)) == (data(first=5).training_images, data(first=5).unused_images) == (5, 7)
    for field in ("images", "labels", "indices"):
        assert torch.equal(torch.cat([getattr(first, field), getattr(rest, field)]), getattr(whole, field))
    assert torch.equal(same_test.images, test.images)
    assert first.origin == "a training set, the first 5 of 12 images from a disk"
    assert rest.origin == "a training set, the last 7 of 12 images from a disk"


@pytest.mark.parametrize("first", [None, 12])
def test_nothing_is_unused_where_all_images_are_taken(data: type[Shortened], first: int | None):
    assert (data(first=first).training_images, data(first=first).unused_images) == (12, 0)
    assert data(first=first).unused() is None
    train, _ = data(first=first).load()
    assert train.images.flatten().tolist() == list(range(12))
    assert train.origin == "a training set, 12 images from a disk"


@pytest.mark.parametrize("first", [0, -5, 13])
def test_first_out_of_range_is_refused(data: type[Shortened], first: int):
    with pytest.raises(UsageError, match=rf"first is {first}; it must be an integer in 1\.\.12 or None"):
        data(first=first)


def test_the_settings_are_rebuilt_from_their_description(data: type[Shortened]):
    assert describe(data(first=7)) == {"type": data.__name__, "first": 7}
    assert rebuild(describe(data()), data) == data()
    assert replace(data(first=7), first=None) == data()
