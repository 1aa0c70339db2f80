"""What is checked before a number: each way in which it would be meaningless is refused, and a network is left as it was."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from hardy.errors import UsageError
from hardy.evaluation.checks import check_network, inspect, normalisation
from hardy.models import small_cnn
from hardy.models.classifier import set_normalisation
from hardy.randomness import Noise
from toys import classifier, images, linear, predicted, smooth, split, split_of

CLEAN = "Clean accuracy is 100.0% on the first 12 images."


def sound() -> tuple[nn.Module, object]:
    model = classifier()
    return model, split(12, model)


def refused(model: Callable[[Tensor], Tensor], data, said: str) -> str:
    with pytest.raises(UsageError, match=said) as error:
        inspect(model, data)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("make", [classifier, smooth, lambda: linear(3)])
def test_of_a_sound_network_there_is_only_its_accuracy_to_say(make):
    model = make()
    data = split(12, model)
    assert inspect(model, data) == [CLEAN]
    assert inspect(model.forward, data, images=100, batch=5) == [CLEAN]
    assert inspect(model, data, images=1) == [inspect(model, data.take(slice(1)))[0]]


def test_the_accuracy_is_that_of_the_first_images():
    model, data = sound()
    wrong = replace(data, labels=torch.cat([data.labels[:9], (data.labels[9:] + 1) % 3]))
    assert inspect(model, wrong)[0] == "Clean accuracy is 75.0% on the first 12 images."
    assert inspect(model, wrong, images=8)[0] == "Clean accuracy is 100.0% on the first 8 images."


def test_a_network_is_left_as_it_was():
    model, data = sound()
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert inspect(model, data) == [CLEAN]
    normalisation(model, (0.5,), (0.25,), data)
    assert model.training
    assert model.norm.training
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.mean.flatten().tolist() == [0.5]


def test_a_network_that_guesses_is_told_of():
    data = split(200, classes=3)
    (said,) = inspect(smooth(), data)
    assert "where guessing gives 33.3%: perhaps the network was trained with another normalisation" in said


# what makes a number meaningless


@pytest.mark.parametrize("model", [nn.Sequential(smooth(), nn.Softmax(1)), lambda x: smooth()(x).softmax(1)])
def test_probabilities_are_refused_with_the_remedy(model):
    said = refused(model, split(12), "gives probabilities")
    assert said.endswith("Let it return what goes into its softmax.")


def test_log_probabilities_serve_and_are_told_of():
    model = smooth()
    notes = inspect(lambda x: model(x).log_softmax(1), split(12, model))
    assert notes == [CLEAN, "The network gives log-probabilities; they serve as logits."]


def test_nonnegative_logits_are_no_probabilities():
    model = smooth()
    assert inspect(lambda x: model(x) - model(x).amin(1, keepdim=True), split(12, model)) == [CLEAN]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("place", [0, 11])
def test_logits_that_are_not_finite_are_refused_wherever_they_come(bad, place):
    model = smooth()
    data = split(12, model)
    marked = data.x()[place]

    def broken(x: Tensor) -> Tensor:
        hit = (x == marked).flatten(1).all(1)
        return torch.where(hit[:, None], bad, model(x))

    assert "NaN or infinite logits" in refused(broken, data, "gives NaN or infinite logits .*are its weights damaged")


def test_batch_norm_in_training_mode_is_refused():
    model, data = sound()

    def training(x: Tensor) -> Tensor:  # a function that hides the network: its mode cannot be set from outside
        model.train()
        return model(x)

    refused(
        training,
        data,
        "change by up to .* with the other images in its batch: batch norm uses the statistics of the batch",
    )


def test_batch_norm_that_refuses_a_single_image_is_refused():
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
    model.requires_grad_(False)

    def training(x: Tensor) -> Tensor:
        return model.train()(x)

    data = split(12)
    refused(training, data, "takes no batch of 1, as evaluation needs it to|with the other images in its batch")
    refused(training, data.take(slice(1)), "cannot take images of shape")


@pytest.mark.parametrize(
    "mixing",
    [
        lambda z: z - z.mean(0, keepdim=True),
        lambda z: z + z.cumsum(0),
        lambda z: z + z.flip(0),
    ],
)
def test_layers_that_mix_images_are_refused_for_one_image_too(mixing):
    model = smooth()
    data = split(12, model)
    refused(lambda x: mixing(model(x)), data, "with the other images in its batch")
    refused(lambda x: mixing(model(x)), data.take(slice(1)), "with the other images in its batch")


def test_rounding_is_no_dependence_on_the_batch():
    model = smooth()
    data = split(12, model)
    assert inspect(lambda x: model(x) * (1 + 1e-6 * len(x)), data) == [CLEAN]
    assert inspect(lambda x: model(x) + 1000, data) == [CLEAN]


def test_a_random_network_is_told_of_and_not_taken_for_one_that_mixes_images():
    model, calls = smooth(), iter(range(1000))

    def random(x: Tensor) -> Tensor:
        return model(x + 0.2 * Noise.of_batch(len(x), next(calls)).normal(x.shape[1:]))

    notes = inspect(random, split(12, model))
    assert len(notes) == 2
    assert "gives other logits each time it sees the same images: it is random" in notes[1]


def test_a_network_that_does_not_look_is_told_of():
    notes = inspect(lambda x: torch.tensor([[3.0, 1.0, 2.0]]).expand(len(x), 3), split(12))
    assert "The network gives the same logits for every image: it does not look at them." in notes


@pytest.mark.parametrize("highest", [0, 1])
def test_images_that_were_divided_before_they_became_bytes_are_refused(highest):
    data = split(12)
    dim = replace(data, images=data.images.clamp(max=highest))
    refused(smooth(), dim, f"brightest of the pixels is {highest} of 255: the images were divided by 255")


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (3, "The network is int"),
        (smooth(classes=4), r"float32 \(2, 4\); logits \(2, 3\) are needed for 3 classes"),
        (lambda x: x, r"gives torch\.float32 \(2, 1, 4, 4\)"),
        (lambda x: x.flatten(1)[:, :3].int(), r"gives torch\.int32 \(2, 3\)"),
        (lambda x: (smooth()(x), x), "gives tuple"),
        (smooth(shape=(3, 4, 4)), r"cannot take images of shape \(1, 4, 4\)"),
        (lambda x: smooth()(x)[:2], r"For a batch of 12 the network gives torch\.float32 \(2, 3\)"),
    ],
)
def test_networks_that_do_not_fit_the_data_are_refused(model, said):
    refused(model, split(12), said)


def test_what_is_no_data_is_refused_and_so_are_numbers_below_one():
    model, data = sound()
    refused(model, data.x(), r"The data is torch\.float32")
    refused(model, data.take(slice(0)), "n is 0; it must be at least 1 image")
    for name in ("images", "batch"):
        with pytest.raises(UsageError, match=f"{name} is 0; it must be at least 1"):
            inspect(model, data, **{name: 0})
    check_network(model, data)


# the normalisation of the weights


def colours(n: int, model: nn.Module):
    x = (images(n, (3, 6, 6)) * 255).round() / 255
    return split_of(x, predicted(model, x), 4)


def trained(mean, deviation):
    """A network whose labels are right with this normalisation."""
    model = small_cnn(width=2).build(4, 3)
    model.train()
    set_normalisation(model, mean, deviation)
    for seed in range(30):
        model(images(50, (3, 6, 6), seed))
    with torch.no_grad():
        model.linear.weight.mul_(20)
        z = model.eval().features(images(200, (3, 6, 6)))
        model.linear.bias.copy_(-(z @ model.linear.weight.T).mean(0))  # all classes occur
    return model


OWN = (0.2, 0.9, 0.4), (0.1, 1.5, 0.3)


def test_the_normalisation_that_the_network_was_trained_with_is_better():
    model = trained(*OWN)
    data = colours(60, model)
    assert len(data.labels.unique()) > 1
    set_normalisation(model)
    found = normalisation(model, *OWN, data)
    assert (found.own, found.n, found.better) == (1.0, 60, True)
    assert found.none < 0.9
    assert found.none == pytest.approx(float((predicted(model, data.x()) == data.labels).double().mean()))
    assert found.summary == (
        f"Clean accuracy on 60 images is 100.0% with the weights' own normalisation and {found.none:.1%} without; better is "
        "with it."
    )
    assert model.mean.flatten().tolist() == [0.0]


def test_a_normalisation_that_the_network_was_trained_without_is_worse():
    model = trained((), ())
    data = colours(60, model)
    set_normalisation(model, *OWN)
    found = normalisation(model, *OWN, data, batch=7)
    assert (found.none, found.better) == (1.0, False)
    assert found.own < 0.9
    assert found.summary.endswith("and 100.0% without; better is without it.")
    assert model.mean.flatten().tolist() == pytest.approx(OWN[0])


def test_where_it_makes_no_difference_the_weights_own_stays():
    model = trained((), ())
    found = normalisation(model, (0.0,), (1.0,), colours(20, model))
    assert (found.own, found.none, found.better) == (1.0, 1.0, True)
    assert found.summary.endswith("without; neither is better.")


def test_a_normalisation_that_does_not_fit_is_refused_and_changes_nothing():
    model = trained((), ())
    data = colours(5, model)
    for mean, deviation, said in [
        ((0.5, 0.5), (1.0, 1.0), "mean is"),
        ((0.5,), (0.0,), "above 0"),
        ((0.5,) * 3, (1.0,), "of one length"),
    ]:
        with pytest.raises(UsageError, match=said):
            normalisation(model, mean, deviation, data)
    with pytest.raises(UsageError, match="n is 0"):
        normalisation(model, *OWN, data.take(slice(0)))
    assert model.mean.flatten().tolist() == [0.0]
