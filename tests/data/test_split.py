"""Split and batches()."""

import pytest
import torch

from hardy.data.split import Split, batches
from hardy.errors import UsageError
from hardy.randomness import Noise


def made(labels: list[int], classes: int = 3) -> Split:
    n = len(labels)
    images = torch.arange(n * 12, dtype=torch.int64).remainder(256).to(torch.uint8).view(n, 3, 2, 2)
    names = tuple("abcdefghij"[:classes])
    return Split(images, torch.tensor(labels, dtype=torch.int64), names, torch.arange(n), "made up")


def test_images_leave_as_floats_in_the_unit_interval():
    split = made([0, 1, 2] * 10)
    x = split.x()
    assert x.dtype == torch.float32
    assert torch.equal((x * 255).round().to(torch.uint8), split.images)
    assert split.x(slice(2, 4)).shape == (2, 3, 2, 2)
    assert split.shape == (3, 2, 2)
    assert len(split) == 30


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"images": torch.zeros(3, 3, 2, 2)}, "float32"),
        ({"images": torch.zeros(3, 12, dtype=torch.uint8)}, "uint8 \\(N, C, H, W\\)"),
        ({"labels": torch.zeros(2, dtype=torch.int64)}, "Labels are torch.int64 \\(2,\\)"),
        ({"labels": torch.zeros(3)}, "Labels are torch.float32"),
        ({"indices": torch.arange(2)}, "Indices are torch.int64 \\(2,\\)"),
        ({"indices": torch.zeros(3)}, "Indices are torch.float32"),
        ({"labels": torch.tensor([0, 1, 3])}, "lie in 0..3; with 3 classes they must lie in 0..2"),
        ({"labels": torch.tensor([0, -1, 2])}, "lie in -1..2"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(change: dict[str, torch.Tensor], said: str):
    split = made([0, 1, 2])
    good = {"images": split.images, "labels": split.labels, "indices": split.indices}
    with pytest.raises(UsageError, match=said):
        Split(**(good | change), classes=split.classes, origin="")


def test_taking_keeps_images_labels_and_indices_together():
    split = made([0, 1, 2, 0, 1])
    part = split.take(torch.tensor([4, 0]))
    assert part.indices.tolist() == [4, 0]
    assert part.labels.tolist() == [1, 0]
    assert torch.equal(part.images[0], split.images[4])
    assert split.take(split.labels == 1).indices.tolist() == [1, 4]


def test_interleaved_images_are_of_all_classes_in_proportion_from_the_beginning_on():
    split = made([0] * 8 + [1] * 4 + [2] * 4)
    mixed = split.interleaved()
    assert sorted(mixed.indices.tolist()) == list(range(16))
    for first in (4, 8, 12):
        assert mixed.labels[:first].bincount(minlength=3).tolist() == [first // 2, first // 4, first // 4]
    for label in range(3):
        of_class = mixed.indices[mixed.labels == label].tolist()
        assert of_class == sorted(of_class)


def test_holding_out_parts_the_images_and_keeps_their_order():
    split = made([0, 1, 2] * 20)
    rest, held = split.hold_out(17, seed=3)
    assert (len(rest), len(held)) == (43, 17)
    assert sorted(rest.indices.tolist() + held.indices.tolist()) == list(range(60))
    assert held.indices.tolist() == sorted(held.indices.tolist())
    assert torch.equal(held.labels, split.labels[held.indices])


@pytest.mark.parametrize("count", [0, 1, 7, 30, 59, 99])
def test_every_class_is_held_out_in_its_proportion(count: int):
    split = made([0] * 60 + [1] * 30 + [2] * 10)
    _, held = split.hold_out(count, seed=0)
    for label, size in ((0, 60), (1, 30), (2, 10)):
        assert abs(int((held.labels == label).sum()) - size * count / 100) <= 1


def test_another_seed_holds_out_other_images_and_the_same_seed_the_same():
    split = made([0, 1, 2] * 20)
    chosen = [split.hold_out(15, seed)[1].indices.tolist() for seed in (1, 1, 2)]
    assert chosen[0] == chosen[1]
    assert chosen[0] != chosen[2]


@pytest.mark.parametrize("count", [-1, 6, 7])
def test_holding_out_all_or_a_negative_number_is_refused(count: int):
    with pytest.raises(UsageError, match=f"{count} images were to be held out of 6"):
        made([0, 1, 2] * 2).hold_out(count, seed=0)


def test_batches_without_noise_give_every_image_once_in_order():
    split = made([0, 1, 2, 0, 1, 2, 0])
    parts = list(batches(split, 3))
    assert [len(x) for x, _, _ in parts] == [3, 3, 1]
    assert torch.cat([indices for _, _, indices in parts]).tolist() == list(range(7))
    assert torch.equal(torch.cat([y for _, y, _ in parts]), split.labels)
    assert torch.equal(torch.cat([x for x, _, _ in parts]), split.x())


def test_batches_with_noise_are_full_random_and_repeatable():
    split = made([0, 1, 2] * 7)
    noise = Noise.of_batch(1, seed=5)

    def order(noise: Noise) -> list[int]:
        return [int(i) for _, _, indices in batches(split, 4, noise) for i in indices]

    seen = order(noise)
    assert len(seen) == len(set(seen)) == 20
    assert seen != sorted(seen)
    assert order(noise) == seen
    assert order(noise.draw(1)) != seen
    for x, y, indices in batches(split, 4, noise):
        assert torch.equal(x, split.x(indices))
        assert torch.equal(y, split.labels[indices])


def test_an_empty_split_has_no_batches():
    split = made([0, 1, 2]).take(slice(0))
    assert list(batches(split, 4)) == []
    assert split.x().shape == (0, 3, 2, 2)
