"""One's own network: wrapped, built by name, trained, loaded, and never run because a file names it."""

import functools
import sys

import pytest
import torch
from torch import nn

import hardy
from hardy.attacks import PGD
from hardy.describe import describe, rebuild
from hardy.errors import UsageError
from hardy.evaluation.checks import check_network
from hardy.models import OwnNetwork, own, wrap
from hardy.models import own as own_function
from hardy.models.checkpoints import load
from hardy.models.own import arguments
from hardy.randomness import Noise
from hardy.training import loop
from hardy.training.loop import train
from hardy.training.progress import Watch
from training.fakes import Stopped, same, tiny, weights


class Plain(nn.Module):
    """A network as people write them, random numbers from torch's global generator included."""

    def __init__(self, num_classes: int = 4) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(6, num_classes)

    def forward(self, x):
        return self.fc(self.pool(self.body(x)).flatten(1))


def images(n=3):
    return Noise.of_batch(n).uniform((1, 8, 8))


@pytest.fixture(autouse=True)
def _nothing_admitted(monkeypatch):
    monkeypatch.setattr(sys.modules["hardy.models.own"], "_ADMITTED", {})


def test_a_wrapped_module_gives_its_own_logits_of_normalised_pixels():
    module = Plain().eval()
    model = wrap(module, mean=(0.4,), deviation=(0.2,))
    assert torch.equal(model(images()), module((images() - 0.4) / 0.2))
    assert torch.equal(wrap(module)(images()), module(images()))


def test_features_and_maps_are_those_of_the_last_linear_layer_and_the_last_layer_that_gives_maps():
    module = Plain().eval()
    model = wrap(module)
    assert (model.head_layer, model.maps_layer(images())) == ("fc", "body")
    maps = model.maps(images())
    assert torch.equal(maps, module.body(images()))
    assert torch.equal(model.features(images()), maps.mean((2, 3)))
    assert torch.equal(model.head(model.features(images())), model(images()))
    assert not module.body._forward_hooks
    assert not module.fc._forward_hooks


def test_layers_can_be_named():
    model = wrap(Plain(), maps_layer="body.0")
    assert model.maps(images()).shape == (3, 6, 8, 8)
    with pytest.raises(UsageError, match=r"no layer named 'body.7'; did you mean body"):
        wrap(Plain(), maps_layer="body.7")


def test_features_have_a_gradient():
    x = images().requires_grad_()
    wrap(Plain()).features(x).sum().backward()
    assert x.grad.abs().sum() > 0


def test_a_network_without_a_linear_layer_or_maps_says_what_to_name():
    flat = wrap(nn.Sequential(nn.Flatten(), nn.Tanh()))
    with pytest.raises(UsageError, match="name one as head_layer"):
        flat.features(images())
    with pytest.raises(UsageError, match="name one as maps_layer"):
        flat.maps(images())


def test_a_wrapped_module_can_be_attacked_and_its_logits_are_float32_under_autocast():
    model = wrap(Plain()).eval()
    x_adv = PGD(steps=2)(model, images(), torch.tensor([0, 1, 2]))
    assert (x_adv - images()).abs().max() <= 8 / 255
    model.autocast = torch.bfloat16
    assert model(images()).dtype == torch.float32
    assert not torch.equal(model(images()), model.module(images()))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((lambda x: x,), "wrap was given a function; it must be"),
        ((Plain(), (0.5, 0.5), (1.0,)), "must be of one length"),
        ((Plain(), (0.5,), (0.0,)), "deviation above 0"),
        ((Plain(), 0.5, 0.2), "mean is 0.5; it must be a tuple"),
        ((Plain(), (0.5,), (torch.nan,)), r"deviation is \(nan,\); it must be a tuple, each item a finite number"),
    ],
)
def test_what_cannot_be_wrapped_is_refused(given, said):
    with pytest.raises(UsageError, match=said):
        wrap(*given)


def test_a_look_for_maps_leaves_the_batch_norm_statistics_of_a_network_in_training_alone():
    module = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3)).train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    assert wrap(module).maps_layer(images()) == "1"
    assert same(module.state_dict(), before)
    assert module[1].training


def test_a_layer_that_is_not_called_is_named():
    module = Plain()
    module.auxiliary = nn.Linear(6, 4)
    with pytest.raises(UsageError, match="does not call its layer 'auxiliary'; name another as head_layer"):
        wrap(module).features(images())
    with pytest.raises(UsageError, match="does not call its layer 'auxiliary'; name another as maps_layer"):
        wrap(module, maps_layer="auxiliary").maps(images())
    assert wrap(module, head_layer="fc").features(images()).shape == (3, 6)


def test_features_may_enter_a_layer_by_name():
    module = Plain()
    module.forward = lambda x: module.fc(input=module.pool(module.body(x)).flatten(1))
    assert wrap(module).features(images()).shape == (3, 6)


def test_the_normalisation_is_where_the_module_is():
    model = wrap(Plain().to("meta"))
    assert model.mean.device == model.deviation.device == torch.device("meta")


# by name


@pytest.mark.parametrize(
    ("builder", "written"),
    [
        (Plain, "num_classes=7"),
        (lambda classes: Plain(num_classes=classes), "classes=7"),
        (lambda n: Plain(num_classes=n), "7"),
        (lambda *, num_classes, other=3: Plain(num_classes=num_classes), "num_classes=7"),
        (lambda weights=None: Plain(7) if weights is None else None, ""),
    ],
)
def test_a_builder_is_called_with_the_number_of_classes_where_it_takes_it(builder, written):
    model = own(builder).build(7, 1)
    assert arguments(own(builder).source, 7) == written
    assert model(images()).shape == (3, 7)
    assert model.training


def test_the_seed_determines_a_network_that_draws_from_torchs_generator_and_leaves_that_alone():
    before = torch.get_rng_state()
    one, other, third = (own(Plain).build(4, 1, Noise.of_batch(1, seed)).state_dict() for seed in (0, 0, 1))
    assert same(one, other)
    assert not same(one, third)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_file_that_names_a_function_gets_no_code_run(tmp_path, monkeypatch):
    (tmp_path / "hostile.py").write_text("import pathlib; pathlib.Path('ran').touch()\ndef build(): ...")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    settings = rebuild({"type": "OwnNetwork", "source": "hostile:build"}, OwnNetwork)
    with pytest.raises(
        UsageError, match=r"built by hostile:build, and no code runs because a file names it: say --model"
    ):
        settings.build(4)
    assert "hostile" not in sys.modules
    assert not (tmp_path / "ran").exists()


def test_a_run_of_ones_own_network_trains_is_described_and_loads_where_it_was_admitted(tmp_path, monkeypatch):
    run = tiny(model=own(Plain, mean=(0.5,), deviation=(0.25,)))
    assert rebuild(describe(run), type(run)) == run
    folder = train(run, tmp_path / "run", device="cpu")
    model = load(folder)
    assert model.mean.item() == 0.5
    check_network(model, run.data.load()[1])
    assert not same(model.state_dict(), run.model.build(4, 1).state_dict())
    monkeypatch.setattr(sys.modules["hardy.models.own"], "_ADMITTED", {})
    with pytest.raises(UsageError, match=r"names a network that cannot be built: .*Plain"):
        load(folder)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nocolon", "names no function; write module:function"),
        (":build", "names no function"),
        ("no_such_module:build", "no_such_module cannot be imported: ModuleNotFoundError"),
        ("mine:buld", "no function in mine named 'buld'; did you mean build"),
        ("mine:number", "The builder is an int; it must be the function or class"),
        ("broken:build", "broken cannot be imported: ZeroDivisionError"),
    ],
)
def test_a_name_that_leads_nowhere_is_refused(tmp_path, monkeypatch, name, said):
    (tmp_path / "mine.py").write_text("number = 3\ndef build(): ...")
    (tmp_path / "broken.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError, match=said):
        own_function(name)


@pytest.mark.parametrize(
    ("builder", "said"),
    [
        (lambda: 3, "made an int; it must make a torch.nn.Module"),
        (lambda: 1 / 0, "could not build a network: ZeroDivisionError"),
    ],
)
def test_a_builder_that_builds_nothing_is_refused(builder, said):
    with pytest.raises(UsageError, match=said):
        own(builder).build(4)


def test_an_instance_is_no_builder():
    with pytest.raises(UsageError, match="The builder is a Plain; it must be the function or class"):
        own(Plain())


def test_two_functions_that_share_a_name_are_not_taken_for_each_other():
    def made(width):
        return lambda classes: Plain(width)

    first = made(5)
    assert own(first) == own(first)
    with pytest.raises(UsageError, match=r"Another network is named .*<lambda> already; write a function"):
        own(made(6))
    assert own(first).build(4, 1).module.fc.out_features == 5


def test_a_builder_without_a_name_is_refused_but_where_a_name_leads_to_it(tmp_path, monkeypatch):
    builder = functools.partial(Plain, 5)
    with pytest.raises(UsageError, match="The builder is a partial, which has no name of its own"):
        own(builder)
    (tmp_path / "mine_too.py").write_text("import functools, torch\nbuild = functools.partial(torch.nn.Linear, 3)")
    monkeypatch.syspath_prepend(tmp_path)
    assert own("mine_too:build").build(4).module.weight.shape == (4, 3)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_normalisation_of_another_number_of_channels_is_refused(channels):
    assert own(Plain, (0.5,), (0.2,)).build(4, channels).mean.item() == 0.5
    with pytest.raises(UsageError, match=rf"mean is \(0.5, 0.5\); .* or for each of the {channels}"):
        own(Plain, (0.5, 0.5), (0.2, 0.2)).build(4, channels)


class Dropping(Plain):
    """Draws random numbers at every step."""

    def forward(self, x):
        return self.fc(nn.functional.dropout(self.pool(self.body(x)).flatten(1), 0.5, self.training))


def test_a_network_that_drops_out_trains_the_same_whatever_interrupts_it(tmp_path, monkeypatch):
    run, before = tiny(model=own(Dropping)), torch.get_rng_state()
    monkeypatch.setattr(loop, "SAVE_EVERY", 0.0)

    def stop(made, total):
        if made == 5:
            raise Stopped

    one = train(run, tmp_path / "one", device="cpu")
    with pytest.raises(Stopped):
        train(run, tmp_path / "other", device="cpu", watch=Watch(step=stop))
    other = train(run, tmp_path / "other", device="cpu")
    assert (one / "metrics.jsonl").read_bytes() == (other / "metrics.jsonl").read_bytes()
    assert same(weights(one / "last.safetensors"), weights(other / "last.safetensors"))
    assert torch.equal(torch.get_rng_state(), before)
    plain = train(tiny(model=own(Plain)), tmp_path / "plain", device="cpu")
    assert not same(weights(plain / "last.safetensors"), weights(one / "last.safetensors"))


def test_a_network_of_another_number_of_classes_is_refused_before_a_run_begins(tmp_path):
    with pytest.raises(UsageError, match=r"gives torch\.float32 \(2, 9\); logits \(2, 4\) are needed"):
        train(tiny(model=own(lambda: Plain(9))), tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


def test_the_module_is_there_for_those_who_want_its_weights_back():
    assert isinstance(own(Plain).build(4, 1).module, Plain)
    assert hardy.models.wrap is wrap
