import pytest
import torch

from hardy.attacks import PGD, Linf
from hardy.errors import UsageError
from hardy.evaluation.activation import activation_maps
from toys import classifier, smooth, split

N = 9


@pytest.fixture(scope="module")
def toy():
    """(network, its images, an attack's images of them)."""
    model = classifier()
    data = split(N, model)
    return model, data, PGD(Linf(0.1), steps=2)(model, data.x(), data.labels)


def test_maps_are_the_positive_terms_of_the_labels_weights_and_activations(toy):
    model, data, x_adv = toy
    made = activation_maps(model, data, x_adv)
    for shown, x in ((made.clean, data.x()), (made.attacked, x_adv)):
        terms = model.maps(x) * model.linear.weight[data.labels][:, :, None, None]
        torch.testing.assert_close(shown, terms.relu().sum(1).detach())


def test_with_no_clipping_a_maps_mean_is_the_logit_without_its_bias(toy):
    model, data, x_adv = toy
    made = activation_maps(model, data, x_adv, clip="none")
    logits = model(x_adv).gather(1, data.labels[:, None]).squeeze(1) - model.linear.bias[data.labels]
    torch.testing.assert_close(made.attacked.mean((1, 2)), logits.detach())


def test_rows_are_the_mean_distances_of_the_maps(toy):
    model, data, x_adv = toy
    made = activation_maps(model, data, x_adv, name="pgd-2", run="toy", settings={"seed": 1})
    a, b = made.clean.flatten(1), made.attacked.flatten(1)
    cosine, l2 = made.rows
    assert cosine.value == pytest.approx((1 - torch.cosine_similarity(a, b)).mean().item(), abs=1e-6)
    assert l2.value == pytest.approx((a - b).norm(dim=1).mean().item(), rel=1e-6)
    assert l2.value > 0
    assert (l2.what, l2.unit, l2.n) == ("l2 distance of activation maps under pgd-2", "l2 distance", N)
    assert l2.settings == {"seed": 1, "data": "made up", "clip": "terms"}
    assert (l2.forwards, l2.backwards) == (2 * N, 0)


def test_images_that_are_not_attacked_have_the_same_maps_and_no_distance(toy):
    model, data, _ = toy
    assert [row.value for row in activation_maps(model, data, data.x()).rows] == pytest.approx([0, 0], abs=1e-6)


def test_nothing_depends_on_the_batch_and_the_network_comes_back_as_it_was(toy):
    model, data, x_adv = toy
    whole, training = activation_maps(model, data, x_adv), classifier().train()
    torch.testing.assert_close(activation_maps(training, data, x_adv, batch=2).attacked, whole.attacked)
    assert training.training


def test_a_network_without_activations_or_images_that_do_not_belong_together_are_refused(toy):
    model, data, x_adv = toy
    with pytest.raises(UsageError, match="needs a hardy Classifier"):
        activation_maps(smooth(), data, x_adv)
    with pytest.raises(UsageError, match=r"x_adv is \(3, 1, 4, 4\); it must be 9 images, one of each"):
        activation_maps(model, data, x_adv[:3])
