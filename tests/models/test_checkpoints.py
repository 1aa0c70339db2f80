"""Weights files: loaded as they were saved, or refused with their path; nothing else, whatever they hold."""

import json
import struct

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from hardy.describe import describe
from hardy.errors import UsageError
from hardy.models import Classifier, preact_resnet_18, small_cnn
from hardy.models.checkpoints import fill, find_weights, load, read_weights, save_weights
from hardy.randomness import Noise

NETWORK = small_cnn(width=2, mean=(0.5,), deviation=(0.25,))


def network(seed: int = 0) -> Classifier:
    model = NETWORK.build(4, 1, Noise.of_batch(1, seed))
    model.train()(Noise.of_batch(3, seed).uniform((1, 8, 8)))  # other statistics than a new network's
    return model


def save(path, model: Classifier | None = None, **about) -> None:
    save_weights(path, (model or network()).state_dict(), NETWORK, 4, 1, about)


def header_of(path) -> dict:
    content = path.read_bytes()
    return json.loads(content[8 : 8 + struct.unpack("<Q", content[:8])[0]])


def tell(path, **changes) -> None:
    """Change what a weights file says of itself."""
    _, header = read_weights(path)
    tensors = load_file(path)
    save_file(tensors, path, {"format": "pt", "hardy": json.dumps({**header, **changes})})


def refused(path, said: str | None = None) -> str:
    with pytest.raises(UsageError, match=said) as error:
        load(path)
    assert str(path) in str(error.value)
    assert type(error.value) is UsageError
    return str(error.value)


# whole files


def test_a_file_gives_the_network_back_in_evaluation_mode(tmp_path):
    save(tmp_path / "w.safetensors")
    model, x = load(tmp_path / "w.safetensors"), Noise.of_batch(5).uniform((1, 8, 8))
    assert not model.training
    assert all(p.dtype == torch.float32 and p.requires_grad for p in model.parameters())
    assert torch.equal(model.mean, torch.tensor(0.5).view(1, 1, 1, 1))
    assert torch.equal(model(x), network().eval()(x))
    assert torch.equal(load(str(tmp_path / "w.safetensors"))(x), model(x))


def test_a_file_says_what_it_was_told_to(tmp_path):
    save(tmp_path / "w.safetensors", step=7, run="mine")
    tensors, about = read_weights(tmp_path / "w.safetensors")
    assert about == {"model": describe(NETWORK), "classes": 4, "channels": 1, "step": 7, "run": "mine"}
    assert all(torch.equal(tensors[name], value) for name, value in network().state_dict().items())


def test_weights_in_another_memory_layout_come_back_the_same(tmp_path):
    save(tmp_path / "w.safetensors", network().to(memory_format=torch.channels_last))
    assert torch.equal(load(tmp_path / "w.safetensors").layers[3].weight, network().layers[3].weight)


def test_weights_of_lower_precision_are_loaded_as_float32(tmp_path):
    half = {n: v.half() if v.is_floating_point() else v for n, v in network().state_dict().items()}
    save_weights(tmp_path / "w.safetensors", half, NETWORK, 4, 1, {})
    model = load(tmp_path / "w.safetensors")
    assert all(p.dtype == torch.float32 for p in model.parameters())
    assert torch.equal(model.linear.weight, half["linear.weight"].float())


def test_saving_replaces_the_file_whole_and_leaves_nothing_beside_it(tmp_path):
    save(tmp_path / "w.safetensors", network(1))
    save(tmp_path / "w.safetensors", network(2))
    assert torch.equal(load(tmp_path / "w.safetensors").linear.bias, network(2).linear.bias)
    assert [file.name for file in tmp_path.iterdir()] == ["w.safetensors"]


def test_of_a_run_the_best_weights_are_loaded_or_the_last_or_those_asked_for(tmp_path):
    save(tmp_path / "last.safetensors", network(1))
    assert torch.equal(load(tmp_path).linear.bias, network(1).linear.bias)
    assert find_weights(tmp_path) == (tmp_path / "last.safetensors", "last")
    save(tmp_path / "best.safetensors", network(2))
    assert torch.equal(load(tmp_path).linear.bias, network(2).linear.bias)
    assert torch.equal(load(tmp_path, "last").linear.bias, network(1).linear.bias)
    assert find_weights(tmp_path) == (tmp_path / "best.safetensors", "best")
    assert find_weights(tmp_path / "best.safetensors") == (tmp_path / "best.safetensors", None)


def test_a_choice_between_a_runs_weights_is_refused_for_a_file_and_for_other_words(tmp_path):
    save(tmp_path / "last.safetensors")
    for which in ("best", "last"):
        with pytest.raises(UsageError, match=f"The {which} weights were asked for, and .* is a single file"):
            load(tmp_path / "last.safetensors", which)
    with pytest.raises(UsageError, match="which is 'newest'; it must be 'best' or 'last' or None"):
        load(tmp_path, "newest")


def test_equal_networks_make_equal_files(tmp_path):
    save(tmp_path / "a.safetensors", step=1)
    save(tmp_path / "b.safetensors", network().to(memory_format=torch.channels_last), step=1)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_tensors_that_share_memory_are_saved(tmp_path):
    tensors = dict(network().state_dict())
    tensors["layers.1.bias"] = tensors["layers.1.weight"]
    tensors["layers.1.running_mean"] = torch.zeros(1).expand(2)
    save_weights(tmp_path / "w.safetensors", tensors, NETWORK, 4, 1, {})
    assert torch.equal(load(tmp_path / "w.safetensors").layers[1].bias, tensors["layers.1.weight"])


def test_what_a_file_says_of_itself_may_have_any_json_form(tmp_path):
    save(tmp_path / "w.safetensors", by_epoch={1: 0.5, 10: 0.25, 9: float("nan")}, shape=(1, 2), note="ä\u2028")
    assert read_weights(tmp_path / "w.safetensors")[1]["shape"] == [1, 2]


def test_neither_inference_mode_nor_the_default_type_changes_what_is_loaded(tmp_path):
    save(tmp_path / "w.safetensors")
    torch.set_default_dtype(torch.float64)
    try:
        with torch.inference_mode():
            model = load(tmp_path / "w.safetensors")
    finally:
        torch.set_default_dtype(torch.float32)
    assert all(p.dtype == torch.float32 for p in model.parameters())
    x = Noise.of_batch(5).uniform((1, 8, 8))
    assert torch.equal(model(x), network().eval()(x))
    model(x).sum().backward()


# missing and damaged ones


def test_weights_that_are_not_there_are_refused(tmp_path):
    refused(tmp_path / "none.safetensors", "There is no weights file")
    refused(tmp_path, "it is not the folder of a run that has saved any weights")
    save(tmp_path / "last.safetensors")
    with pytest.raises(UsageError, match=r"has no best\.safetensors; it has last weights"):
        load(tmp_path, "best")


def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path):
    save(tmp_path / "w.safetensors")
    content = (tmp_path / "w.safetensors").read_bytes()
    length = 8 + struct.unpack("<Q", content[:8])[0]
    cut = tmp_path / "cut.safetensors"
    ends = {
        0,
        1,
        7,
        8,
        9,
        length - 1,
        length,
        length + 1,
        len(content) - 1,
        *range(0, len(content), len(content) // 40),
    }
    for end in ends:
        cut.write_bytes(content[:end])
        refused(cut, "is damaged or not a safetensors file")


def test_a_file_with_bytes_behind_its_end_is_refused(tmp_path):
    save(tmp_path / "w.safetensors")
    (tmp_path / "w.safetensors").write_bytes((tmp_path / "w.safetensors").read_bytes() + b"more")
    refused(tmp_path / "w.safetensors", "is damaged")


@pytest.mark.parametrize(
    "content", [b"", b"<html>", b"PK\x03\x04" + b"\0" * 60, b"\xff" * 200, b"\x02" + b"\0" * 7 + b"{}"]
)
def test_a_file_of_another_kind_is_refused(tmp_path, content):
    (tmp_path / "w.safetensors").write_bytes(content)
    refused(tmp_path / "w.safetensors")


def test_a_pickle_is_refused_unopened(tmp_path):
    torch.save(network().state_dict(), tmp_path / "w.pt")
    refused(tmp_path / "w.pt", "is damaged or not a safetensors file")


@pytest.mark.parametrize(
    "metadata", [None, {"format": "pt"}, {"hardy": "{"}, {"hardy": "[]"}, {"hardy": "[" * 100_000}]
)
def test_safetensors_of_others_are_refused(tmp_path, metadata):
    save_file(network().state_dict(), tmp_path / "w.safetensors", metadata)
    refused(tmp_path / "w.safetensors", "does not say which network its weights belong to")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"classes": "ten"}, "cannot be built: classes is 'ten'; it must be an integer"),
        ({"classes": None}, "classes is None"),
        ({"classes": True}, "classes is True"),
        ({"classes": 4.0}, r"classes is 4\.0"),
        ({"classes": 1}, "classes is 1; it must be at least 2"),
        ({"channels": 0}, "channels is 0; it must be at least 1"),
        ({"channels": -3}, "channels is -3"),
        ({"channels": 3}, "belong to another architecture"),
        ({"classes": 5}, "belong to another architecture"),
        ({"classes": 10**15}, "belong to another architecture"),
        ({"classes": 2**62}, "cannot be built"),
        ({"classes": 10**30}, "cannot be built"),
        ({"model": 3}, "names a network that cannot be built"),
        ({"model": {"type": "os.system"}}, "names a network that cannot be built"),
        ({"model": {"type": "PGD"}}, "names a network that cannot be built"),
        ({"model": {"type": "SmallCNN", "width": 0}}, "width is 0"),
        ({"model": {"type": "SmallCNN", "width": "2"}}, "width is '2'"),
        ({"model": {"type": "SmallCNN", "depth": 2}}, "has no field 'depth'"),
        ({"model": {"type": "SmallCNN", "width": 10**7}}, "belong to another architecture"),
        ({"model": {"type": "SmallCNN", "width": 10**30}}, "cannot be built"),
        ({"model": {"type": "SmallCNN", "width": 2, "mean": [0.5, 0.5], "deviation": [1.0, 1.0]}}, "mean is"),
        ({"model": {"type": "SmallCNN", "width": 2, "mean": [0.5], "deviation": [0.0]}}, "deviation is"),
        ({"model": describe(preact_resnet_18(width=2))}, "belong to another architecture"),
    ],
)
def test_a_header_that_does_not_fit_the_weights_is_refused(tmp_path, changes, said):
    save(tmp_path / "w.safetensors")
    tell(tmp_path / "w.safetensors", **changes)
    assert "\n" not in refused(tmp_path / "w.safetensors", said)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", ["linear.weight", "layers.1.running_var"])
def test_a_single_value_that_is_not_finite_is_refused_and_its_tensor_named(tmp_path, bad, name):
    tensors = {n: v.clone() for n, v in network().state_dict().items()}
    tensors[name].view(-1)[-1] = bad
    save_weights(tmp_path / "w.safetensors", tensors, NETWORK, 4, 1, {})
    assert f"hold NaN or infinite values, in {name}." in refused(tmp_path / "w.safetensors")


def test_too_large_a_number_for_float32_is_refused(tmp_path):
    tensors = {n: v.double() if v.is_floating_point() else v for n, v in network().state_dict().items()}
    tensors["linear.bias"][0] = 1e300
    save_weights(tmp_path / "w.safetensors", tensors, NETWORK, 4, 1, {})
    refused(tmp_path / "w.safetensors", r"NaN or infinite values, in linear\.bias")


def test_what_does_not_fit_is_counted_and_named():
    wanted = network().state_dict()
    given = {n: v for n, v in wanted.items() if not n.startswith("layers.1.")}
    given |= {"layers.99.weight": torch.ones(1), "linear.bias": torch.ones(5), "linear.weight": torch.ones(4, 8).int()}
    with pytest.raises(UsageError) as error:
        fill(network(), given, "there")
    assert str(error.value) == (
        "The weights in there belong to another architecture: tensors are 5 missing (such as layers.1.bias), 1 unknown (such as "
        "layers.99.weight), 1 of another shape (such as linear.bias), 1 of another kind (such as linear.weight)."
    )


def test_a_refused_network_is_left_as_it_was():
    model = network()
    before = {n: v.clone() for n, v in model.state_dict().items()}
    with pytest.raises(UsageError):
        fill(model, {**before, "linear.bias": torch.full((4,), torch.nan), "linear.weight": torch.zeros(4, 8)}, "there")
    assert all(torch.equal(v, before[n]) for n, v in model.state_dict().items())


# the digest


def test_any_flipped_bit_of_the_weights_is_noticed(tmp_path):
    path = tmp_path / "w.safetensors"
    save(path)
    whole = path.read_bytes()
    start = 8 + struct.unpack("<Q", whole[:8])[0]
    for at in range(start, len(whole), 37):
        content = bytearray(whole)
        content[at] ^= 1
        path.write_bytes(content)
        refused(path, "is damaged: it is not what was written, by its own digest")


def test_what_the_header_says_belongs_to_the_digest(tmp_path):
    path = tmp_path / "w.safetensors"
    save(path)
    whole = path.read_bytes()
    assert whole.count(b"0.25") == 1
    path.write_bytes(whole.replace(b"0.25", b"0.27"))  # another normalisation
    refused(path, "by its own digest")


def test_a_file_of_an_earlier_version_has_no_digest_and_is_loaded(tmp_path):
    path = tmp_path / "w.safetensors"
    save(path, step=3)
    assert "sha256" in header_of(path)["__metadata__"]["hardy"]
    tell(path)
    assert "sha256" not in header_of(path)["__metadata__"]["hardy"]
    assert torch.equal(load(path).linear.bias, network().linear.bias)
    assert read_weights(path)[1]["step"] == 3


# any file at all


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    save(path)
    return path.read_bytes()


def _loads_or_is_refused(path, content: bytes) -> bool:
    path.write_bytes(content)
    try:
        model = load(path)
    except UsageError as error:
        assert str(path) in str(error)  # noqa: PT017 - loading may succeed as well
        return False
    assert all(value.isfinite().all() for value in model.state_dict().values())
    return True


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz") / "w.safetensors"


@settings(max_examples=120)
@given(flips=st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 255)), min_size=1, max_size=4))
@example(flips=[(0, 1)])
@example(flips=[(7, 128)])
def test_flipped_bytes_are_refused_or_harmless(whole, place, flips):
    content = bytearray(whole)
    for at, mask in flips:
        content[at % len(content)] ^= mask
    _loads_or_is_refused(place, bytes(content))


@settings(max_examples=150)
@given(at=st.integers(0, 10**6), mask=st.sampled_from([1, 2, 4, 8, 16, 32, 64, 128]))
def test_a_flipped_bit_of_the_header_is_refused_or_harmless(whole, place, at, mask):
    length = 8 + struct.unpack("<Q", whole[:8])[0]
    content = bytearray(whole)
    content[at % length] ^= mask
    _loads_or_is_refused(place, bytes(content))


@settings(max_examples=100)
@given(at=st.integers(0, 10**6), digit=st.sampled_from('0123456789-e."{}[],: '))
def test_another_character_in_the_header_is_refused_or_harmless(whole, place, at, digit):
    length = struct.unpack("<Q", whole[:8])[0]
    content = bytearray(whole)
    content[8 + at % length] = ord(digit)
    _loads_or_is_refused(place, bytes(content))


@settings(max_examples=60)
@given(content=st.binary(max_size=300))
def test_any_bytes_are_refused(place, content):
    assert not _loads_or_is_refused(place, content)


@settings(max_examples=60)
@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "width", "x"]), inner, max_size=3)
        ),
        max_leaves=5,
    ),
    key=st.sampled_from(["model", "classes", "channels"]),
)
def test_anything_said_of_the_network_is_refused_or_true(tmp_path_factory, whole, place, key, value):
    place.write_bytes(whole)
    tell(place, **{key: value})
    if _loads_or_is_refused(place, place.read_bytes()):
        assert value == {"model": describe(NETWORK), "classes": 4, "channels": 1}[key]


def test_the_file_that_the_others_are_made_from_loads(whole, place):
    assert _loads_or_is_refused(place, whole)
