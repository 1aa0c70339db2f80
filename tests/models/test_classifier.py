"""Classifier, Architecture, crafting and initialisation; and what every network of the library must do."""

import copy
import json

import pytest
import torch
from torch import Tensor, nn

from hardy.describe import describe, rebuild, settings
from hardy.errors import UsageError
from hardy.models import (
    Architecture,
    Classifier,
    crafting,
    frozen,
    initialise,
    parameter_count,
    preact_resnet_18,
    resnet_18,
    small_cnn,
)
from hardy.models.classifier import set_normalisation
from hardy.models.madry_resnet import MadryResNet
from hardy.models.wide_resnet import WideResNet
from hardy.randomness import Noise

# one of each kind, of the least size that has every sort of layer
NETWORKS = [
    WideResNet(depth=16, widen=1),
    MadryResNet(units=2, widen=1),
    resnet_18(width=4),
    preact_resnet_18(width=4),
    small_cnn(width=4),
]
every_network = pytest.mark.parametrize("network", NETWORKS, ids=lambda n: type(n).__name__)


def images(n: int = 4, channels: int = 3, size: int = 16) -> Tensor:
    return Noise.of_batch(n, purpose="images").uniform((channels, size, size))


def states(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# what every network must do


@every_network
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [32, 33, 96])
def test_any_image_size_and_number_of_channels_gives_finite_logits(network, channels, size):
    model = network.build(7, channels).eval()
    with torch.no_grad():
        logits = model(images(2, channels, size))
    assert logits.shape == (2, 7)
    assert logits.dtype == torch.float32
    assert logits.isfinite().all()


@every_network
def test_logits_are_the_head_of_the_mean_of_the_maps(network):
    model, x = network.build(5).eval(), images()
    maps = model.maps(x)
    torch.testing.assert_close(model.features(x), maps.sum((2, 3)) / (maps.shape[2] * maps.shape[3]))
    assert torch.equal(model(x), model.head(model.features(x)))


@every_network
def test_maps_are_taken_after_the_activation(network):
    maps = network.build(5).maps(images())
    slope = 0.1 if isinstance(network, MadryResNet) else 0.0
    below = -maps[maps < 0].sum()
    assert maps.max() > 0
    # batch norm centres the maps' input, so what lies below 0 weighs as much as what lies above, times the slope;
    # a ResNet's last sum is not centred
    if slope:
        torch.testing.assert_close(below, slope * maps[maps > 0].sum(), rtol=1e-3, atol=0)
    else:
        assert below == 0


@every_network
def test_backward_reaches_every_parameter_and_the_image(network):
    model, x = network.build(5), images().requires_grad_()
    nn.functional.cross_entropy(model(x), torch.tensor([0, 1, 2, 3])).backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []
    assert x.grad.abs().sum() > 0


@every_network
def test_the_image_is_not_changed_by_layers_that_work_in_place(network):
    x = images()
    network.build(5)(x)
    assert torch.equal(x, images())


@every_network
def test_settings_survive_json(network):
    text = json.dumps(describe(network))
    assert rebuild(json.loads(text), Architecture) == network


@every_network
def test_settings_with_a_normalisation_survive_json(network):
    normalised = type(network)(mean=(0.5, 0.25, 0.125), deviation=(1.0, 2.0, 4.0))
    assert rebuild(json.loads(json.dumps(describe(normalised))), Architecture) == normalised


@every_network
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(network):
    first = network.build(5, 3, Noise.of_batch(1, seed=1)).state_dict()
    again = network.build(5, 3, Noise.of_batch(8, seed=1)).state_dict()
    other = network.build(5, 3, Noise.of_batch(1, seed=2)).state_dict()
    assert same(first, again)
    drawn = [name for name, value in first.items() if name.endswith("weight") and value.std() > 0]
    assert len(drawn) > 4
    assert not any(torch.equal(first[name], other[name]) for name in drawn)


@every_network
def test_building_leaves_torchs_global_generator_alone_and_does_not_depend_on_it(network):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = network.build(5).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert same(first, network.build(5).state_dict())


@every_network
def test_a_new_network_has_fresh_statistics_trains_and_is_on_the_cpu(network):
    model = network.build(5)
    for layer in model.modules():
        assert layer.training
        if isinstance(layer, nn.BatchNorm2d):
            assert torch.equal(layer.running_mean, torch.zeros_like(layer.running_mean))
            assert torch.equal(layer.running_var, torch.ones_like(layer.running_var))
            assert torch.equal(layer.weight, torch.ones_like(layer.weight))
            assert torch.equal(layer.bias, torch.zeros_like(layer.bias))
            assert layer.num_batches_tracked == 0
    for value in [*model.parameters(), *model.buffers()]:
        assert value.device.type == "cpu"
    assert all(p.requires_grad for p in model.parameters())


@every_network
def test_convolutions_start_with_variance_two_over_outgoing_connections(network):
    ratios = []
    for layer in network.build(5).modules():
        if isinstance(layer, nn.Conv2d) and layer.weight.numel() >= 500:
            k, _ = layer.kernel_size
            ratios.append(layer.weight.var() * k * k * layer.out_channels / 2)
            assert abs(ratios[-1] - 1) < 5 * (2 / layer.weight.numel()) ** 0.5
    assert ratios


# normalisation


@every_network
def test_normalisation_is_the_first_layer(network):
    mean, deviation = (0.5, 0.25, 0.125), (0.5, 2.0, 0.25)
    plain = network.build(5).eval()
    normalising = type(network)(**{**vars(network), "mean": mean, "deviation": deviation}).build(5).eval()
    x = images()
    shifted = torch.stack([(x[:, c] - mean[c]) / deviation[c] for c in range(3)], 1)
    torch.testing.assert_close(normalising(x), plain(shifted))
    assert not torch.allclose(normalising(x), plain(x))


def test_normalisation_is_not_saved_with_the_weights():
    saved = small_cnn(4, mean=(0.5,), deviation=(0.5,)).build(5, 1).state_dict()
    assert not {"mean", "deviation"} & saved.keys()


@every_network
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mean": (0.5,)}, r"deviation is \(\); it must be as long as mean, which has length 1\."),
        ({"mean": (0.5,), "deviation": (0.0,)}, r"deviation is \(0\.0,\); it must be above 0 in every channel\."),
    ],
)
def test_a_normalisation_that_cannot_be_is_refused(network, values, message):
    with pytest.raises(UsageError, match=message):
        type(network)(**values)


def test_a_normalisation_for_other_channels_is_refused_at_build():
    three = small_cnn(mean=(0.5, 0.5, 0.5), deviation=(0.5, 0.5, 0.5))
    assert three.build(10, 3)(images()).shape == (4, 10)
    with pytest.raises(UsageError, match=r"mean is \(0\.5, 0\.5, 0\.5\); it must be empty or have 1 numbers"):
        three.build(10, 1)


def test_fewer_than_two_classes_or_one_channel_are_refused():
    with pytest.raises(UsageError, match=r"classes is 1; it must be at least 2\."):
        small_cnn().build(1)
    with pytest.raises(UsageError, match=r"channels is 0; it must be at least 1\."):
        small_cnn().build(10, 0)


# initialisation


@pytest.mark.parametrize("layer", [lambda: nn.Linear(4, 4), lambda: nn.Conv2d(4, 4, 3)], ids=["linear", "convolution"])
def test_a_parameters_first_values_depend_on_its_name_and_not_on_the_order_of_layers(layer):
    one, other = nn.ModuleDict({"a": layer(), "b": layer()}), nn.ModuleDict()
    other["b"], other["a"] = layer(), layer()
    for model in (one, other):
        initialise(model, Noise.of_batch(1))
    assert list(one.state_dict()) != list(other.state_dict())
    assert same(one.state_dict(), other.state_dict())
    assert not torch.equal(one["a"].weight, one["b"].weight)


def test_linear_layers_start_uniform_within_one_over_root_inputs():
    layer = nn.Linear(100, 400)
    initialise(layer, Noise.of_batch(1))
    for values in (layer.weight, layer.bias):
        assert 0.095 < values.abs().max() <= 0.1
    assert abs(layer.weight.std() - 0.1 / 3**0.5) < 1e-3


def test_a_layer_without_a_rule_is_named_rather_than_left_as_the_memory_happened_to_be():
    with pytest.raises(TypeError, match=r"LayerNorm has weight, whose first values have no rule\."):
        initialise(nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3)), Noise.of_batch(1))


def test_a_buffer_without_a_rule_is_named_too():
    layer = nn.Identity()
    layer.register_buffer("scale", torch.ones(1))
    with pytest.raises(TypeError, match=r"Identity has scale, whose first values have no rule\."):
        initialise(layer, Noise.of_batch(1))


class OwnStartModule(Classifier):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(3, classes)

    def initialise(self, noise: Noise) -> None:
        initialise(self, noise)
        self.linear.bias.data.fill_(7)

    def trunk(self, x: Tensor) -> Tensor:
        return x

    def head(self, z: Tensor) -> Tensor:
        return self.linear(z)


@settings
class OwnStart(Architecture):
    def empty(self, classes: int, channels: int) -> OwnStartModule:
        return OwnStartModule(classes)


def test_a_network_may_have_its_own_first_values():
    assert torch.equal(OwnStart().build(2).linear.bias, torch.full((2,), 7.0))


def test_parameters_are_counted():
    assert parameter_count(nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3))) == 2 * 3 * 9 + 3 + 3 + 3


# precision


@every_network
def test_autocast_reaches_the_trunk_only_and_float32_comes_out(network):
    model, x = network.build(5).eval(), images()
    exact = model(x).detach()
    model.autocast = torch.bfloat16
    seen: dict[str, torch.dtype] = {}
    linear = next(layer for layer in model.modules() if isinstance(layer, nn.Linear))
    convolution = next(layer for layer in model.modules() if isinstance(layer, nn.Conv2d))
    convolution.register_forward_hook(lambda m, given, out: seen.update(convolution=out.dtype))
    linear.register_forward_hook(lambda m, given, out: seen.update(given=given[0].dtype, out=out.dtype))
    logits = model(x).detach()
    assert seen == {"convolution": torch.bfloat16, "given": torch.float32, "out": torch.float32}
    assert model.maps(x).dtype == model.features(x).dtype == logits.dtype == torch.float32
    assert not torch.equal(logits, exact)
    torch.testing.assert_close(logits, exact, rtol=0.1, atol=0.1 * float(exact.abs().max()))


# crafting


def test_crafting_in_eval_mode_leaves_running_statistics_bit_identical():
    model = small_cnn(4).build(5)
    model(images())
    before = states(model)
    with crafting(model):
        assert not any(layer.training for layer in model.modules())
        x = images().requires_grad_()
        torch.autograd.grad(model(x).sum(), x)
    assert same(states(model), before)


def test_crafting_in_train_mode_counts_every_forward_pass():
    model, k = small_cnn(4).build(5), 7
    before = states(model)
    with crafting(model, "train"):
        for _ in range(k):
            model(images())
    counted = [value for name, value in model.state_dict().items() if name.endswith("num_batches_tracked")]
    assert counted
    assert all(value == k for value in counted)
    assert not torch.equal(model.layers[1].running_mean, before["layers.1.running_mean"])


def test_crafting_in_train_mode_normalises_with_the_batch_also_where_the_model_was_in_eval_mode():
    model = small_cnn(4).build(5)
    expected = model(images())
    model.eval()
    with crafting(model, "train"):
        given = model(images())
    assert torch.equal(given, expected)
    assert not model.training


def test_crafting_in_batch_mode_normalises_with_the_batch_and_leaves_statistics_and_counters_bit_identical():
    model = small_cnn(4).build(5)
    model(images())
    before, buffers = states(model), list(model.buffers())
    other, x = copy.deepcopy(model), images(6)[2:] ** 2
    for training in (True, False):
        model.train(training)
        with crafting(model, "batch"):
            assert all(layer.training for layer in model.modules())
            at = x.clone().requires_grad_()
            first = model(at)
            torch.autograd.grad(first.sum(), at)
            assert torch.equal(model(x), first)  # though the running ones have moved
        assert all(layer.training == training for layer in model.modules())
        assert torch.equal(first, other.train()(x))
        assert not torch.allclose(first, other.eval()(x), atol=1e-3)
        assert same(states(model), before)
    counters = [name for name in before if name.endswith("num_batches_tracked")]
    assert [int(before[name]) for name in counters] == [1, 1, 1, 1]
    assert all(now is then for now, then in zip(model.buffers(), buffers, strict=True))


def test_crafting_in_batch_mode_puts_the_statistics_back_after_an_exception_too():
    model = small_cnn(4).build(5)
    before = states(model)

    def fail() -> None:
        with crafting(model, "batch"):
            model(images())
            assert not same(states(model), before)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert same(states(model), before)


def test_after_crafting_in_batch_mode_training_goes_on_as_if_nothing_had_been():
    model, x = small_cnn(4).build(5), images()
    other = copy.deepcopy(model)
    with crafting(model, "batch"):
        model(images(6))
    for one in (model, other):
        (one(x).square().sum() + one(x**2).square().sum()).backward()
    assert same(states(model), states(other))
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(a.grad, b.grad)


@pytest.mark.parametrize("mode", ["eval", "train", "batch"])
def test_modes_and_gradients_are_restored_as_they_were_even_after_an_exception(mode):
    model = small_cnn(4).build(5)
    model.layers[1].eval()
    model.linear.bias.requires_grad_(False)
    modes = [layer.training for layer in model.modules()]
    wanted = [p.requires_grad for p in model.parameters()]
    inside: list[bool] = []

    def fail() -> None:
        with crafting(model, mode):
            inside.extend(p.requires_grad for p in model.parameters())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert inside == [False] * len(wanted)
    assert [layer.training for layer in model.modules()] == modes
    assert [p.requires_grad for p in model.parameters()] == wanted
    assert set(modes) == set(wanted) == {True, False}


def test_frozen_gives_image_gradients_and_none_to_parameters():
    model, x = small_cnn(4).build(5), images().requires_grad_()
    with frozen(model):
        model(x).sum().backward()
        assert not model.training
    assert model.training
    assert x.grad.abs().sum() > 0
    assert all(p.grad is None for p in model.parameters())


def test_of_a_function_that_is_no_module_nothing_is_known_and_nothing_changed():
    model = small_cnn(4).build(5)
    with frozen(model.features):
        assert model.training


def test_inference_mode_is_off_inside_and_gradients_are_as_the_caller_left_them():
    model, x = small_cnn(4).build(5), images()
    with torch.inference_mode():
        with crafting(model):
            at = x.clone().requires_grad_()
            assert torch.autograd.grad(model(at).sum(), at)[0].abs().sum() > 0
        assert torch.is_inference_mode_enabled()
    with torch.no_grad(), crafting(model):
        assert not torch.is_grad_enabled()


def test_a_network_of_inference_tensors_is_refused_and_left_as_it_was():
    with torch.inference_mode():
        model = nn.Sequential(nn.BatchNorm2d(3, affine=False))
    with pytest.raises(UsageError, match="made in torch's inference mode"), crafting(model):
        pass
    assert model.training


# what is going on outside


@every_network
def test_neither_inference_mode_nor_the_default_type_changes_the_network(network):
    expected, x = network.build(5), images()
    with torch.inference_mode():
        made = network.build(5)
    assert same(states(made), states(expected))
    made.eval()(x).sum().backward()
    torch.set_default_dtype(torch.float64)
    try:
        made = network.build(5)
    finally:
        torch.set_default_dtype(torch.float32)
    assert same(states(made), states(expected))
    assert all(v.dtype == torch.float32 for v in made.state_dict().values() if v.is_floating_point())


@pytest.mark.parametrize(
    ("width", "classes"), [(10**8, 5), (10**12, 5), (2**62, 5), (4, 2**62), (4, 10**30), (4, 4.0), (4, True)]
)
def test_sizes_that_no_memory_has_room_for_are_refused_in_one_line(width, classes):
    with pytest.raises(UsageError) as error:
        small_cnn(width).build(classes)
    assert "\n" not in str(error.value)


def test_an_outline_takes_no_memory():
    outline = small_cnn(10**6).outline(5, 3)
    assert parameter_count(outline) > 10**12
    assert {value.device.type for value in outline.state_dict().values()} == {"meta"}


# setting a normalisation


def test_a_normalisation_can_be_set_and_taken_away():
    model, x = small_cnn(width=4).build(4, 3).eval(), images()
    mean, deviation = (0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616)
    normalised = (x - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(deviation).view(1, 3, 1, 1)
    with torch.no_grad():
        plain, expected = model(x), model(normalised)
        set_normalisation(model, mean, deviation)
        assert torch.equal(model(x), expected)
        set_normalisation(model)
        assert torch.equal(model(x), plain)
    for wrong in [((0.5,), ()), ((0.5,), (0.0,)), ((0.5,), (float("nan"),))]:
        with pytest.raises(UsageError, match="of one length, and deviation above 0"):
            set_normalisation(model, *wrong)
