"""Weights files of other projects: read in the layouts in which they are published, or refused with a sentence; never run."""

import argparse
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from hardy.errors import UsageError
from hardy.models import Architecture, WideResNet, own, preact_resnet_18, resnet_18, small_cnn, w40_2
from hardy.models.checkpoints import save_weights
from hardy.models.foreign import load
from hardy.models.foreign_files import is_foreign, read
from hardy.randomness import Noise

PREACT, RESNET, WIDE = preact_resnet_18(width=2), resnet_18(width=2), WideResNet(10, 1)
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616)
X = Noise.of_batch(3, purpose="images").uniform((3, 8, 8))


class Marker:
    """An object that, unpickled without care, leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


class Recorder:
    """A harmless object of a project's own."""


def network(architecture: Architecture = PREACT, classes: int = 4):
    model = architecture.build(classes, 3, Noise.of_batch(1, 5))
    model.train()(X)  # other statistics than a new network's
    return model.eval()


def state(architecture: Architecture = PREACT, classes: int = 4) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network(architecture, classes).state_dict().items()}


def under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}{name}": value for name, value in tensors.items()}


def renamed(tensors: dict[str, Tensor], *pairs: tuple[str, str]) -> dict[str, Tensor]:
    for old, new in pairs:
        assert any(old in name for name in tensors)
        tensors = {name.replace(old, new): value for name, value in tensors.items()}
    return tensors


def written(tmp_path: Path, content: object, name: str = "w.pt") -> Path:
    torch.save(content, tmp_path / name)
    return tmp_path / name


def same(found, architecture: Architecture = PREACT, classes: int = 4, mean=(0.0,), std=(1.0,)) -> bool:
    """Whether the network gives what ours gives for images that are normalised by hand."""
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (mean, std))
    with torch.no_grad():
        return torch.equal(found.model(X), network(architecture, classes)((X - mean) / std))


def refused(path: Path, said: str, architecture: Architecture = PREACT, **options) -> str:
    with pytest.raises(UsageError, match=said) as error:
        load(path, architecture, **options)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert type(error.value) is UsageError
    return str(error.value)


# what a file keeps the network under


@pytest.mark.parametrize("name", ["w.pt", "w.pth", "w.tar", "w"])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_bare_state_is_loaded_whatever_its_file_is_called(tmp_path, name, zipped):
    torch.save(state(), tmp_path / name, _use_new_zipfile_serialization=zipped)
    found = load(str(tmp_path / name), PREACT)
    assert same(found)
    assert not found.model.training
    assert (found.classes, found.channels, found.mean, found.deviation, found.notes) == (4, 3, None, None, ())
    assert found.architecture == PREACT


@pytest.mark.parametrize("name", ["w.safetensors", "w.bin"])
def test_safetensors_of_others_are_loaded(tmp_path, name):
    save_file(under("module.", state()), tmp_path / name, {"format": "pt"})
    assert same(load(tmp_path / name, PREACT))


@pytest.mark.parametrize(
    ("content", "key"),
    [
        (lambda s: {"state_dict": s, "test_robust_acc": 0.5, "test_acc": 0.8}, "state_dict"),
        (lambda s: {"epoch": 3, "optimizer_state_dict": {"state": {0: X}}, "model_state_dict": s}, "model_state_dict"),
        (lambda s: {"model": under("module.", s), "optimizer": {"state": {}, "param_groups": []}}, "model"),
        (lambda s: {"net": s, "acc": 94.5, "epoch": 7}, "net"),
        (lambda s: {"rmodel": under("model.", s), "record_info": {}}, "rmodel"),
        (lambda s: {"model": {"state_dict": s}}, "model"),
        (lambda s: {"ema": {"module": s, "decay": 0.995}, "epoch": 1}, "ema"),
    ],
)  # fmt: skip
def test_the_network_is_found_under_the_keys_that_projects_use(tmp_path, content, key):
    found = load(written(tmp_path, content(state())), PREACT)
    assert same(found)
    assert f"the file's entry '{key}'" in found.notes[0]


@pytest.mark.parametrize(
    ("averaged", "plain"),
    [("model_state_dict", "unaveraged_model_state_dict"), ("ema_state_dict", "state_dict"), ("model_ema", "model")],
)
def test_averaged_weights_are_taken_before_others_unless_these_are_asked_for(tmp_path, averaged, plain):
    other = {name: value * 2 for name, value in state().items()}
    path = written(tmp_path, {plain: other, averaged: state()})
    found = load(path, PREACT)
    assert same(found)
    assert found.notes == (f"The weights are the file's entry '{averaged}'; passed over is {plain}.",)
    assert torch.equal(load(read(path, plain), PREACT).model.linear.bias, other["linear.bias"])
    said = f"no entry of .* named 'modle'; .*(did you mean|known are) .*{plain}|{averaged}"
    with pytest.raises(UsageError, match=said):
        read(path, "modle")


def test_what_is_no_tensor_in_a_bare_state_is_passed_over_and_told(tmp_path):
    found = load(written(tmp_path, {**state(), "epoch": 3}), PREACT)
    assert same(found)
    assert found.notes == ("What is no tensor was passed over: epoch.",)


# prefixes and normalisation


@pytest.mark.parametrize(
    "prefix",
    ["module.", "model.", "module.model.", "model.module.", "_orig_mod.", "0.", "1.", "module.1.", "basic_net."],
)
def test_prefixes_are_taken_off(tmp_path, prefix):
    found = load(written(tmp_path, under(prefix, state())), PREACT)
    assert same(found)
    assert found.notes == (f"The prefix {prefix!r} was taken off the names.",)


@pytest.mark.parametrize("shape", [(3,), (1, 3, 1, 1), (3, 1, 1)])
@pytest.mark.parametrize(
    ("mean", "std", "prefix"),
    [
        ("mu", "sigma", ""),
        ("mean", "std", ""),
        ("mean", "std", "model."),
        ("module.0.mean", "module.0.std", "module.1."),
        ("0.mu", "0.sigma", "1."),
        ("normalize.mean", "normalize.std", "model."),
        ("model.mean", "model.std", "model."),
        ("normalizer.new_mean", "normalizer.new_std", "model."),
        ("module.normalizer.new_mean", "module.normalizer.new_std", "module.model."),
    ],
)
def test_the_files_normalisation_is_found_and_used(tmp_path, mean, std, prefix, shape):
    content = {
        mean: torch.tensor(MEAN).view(shape),
        std: torch.tensor(STD).view(shape),
        **under(prefix, state()),
    }
    found = load(written(tmp_path, content), PREACT)
    assert found.mean == pytest.approx(MEAN)
    assert found.deviation == pytest.approx(STD)
    assert (found.architecture.mean, found.architecture.deviation) == (found.mean, found.deviation)
    assert same(found, mean=MEAN, std=STD)
    assert f"mean 0.4914 0.4822 0.4465 and deviation 0.2471 0.2435 0.2616: {mean} and {std}." in found.notes[-1]


def test_one_number_for_all_channels_is_read_as_one_for_each(tmp_path):
    found = load(written(tmp_path, {"mu": torch.tensor([0.5]), "sigma": torch.tensor(0.25), **state()}), PREACT)
    assert found.mean == (0.5,) * 3
    assert found.deviation == (0.25,) * 3


def test_a_normalisation_that_was_asked_for_stands_and_the_files_is_told(tmp_path):
    wanted = preact_resnet_18(width=2, mean=(0.5,) * 3, deviation=(0.5,) * 3)
    found = load(written(tmp_path, {"mu": torch.tensor(MEAN), "sigma": torch.tensor(STD), **state()}), wanted)
    assert found.architecture == wanted
    assert found.mean == pytest.approx(MEAN)
    assert same(found, mean=(0.5,) * 3, std=(0.5,) * 3)
    assert found.notes[-1] == "The normalisation that was asked for is taken, not the file's."


@pytest.mark.parametrize(
    ("mean", "std", "said"),
    [
        (torch.zeros(2), torch.ones(2), r"mu in .* has shape \(2,\); it must hold 3 numbers, one a channel, or one"),
        (torch.zeros(3), torch.tensor([1.0, 0.0, 1.0]), r"The deviation sigma in .* must be above 0"),
        (torch.zeros(3), torch.tensor([1.0, torch.nan, 1.0]), "sigma in .* holds NaN or infinite"),
        (torch.zeros(3, 8, 8), torch.ones(3), r"mu in .* has shape \(3, 8, 8\)"),
    ],
)
def test_a_normalisation_that_cannot_be_one_is_refused(tmp_path, mean, std, said):
    refused(written(tmp_path, {"mu": mean, "sigma": std, **state()}), said)


def test_half_a_normalisation_and_two_that_differ_are_refused(tmp_path):
    half = {"mu": torch.zeros(3), **state()}
    refused(written(tmp_path, half), r"1 is unknown \(mu\)")
    two = {"mu": torch.zeros(3), "sigma": torch.ones(3), "mean": torch.ones(3), "std": torch.ones(3), **state()}
    refused(written(tmp_path, two), "several normalisations that differ: mu and sigma; mean and std")


def test_the_second_copy_of_an_attacker_model_is_passed_over(tmp_path):
    norm = {"new_mean": torch.tensor(MEAN).view(3, 1, 1), "new_std": torch.tensor(STD).view(3, 1, 1)}
    content = {
        **under("module.normalizer.", norm),
        **under("module.model.", state()),
        **under("module.attacker.normalize.", norm),
        **under("module.attacker.model.", state()),
    }
    found = load(written(tmp_path, {"model": content, "epoch": 3}), PREACT)
    assert same(found, mean=MEAN, std=STD)
    assert any(f"{len(state()) + 2} tensors were passed over, the second copy" in note for note in found.notes)


def test_a_model_of_mair_is_loaded(tmp_path):
    content = {"n_classes": torch.tensor(4), "norm.mean": torch.tensor(MEAN), "norm.std": torch.tensor(STD)}
    found = load(written(tmp_path, {"rmodel": {**content, **under("model.", state())}}), PREACT)
    assert same(found, mean=MEAN, std=STD)


# names of layers


@pytest.mark.parametrize(
    ("architecture", "pairs"),
    [
        (PREACT, [("linear.", "fc.")]),
        (PREACT, [("linear.", "classifier."), ("shortcut.0", "downsample.0")]),
        (PREACT, [("shortcut.0", "shortcut")]),
        (RESNET, [("linear.", "fc."), ("shortcut", "downsample")]),
        (WIDE, [("fc.", "linear.")]),
        (WIDE, [("convShortcut", "shortcut")]),
        (WIDE, [("convShortcut", "shortcut.0"), ("fc.", "linear.")]),
        (WIDE, [("convShortcut", "downsample.0")]),
    ],
)
def test_other_names_of_the_same_layers_are_read_as_ours(tmp_path, architecture, pairs):
    found = load(written(tmp_path, under("module.", renamed(state(architecture), *pairs))), architecture)
    assert same(found, architecture)
    assert any("names were read as ours: " in note for note in found.notes)


@pytest.mark.parametrize("architecture", [PREACT, RESNET, WIDE, small_cnn(width=2), w40_2()])
def test_every_architecture_reads_its_own_names(tmp_path, architecture):
    assert same(load(written(tmp_path, state(architecture)), architecture), architecture)


def test_the_unused_block_of_old_trades_files_is_passed_over_by_name(tmp_path):
    tensors = state(WIDE)
    unused = {name.replace("block1", "sub_block1"): v for name, v in tensors.items() if name.startswith("block1")}
    path = written(tmp_path, under("module.", {**tensors, **unused}))
    found = load(path, WIDE)
    assert same(found, WIDE)
    passed = f"{len(unused)} tensors were passed over, a block that TRADES's first code makes and never uses: module.sub_block1."
    assert found.notes[-1].startswith(passed)
    refused(written(tmp_path, {**state(), **unused}), f"{len(unused)} are unknown")  # of no other network


def test_batch_norms_without_counters_are_whole(tmp_path):
    tensors = {name: value for name, value in state().items() if not name.endswith("num_batches_tracked")}
    found = load(written(tmp_path, tensors), PREACT)
    assert same(found)
    assert found.notes == ("17 batch norms come without num_batches_tracked, which evaluation does not need.",)


def test_the_number_of_classes_is_the_last_layers(tmp_path):
    path = written(tmp_path, renamed(state(classes=7), ("linear.", "fc.")))
    assert load(path, PREACT).classes == 7
    assert same(load(path, PREACT, 7), classes=7)
    refused(path, "The last layer of .* has 7 classes; 10 are needed", classes=10)


def test_weights_of_lower_precision_are_loaded_as_float32(tmp_path):
    half = {name: v.half() if v.is_floating_point() else v for name, v in state().items()}
    model = load(written(tmp_path, half), PREACT).model
    assert all(p.dtype == torch.float32 for p in model.parameters())
    assert torch.equal(model.linear.weight, half["linear.weight"].float())


class Plain(nn.Module):
    """A network of the user's, whose layers are called like what wraps networks."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.model = nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, num_classes))
        self.register_buffer("mean", torch.full((3, 1, 1), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x - self.mean)


@pytest.mark.parametrize("prefix", ["", "module.", "model."])
def test_the_users_own_network_is_filled_by_its_own_names(tmp_path, prefix):
    with torch.random.fork_rng(devices=[]):
        model = Plain(6)
    content = under(prefix, model.state_dict())
    found = load(written(tmp_path, {"state_dict": content}), own(Plain))
    assert found.classes == 6
    assert found.mean is None  # it is the network's own business
    assert torch.equal(found.model(X), model(X))
    del content[f"{prefix}model.0.bias"]
    refused(written(tmp_path, content), r"1 is missing \(model\.0\.bias\)", own(Plain))


# what does not fit


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s.pop("bn.weight"), r"not those of a PreActResNet18: 1 is missing \(bn\.weight\)\."),
        (lambda s: s.update(extra=torch.ones(1)), r"1 is unknown \(extra\)"),
        (lambda s: s.update({"bn.bias": torch.ones(3)}), r"1 is of another shape \(bn\.bias \(3,\) for \(16,\)\)"),
        (lambda s: s.update({"bn.bias": torch.ones(16).int()}), r"1 is of another kind \(bn\.bias torch\.int32 for"),
        (lambda s: s.update({"bn.bias": torch.ones(16).to_sparse()}), "1 is of another kind"),
        (lambda s: s.update({"bn.bias": torch.full((16,), torch.nan)}), r"hold NaN or infinite values, in bn\.bias"),
        (lambda s: s.update({"fc.bias": torch.ones(4)}), r"1 is unknown \(fc\.bias\)"),
        (lambda s: s.pop("linear.weight"), r"1 is missing \(linear\.weight\)"),
        (lambda s: s.update({"linear.weight": torch.ones(1, 16)}), "cannot be built: classes is 1"),
        (lambda s: [s.pop(n) for n in list(s) if "layer4" in n], r"are missing \(layer4\.0\.bn1\.weight, .* and \d+ more\)"),
        (lambda s: s.update({"conv1.weight": torch.ones(2, 3, 7, 7)}), r"conv1\.weight \(2, 3, 7, 7\) for \(2, 3, 3, 3\)"),
    ],
)  # fmt: skip
def test_tensors_that_do_not_fit_are_refused_by_name(tmp_path, change, said):
    tensors = state()
    change(tensors)
    refused(written(tmp_path, tensors), said)


def test_another_architecture_is_refused(tmp_path):
    refused(written(tmp_path, state(RESNET)), "not those of a WideResNet: .* missing .* unknown", WIDE)
    refused(written(tmp_path, state(RESNET)), "not those of a PreActResNet18")
    refused(written(tmp_path, state(preact_resnet_18(width=3))), "are of another shape")


def test_convolutions_with_biases_are_not_ours(tmp_path):
    tensors = {**state(WIDE), "block1.layer.0.conv1.bias": torch.zeros(16)}
    refused(written(tmp_path, tensors), r"1 is unknown \(block1\.layer\.0\.conv1\.bias\)", WIDE)


# what is no weights file, or one that could run code


@pytest.mark.parametrize("forced", [False, True])
@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("name", ["w.pt", "w.bin"])
def test_a_pickle_that_runs_code_is_refused_and_runs_none(tmp_path, monkeypatch, name, zipped, forced):
    if forced:  # what users set to get old files read does not open this door
        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    torch.save(
        {"state_dict": state(), "args": Marker(tmp_path / "ran")},
        tmp_path / name,
        _use_new_zipfile_serialization=zipped,
    )
    said = refused(tmp_path / name, r"it asks for (posix|nt|os)\.mkdir, and .* can run any code")
    assert "save the network's state_dict() alone" in said
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (argparse.Namespace(lr=0.1), r"argparse\.Namespace"),
        (np.float64(0.5), r"numpy\._core\.multiarray\.scalar|numpy\.core\.multiarray\.scalar"),
        (Recorder(), r"Recorder"),
        (nn.Linear(2, 2), r"torch\.nn\.modules\.linear\.Linear"),
    ],
)
def test_objects_of_other_kinds_are_refused_by_name(tmp_path, extra, said):
    refused(written(tmp_path, {"state_dict": state(), "more": extra}), f"it asks for .*({said})")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "truncated, damaged, or not weights"),
        (b"\x80\x02.", "truncated, damaged"),
        (b"\xff" * 200, "truncated, damaged"),
        (b"PK\x03\x04" + b"\0" * 60, "truncated, damaged"),
        (b"<!doctype html><html>", "is a web page, not the weights"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "pointer to a file in large-file storage"),
        (b"\x02" + b"\0" * 7 + b"{}", "does not fit|holds no network|is damaged"),
        (b"\x93NUMPY\x01\x00v\x00{'descr'", "truncated, damaged"),
    ],
)
def test_files_of_other_kinds_are_refused(tmp_path, content, said):
    (tmp_path / "w.pt").write_bytes(content)
    refused(tmp_path / "w.pt", said)


def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path):
    whole = written(tmp_path, state()).read_bytes()
    for end in range(0, len(whole), len(whole) // 25):
        (tmp_path / "cut.pt").write_bytes(whole[:end])
        refused(tmp_path / "cut.pt", "truncated, damaged")


@settings(max_examples=40)
@given(content=st.binary(max_size=200))
def test_any_bytes_are_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.pt"
    path.write_bytes(content)
    with pytest.raises(UsageError):
        load(path, PREACT)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            {"state": {0: {"momentum_buffer": torch.ones(2)}}, "param_groups": []},
            "state of an optimizer, not of a network",
        ),
        ({"weights": {"a": torch.ones(1)}}, "holds no network under a key that is known .*: its entries are weights"),
        ({}, "it is empty"),
        ([torch.ones(1)], "holds a list"),
        (torch.ones(1), "holds a Tensor"),
        ({"state_dict": {}}, "its entries are state_dict"),
    ],
)
def test_files_without_a_network_are_refused(tmp_path, content, said):
    refused(written(tmp_path, content), said)


def test_what_is_not_there_is_refused_and_so_are_settings_of_another_kind(tmp_path):
    refused(tmp_path / "none.pt", "There is no weights file")
    refused(tmp_path, "There is no weights file")
    with pytest.raises(UsageError, match="classes is 'ten'"):
        load(written(tmp_path, state()), PREACT, "ten")


def test_files_of_this_library_are_known_and_need_no_name(tmp_path):
    ours = tmp_path / "ours.safetensors"
    save_weights(ours, state(), PREACT, 4, 3, {})
    assert not is_foreign(ours)
    refused(ours, "was written by hardy and says itself which network it is")
    save_file(state(), tmp_path / "theirs.safetensors")
    assert is_foreign(tmp_path / "theirs.safetensors")
    assert is_foreign(written(tmp_path, state()))
    (tmp_path / "cut.safetensors").write_bytes(ours.read_bytes()[:100])
    assert not is_foreign(tmp_path / "cut.safetensors")
