"""Digits: values, places and the split."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from hardy.data.digits import Digits
from hardy.errors import UsageError


def by_index(data: Digits) -> tuple[torch.Tensor, torch.Tensor]:
    """All images and labels in scikit-learn's order."""
    parts = data.load()
    order = torch.cat([part.indices for part in parts]).argsort()
    return torch.cat([part.images for part in parts])[order], torch.cat([part.labels for part in parts])[order]


def test_the_split_is_1297_and_500_images_that_share_none():
    train, test = Digits().load()
    assert (len(train), len(test)) == (1297, 500)
    assert sorted(train.indices.tolist() + test.indices.tolist()) == list(range(1797))
    assert train.classes == test.classes == tuple("0123456789")
    assert Digits().unused() is None


def test_every_digit_has_its_proportion_of_the_test_images():
    train, test = Digits().load()
    whole = torch.cat([train.labels, test.labels]).bincount()
    assert ((test.labels.bincount() - whole * 500 / 1797).abs() <= 1).all()


def test_a_canvas_of_eight_holds_the_scans_as_they_are():
    values, labels = load_digits(return_X_y=True)
    images, ours = by_index(Digits(canvas=8))
    assert images.dtype == torch.uint8
    assert np.array_equal(images.numpy().reshape(1797, 64), np.round(values * 255 / 16))
    assert np.array_equal(ours.numpy(), labels)
    assert images.max() == 255


@pytest.mark.parametrize("placement", ["random", "centre"])
def test_a_scan_lies_whole_on_its_canvas(placement: str):
    scans, _ = by_index(Digits(canvas=8))
    images, _ = by_index(Digits(canvas=13, placement=placement))
    windows = images.unfold(2, 8, 1).unfold(3, 8, 1)[:, 0]  # (N, 6, 6, 8, 8)
    found = (windows == scans.view(-1, 1, 1, 8, 8)).all(-1).all(-1)
    assert found.flatten(1).any(1).all()
    assert torch.equal(images.sum((1, 2, 3)), scans.sum((1, 2, 3)))
    if placement == "centre":
        assert found[:, 2, 2].all()
    else:
        assert found.any(0).all()  # every place is somebody's


def test_the_random_places_are_the_same_each_time_and_differ_between_images():
    first, second = by_index(Digits())[0], by_index(Digits())[0]
    assert torch.equal(first, second)
    tops = (first.sum(3)[:, 0] > 0).to(torch.int64).argmax(1)
    assert len(tops.unique()) >= 8


@pytest.mark.parametrize("canvas", [8, 16, 64])
def test_shape_and_classes_are_known_without_loading(canvas: int):
    data = Digits(canvas=canvas)
    train, test = data.load()
    assert data.shape == train.shape == test.shape == (1, canvas, canvas)
    assert data.classes == len(train.classes)


def test_the_origin_says_what_was_done():
    train, test = Digits(canvas=20, placement="centre").load()
    assert train.origin.startswith(
        "digits train, 1,297 of 1,797 scans of 8 x 8 from scikit-learn, in the centre of 20 x 20"
    )
    assert test.origin.startswith("digits test, 500 of 1,797")
    assert "at a random place" in Digits().load()[0].origin


@pytest.mark.parametrize("canvas", [7, 65, 0])
def test_a_canvas_out_of_range_is_refused(canvas: int):
    with pytest.raises(UsageError, match=f"canvas is {canvas}; it must be an integer in 8..64"):
        Digits(canvas=canvas)


def test_an_unknown_placement_is_refused():
    with pytest.raises(UsageError, match="placement is 'left'; it must be 'random' or 'centre'"):
        Digits(placement="left")
