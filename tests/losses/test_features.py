"""Class activation maps and the distances of maps and features: by hand, loops, finite differences."""

import pytest
import torch

from hardy.errors import UsageError
from hardy.losses.features import class_activation_maps, cosine_distance, map_distance, of_class
from hardy.randomness import Noise


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return Noise.of_batch(shape[0], seed, purpose="features").normal(shape[1:]).double()


def test_the_map_of_two_channels_by_hand():
    maps = torch.tensor([[[[2.0, -1.0]], [[3.0, 4.0]]]])  # (1, 2, 1, 2)
    weight = torch.tensor([[1.0, -2.0], [-1.0, 0.5]])
    # class 0: 2 - 6, -1 - 8; class 1: -2 + 1.5, 1 + 2
    assert class_activation_maps(maps, weight, "none").tolist() == [[[[-4.0, -9.0]], [[-0.5, 3.0]]]]
    assert class_activation_maps(maps, weight, "sum").tolist() == [[[[0.0, 0.0]], [[0.0, 3.0]]]]
    assert class_activation_maps(maps, weight, "terms").tolist() == [[[[2.0, 0.0]], [[1.5, 3.0]]]]


def test_clipping_the_terms_is_clipping_each_product_and_so_is_its_gradient():
    maps, weight = normal(3, 5, 2, 4).requires_grad_(), normal(4, 5, seed=1)
    got = class_activation_maps(maps, weight)
    expected = (maps[:, None] * weight[None, :, :, None, None]).clamp_min(0).sum(2)
    assert torch.allclose(got, expected, atol=1e-12)
    assert not torch.allclose(got, class_activation_maps(maps, weight, "sum"), atol=0.1)
    toward = normal(*got.shape, seed=2)
    gradients = [torch.autograd.grad((value * toward).sum(), maps)[0] for value in (got, expected)]
    assert torch.allclose(*gradients, atol=1e-12)


def test_for_activations_that_are_positive_clipping_the_terms_drops_the_negative_weights():
    maps, weight = normal(3, 5, 2, 4).abs(), normal(4, 5, seed=1)
    expected = class_activation_maps(maps, weight.clamp_min(0), "none")
    assert torch.allclose(class_activation_maps(maps, weight), expected, atol=1e-12)


def test_the_mean_of_the_maps_is_the_logits_without_bias():
    maps, weight = normal(3, 5, 2, 4), normal(4, 5, seed=1)
    means = class_activation_maps(maps, weight, "none").mean((2, 3))
    assert torch.allclose(means, maps.mean((2, 3)) @ weight.T, atol=1e-12)


@pytest.mark.parametrize("maps", [torch.zeros(2, 4, 3, 3), torch.zeros(2, 5)])
def test_weights_for_other_maps_are_refused(maps):
    with pytest.raises(UsageError, match=r"last layer's weights \(3, 5\).*name such a layer as maps_layer"):
        class_activation_maps(maps, torch.zeros(3, 5))


def test_distances_of_maps_by_hand():
    a, b = torch.zeros(2, 1, 2, 2), torch.tensor([[3.0, 4.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]).view(2, 1, 2, 2)
    assert map_distance(a, b).tolist() == pytest.approx([5.0, 1e-6])
    assert map_distance(a, b, over="mean").tolist() == pytest.approx([2.5, 1e-6])
    assert map_distance(a, b, "squared").tolist() == [25.0, 0.0]
    assert map_distance(a, b, "squared", "mean").tolist() == [6.25, 0.0]
    assert map_distance(a, b, floor=11.0).tolist() == pytest.approx([6.0, 11**0.5])


def test_the_map_of_one_class_for_each_image():
    maps, y = normal(4, 3, 2, 5), torch.tensor([2, 0, 0, 1])
    got = of_class(maps, y)
    assert got.shape == (4, 1, 2, 5)
    assert all(torch.equal(got[i, 0], maps[i, c]) for i, c in enumerate(y.tolist()))
    assert of_class(maps[:0], y[:0]).shape == (0, 1, 2, 5)


def test_its_gradient_goes_to_that_class_alone():
    maps, y = normal(2, 3, 1, 2).requires_grad_(), torch.tensor([2, 0])
    (slope,) = torch.autograd.grad(of_class(maps, y).sum(), maps)
    assert slope.flatten(2).sum(2).tolist() == [[0.0, 0.0, 2.0], [2.0, 0.0, 0.0]]


def test_the_sum_of_absolute_differences_by_hand():
    a, b = torch.zeros(2, 1, 2, 2), torch.tensor([[3.0, -4.0, 0.0, 0.5], [0.0, 0.0, 0.0, 0.0]]).view(2, 1, 2, 2)
    assert map_distance(a, b, "l1").tolist() == [7.5, 0.0]
    assert map_distance(b, a, "l1").tolist() == [7.5, 0.0]
    assert map_distance(a, b, "l1", "mean").tolist() == [1.875, 0.0]
    assert map_distance(a, b, "l1", floor=11.0).tolist() == [7.5, 0.0]  # the floor is the root's


def test_the_cosine_of_maps_is_of_all_entries_of_an_image_whatever_their_length():
    a, b = normal(3, 2, 2, 2), normal(3, 2, 2, 2, seed=1)
    cosines = [(a[i] * b[i]).sum() / ((a[i] ** 2).sum().sqrt() * (b[i] ** 2).sum().sqrt()) for i in range(3)]
    for given in (
        map_distance(a, b, "cosine"),
        map_distance(a, b, "cosine", "mean", 5.0),
        map_distance(2 * a, 0.1 * b, "cosine"),
    ):
        assert torch.allclose(given, 1 - torch.stack(cosines), atol=1e-12)
    assert torch.allclose(map_distance(a, -a, "cosine"), torch.full((3,), 2.0).double())
    assert map_distance(a, a, "cosine").abs().max() < 1e-12


@pytest.mark.parametrize("norm", ["l2", "squared", "l1", "cosine"])
def test_one_value_an_image_that_depends_on_that_image_alone(norm):
    a, b = normal(4, 2, 3, 3), normal(4, 2, 3, 3, seed=1)
    whole = map_distance(a, b, norm)
    assert whole.shape == (4,)
    assert torch.equal(torch.cat([map_distance(a[i : i + 1], b[i : i + 1], norm) for i in range(4)]), whole)
    assert map_distance(a[:0], b[:0], norm).shape == (0,)


@pytest.mark.parametrize("norm", ["l2", "squared", "l1"])
@pytest.mark.parametrize("over", ["sum", "mean"])
def test_their_gradients_are_those_of_finite_differences_and_0_where_maps_are_equal(norm, over):
    a, b = normal(3, 2, 2, 2).requires_grad_(), normal(3, 2, 2, 2, seed=1)
    assert torch.autograd.gradcheck(lambda at: map_distance(at, b, norm, over), (a,))
    (slope,) = torch.autograd.grad(map_distance(a, a.detach(), norm, over).sum(), a)
    assert not slope.any()


def test_cosine_distances_by_hand():
    a = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [3.0, 4.0], [0.0, 0.0]])
    b = torch.tensor([[2.0, 0.0], [0.0, 5.0], [-1.0, 0.0], [4.0, 3.0], [1.0, 0.0]])
    assert cosine_distance(a, b).tolist() == pytest.approx([0.0, 1.0, 2.0, 0.04, 1.0], abs=1e-6)


def test_cosine_distances_agree_with_torch_and_have_its_slope():
    a, b = normal(6, 5).requires_grad_(), normal(6, 5, seed=1)
    expected = 1 - torch.nn.functional.cosine_similarity(a, b)
    assert torch.allclose(cosine_distance(a, b), expected, atol=1e-12)
    assert torch.autograd.gradcheck(lambda at: cosine_distance(at, b), (a,))


def test_the_cosines_slope_is_that_of_finite_differences_and_finite_at_its_ends():
    a, b = normal(3, 2, 2, 2).requires_grad_(), normal(3, 2, 2, 2, seed=1)
    assert torch.autograd.gradcheck(lambda at: map_distance(at, b, "cosine"), (a,))
    c = a.detach()
    for first, other in ((c, c), (c, -c), (c, torch.zeros_like(c)), (torch.zeros_like(c), b)):
        at = first.clone().requires_grad_()
        (slope,) = torch.autograd.grad(map_distance(at, other, "cosine").sum(), at)
        assert slope.isfinite().all()


@pytest.mark.parametrize("norm", ["l2", "squared", "l1", "cosine"])
@pytest.mark.parametrize("scale", [1e-18, 1e-9, 1e9, 1e18])
def test_gradients_are_finite_for_maps_tiny_or_huge(norm, scale):
    a, b = (scale * normal(3, 2, 2, 2, seed=seed).float() for seed in (0, 1))
    a.requires_grad_()
    value = map_distance(a, b, norm)
    (slope,) = torch.autograd.grad(value.sum(), a)
    assert value.isfinite().all()
    assert slope.isfinite().all()
