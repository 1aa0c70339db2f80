"""Label distributions: the papers' numbers, loops over images and classes, what is refused."""

import pytest
import torch

from hardy.errors import UsageError
from hardy.losses.labels import away_from_partner, check_smoothing, confidence_at, smoothed
from hardy.losses.logits import cross_entropy
from hardy.randomness import Noise

Y = torch.tensor([3, 0, 9, 3])


def spread(label: int, probability: float, classes: int = 10) -> list[float]:
    """`probability` on the label, the rest in equal parts on the others."""
    return [probability if c == label else (1 - probability) / (classes - 1) for c in range(classes)]


# smoothing


def test_half_of_a_label_spread_over_ten_classes_is_a_half_and_0_0556_and_not_what_torch_makes():
    made = smoothed(Y, 10, 1 - 0.5)
    for row, label in zip(made.tolist(), Y.tolist(), strict=True):
        assert row[label] == 0.5
        assert [round(p, 4) for c, p in enumerate(row) if c != label] == [0.0556] * 9
    z = Noise.of_batch(4).normal((10,))
    ours = -(made * z.log_softmax(1)).sum(1)
    torch.testing.assert_close(cross_entropy(z, Y, 0.5), ours)
    of_torch = torch.nn.functional.cross_entropy(z, Y, reduction="none", label_smoothing=0.5)
    assert not torch.allclose(ours, of_torch, atol=1e-2)
    # torch spreads over the label's class as well: a tenth of it comes back
    of_torch_by_ours = -(smoothed(Y, 10, 0.55) * z.log_softmax(1)).sum(1)
    torch.testing.assert_close(of_torch, of_torch_by_ours)


@pytest.mark.parametrize("classes", [2, 5, 10, 100])
@pytest.mark.parametrize("confidence", [0.0, 0.1, 0.3, 1.0])
def test_smoothed_labels_by_hand_sum_to_one(classes, confidence):
    y = torch.tensor([0, classes - 1, 1])
    made = smoothed(y, classes, confidence)
    assert made.dtype == torch.float32
    expected = torch.tensor([spread(label, confidence, classes) for label in y.tolist()])
    torch.testing.assert_close(made, expected, atol=1e-7, rtol=0)
    assert made.sum(1).tolist() == pytest.approx([1.0] * 3, abs=1e-6)


def test_full_confidence_is_a_one_hot_label_to_the_bit():
    assert torch.equal(smoothed(Y, 10, 1.0), torch.nn.functional.one_hot(Y, 10).float())


def test_each_image_may_have_a_confidence_of_its_own():
    confidence = torch.tensor([1.0, 0.1, 0.55, 0.3])
    made = smoothed(Y, 10, confidence)
    expected = torch.tensor([spread(label, c) for label, c in zip(Y.tolist(), confidence.tolist(), strict=True)])
    torch.testing.assert_close(made, expected, atol=1e-7, rtol=0)


# distance


def test_confidence_falls_in_a_straight_line_from_the_image_to_the_farthest_point():
    scale = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0])
    assert confidence_at(scale, 2.0, 1.0, 0.1).tolist() == pytest.approx([1.0, 0.775, 0.55, 0.325, 0.1], abs=1e-6)
    assert confidence_at(scale[:3], 1.0, 0.9, 0.4).tolist() == pytest.approx([0.9, 0.65, 0.4], abs=1e-6)
    assert confidence_at(scale, 2.0, 1.0, 1.0).tolist() == [1.0] * 5  # SAT, and SAT + ARS


@pytest.mark.parametrize("largest", [2.0, 3.0])
@pytest.mark.parametrize("betas", [(1.0, 0.1), (1.0, 0.5), (1.0, 0.9), (0.9, 0.0)])
def test_the_label_law_of_rat_by_its_equations(largest, betas):
    beta_max, beta_min = betas
    scales = [0.1 * k for k in range(round(10 * largest) + 1)]
    y = torch.arange(len(scales)) % 10
    made = smoothed(y, 10, confidence_at(torch.tensor(scales), largest, beta_max, beta_min))
    expected = [
        spread(label, beta_max - s * (beta_max - beta_min) / largest)
        for s, label in zip(scales, y.tolist(), strict=True)
    ]
    torch.testing.assert_close(made, torch.tensor(expected), atol=1e-6, rtol=0)
    assert float(made.min()) >= -1e-7


def test_rat_is_sure_by_0_55_on_average_and_at_the_adversarial_point_and_knows_nothing_at_the_farthest():
    scales = torch.tensor([0.1 * k for k in range(21)])
    confidence = confidence_at(scales, 2.0, 1.0, 0.1)
    assert float(confidence.mean()) == pytest.approx(0.55, abs=1e-6)
    assert float(confidence[10]) == pytest.approx(0.55, abs=1e-6)
    uniform = smoothed(torch.tensor([4]), 10, confidence[20:])
    torch.testing.assert_close(uniform, torch.full((1, 10), 0.1), atol=1e-7, rtol=0)


@pytest.mark.parametrize("gamma", [1.0, 2.0, 3.0])
def test_the_mixture_of_avmixup_is_the_law_of_rat(gamma):
    shares = [0.0, 0.2, 0.5, 0.9, 1.0]  # w, of the image
    y = torch.tensor([0, 3, 5, 7, 9])
    made = smoothed(y, 10, confidence_at(torch.tensor([gamma * (1 - w) for w in shares]), gamma, 1.0, 0.1))
    mixed = [
        [w * a + (1 - w) * b for a, b in zip(spread(label, 1.0), spread(label, 0.1), strict=True)]
        for w, label in zip(shares, y.tolist(), strict=True)
    ]
    torch.testing.assert_close(made, torch.tensor(mixed), atol=1e-6, rtol=0)
    assert float(made[2, 5]) == pytest.approx(0.55, abs=1e-6)  # w = 1/2


# partners


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("classes", [4, 10])
def test_labels_of_interpolation_by_hand_sum_to_one(share, classes):
    y, partner = torch.tensor([0, 1, 2, 3]), torch.tensor([3, 1, 0, 2])
    expected = [
        [(1 - share) * (c == own) + share * (1 - (c == other)) / (classes - 1) for c in range(classes)]
        for own, other in zip(y.tolist(), partner.tolist(), strict=True)
    ]
    made = away_from_partner(y, partner, classes, share)
    assert made.dtype == torch.float32
    torch.testing.assert_close(made, torch.tensor(expected), atol=1e-7, rtol=0)
    assert made.sum(1).tolist() == pytest.approx([1.0] * 4, abs=1e-6)


def test_the_class_of_a_partner_has_no_probability_unless_it_is_the_images_own():
    made = away_from_partner(torch.tensor([2, 2]), torch.tensor([7, 2]), 10, 0.5)
    assert float(made[0, 7]) == 0.0
    assert float(made[0, 2]) == pytest.approx(0.5 + 0.5 / 9, abs=1e-7)
    assert sorted(made[0].tolist())[1:9] == pytest.approx([0.5 / 9] * 8, abs=1e-7)
    assert made[1].tolist() == pytest.approx(spread(2, 0.5), abs=1e-7)


# what is refused


@pytest.mark.parametrize("smoothing", [-0.1, 1.0, 2.0, float("nan")])
def test_a_share_of_the_label_that_is_none_is_refused(smoothing):
    said = rf"smoothing is {smoothing}; it must be in \[0, 1\), the share of the label given to the other classes\."
    with pytest.raises(UsageError, match=said):
        check_smoothing(smoothing)


@pytest.mark.parametrize("smoothing", [0.0, 0.5, 0.999])
def test_any_other_share_is_allowed(smoothing):
    check_smoothing(smoothing)
