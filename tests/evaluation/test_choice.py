import pytest
import torch
from torch import Tensor

from hardy.data.split import Split
from hardy.errors import UsageError
from hardy.evaluation.choice import classified_by_all

LABELS = torch.tensor([0, 0, 0, 1, 1, 2, 0, 2])


def data(of: Tensor = LABELS) -> Split:
    """Images whose first pixel is their number, by which the networks below know them."""
    pixels = torch.arange(len(of)).to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 2, 2).clone()
    return Split(pixels, of, ("a", "b", "c"), torch.arange(len(of)) + 100, "made up")


def right_on(*numbers: int, of: Tensor = LABELS):
    """A network that is right on these images and wrong on all others."""

    def network(x: Tensor) -> Tensor:
        number = (255 * x[:, 0, 0, 0]).round().long()
        right = torch.isin(number, torch.tensor(numbers))
        return torch.nn.functional.one_hot(torch.where(right, of[number], (of[number] + 1) % 3), 3).float()

    return network


ALL = right_on(*range(8))


def test_images_come_from_the_classes_in_turn():
    assert classified_by_all([ALL], data(), 8).index.tolist() == [0, 3, 5, 1, 4, 7, 2, 6]
    chosen = classified_by_all([ALL], data(), 4)
    assert (chosen.index.tolist(), chosen.passed_over) == ([0, 3, 5, 1], 0)


def test_only_those_that_every_network_classifies_correctly_are_taken_and_the_others_are_counted():
    networks = [right_on(1, 2, 3, 4, 5, 6, 7), right_on(0, 1, 4, 5, 6)]
    chosen = classified_by_all(networks, data(), 4)
    # 0 and 2 of the first class, 3 of the second; 7, of the third, is not looked at
    assert (chosen.index.tolist(), chosen.passed_over) == ([1, 4, 5, 6], 3)


def test_where_a_class_has_none_the_others_fill_in_and_its_images_are_counted():
    chosen = classified_by_all([right_on(0, 1, 2, 5, 6)], data(), 4)
    assert (chosen.index.tolist(), chosen.passed_over) == ([0, 5, 1, 2], 3)  # 3, 4, and 7 of the third


def test_there_may_be_fewer_than_were_asked_for():
    chosen = classified_by_all([right_on(2, 7)], data(), 5)
    assert (chosen.index.tolist(), chosen.passed_over) == ([2, 7], 6)


def test_neither_the_batch_nor_the_number_asked_for_changes_which_come_first():
    of = torch.arange(200) % 2
    network = right_on(*range(3, 200, 3), of=of)
    whole = classified_by_all([network], data(of), 60).index
    assert len(whole) == 60
    assert torch.equal(classified_by_all([network], data(of), 60, batch=1).index, whole)
    assert torch.equal(classified_by_all([network], data(of), 11).index, whole[:11])


@pytest.mark.parametrize(
    ("networks", "n", "said"),
    [
        ([ALL], 0, "n is 0; it must be at least 1 image"),
        ([], 3, r"models is \[\]; it must be at least one network"),
        ([right_on(0, 1), right_on(2, 3)], 3, "None of the 8 images is classified correctly by every network"),
        ([lambda x: x], 3, "logits"),
    ],
)
def test_what_leaves_no_image_is_refused(networks, n, said):
    with pytest.raises(UsageError, match=said):
        classified_by_all(networks, data(), n)
