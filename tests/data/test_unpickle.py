"""Reading pickles: which arrays come out, that nothing runs, and that damage is named."""

import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardy.data.unpickle import unpickle
from hardy.errors import UsageError


def pixels(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 3072), dtype=np.uint8)


def save(path: Path, content: object, protocol: int = 2) -> Path:
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


def python2_batch(n: int) -> tuple[bytes, np.ndarray, list[int]]:
    """A batch file byte by byte as Python 2 and its numpy wrote it: byte strings, old modules, 0 and 1 as flags."""

    def string(value: bytes) -> bytes:
        short = b"U" + struct.pack("<B", len(value)) if len(value) < 256 else b"T" + struct.pack("<i", len(value))
        return short + value

    def integer(value: int) -> bytes:
        return b"K" + struct.pack("<B", value)

    data, labels = pixels(n, 3), [i % 10 for i in range(n)]
    reconstruct = b"cnumpy.core.multiarray\n_reconstruct\n"
    empty = reconstruct + b"(cnumpy\nndarray\n" + integer(0) + b"\x85" + string(b"b") + b"tR"
    kind = b"(" + string(b"u1") + integer(0) + integer(1) + b"tR"
    state = b"(" + integer(3) + string(b"|") + b"NNN" + b"J\xff\xff\xff\xff" * 2 + integer(0) + b"tb"
    dtype = b"cnumpy\ndtype\n" + kind + state
    shape = integer(n) + b"M" + struct.pack("<H", 3072) + b"\x86"
    array = empty + b"(" + integer(1) + shape + dtype + b"\x89" + string(data.tobytes()) + b"tb"
    listed = b"](" + b"".join(integer(label) for label in labels) + b"e"
    name = string(b"data") + array + string(b"labels") + listed + string(b"batch_label") + string(b"caf\xe9")
    return b"\x80\x02}(" + name + b"u.", data, labels


# what is read


def test_a_pickle_of_python_2_is_read(tmp_path: Path):
    written, data, labels = python2_batch(20)
    path = tmp_path / "data_batch_1"
    path.write_bytes(written)
    content = unpickle(path, "CIFAR")
    assert np.array_equal(content[b"data"], data)
    assert content[b"labels"] == labels
    assert content[b"batch_label"] == b"caf\xe9"


ARRAYS = {
    "uint8": pixels(3),
    "int64": np.array([[0, -1], [2**62, 7]]),
    "int32": np.arange(-5, 5, dtype=np.int32),
    "big-endian": np.arange(7, dtype=">i4"),
    "Fortran": np.asfortranarray(pixels(4).reshape(4, 3, 1024)),
    "turned": pixels(2).reshape(2, 3, 1024).transpose(1, 0, 2),
    "stepped": pixels(2)[:, ::3],
    "single": np.array(5),
}


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS.keys())
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_arrays_of_every_protocol_are_read(tmp_path: Path, array: np.ndarray, protocol: int):
    read = unpickle(save(tmp_path / "p", {"array": array, "n": 3}, protocol), "test")
    assert read[b"array"].dtype == array.dtype
    assert read[b"array"].shape == array.shape
    assert np.array_equal(read[b"array"], array)
    assert read[b"n"] == 3


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_an_array_without_elements_keeps_its_shape(tmp_path: Path, protocol: int):
    read = unpickle(save(tmp_path / "p", {"array": np.zeros((0, 3), np.uint8)}, protocol), "test")
    assert read[b"array"].shape == (0, 3)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_both_spellings_of_numpys_modules_are_read(tmp_path: Path, protocol: int):
    written = pickle.dumps({b"data": pixels(4)}, protocol=protocol)
    new, old = b"numpy._core.", b"numpy.core."
    assert (new in written) != (old in written)
    for spelling in (new, old):
        # the names' lengths stand in front of them from protocol 4 on, and those of frames around them
        text = written
        for module in (b"multiarray", b"numeric"):
            for before in (new + module, old + module):
                if protocol < 4:
                    text = text.replace(before, spelling + module)
                else:
                    text = text.replace(
                        b"\x8c" + bytes([len(before)]) + before,
                        b"\x8c" + bytes([len(spelling + module)]) + spelling + module,
                    )
        if protocol >= 4:
            assert text[2:3] == b"\x95"
            text = text[:2] + text[11:]  # frames are optional
        path = tmp_path / "b"
        path.write_bytes(text)
        assert spelling in text
        assert np.array_equal(unpickle(path, "test")[b"data"], pixels(4))


# what is refused


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"  \n<!doctype html>", "is a web page, not a CIFAR pickle"),
        (b"", "is truncated, damaged or not a CIFAR pickle"),
        (b"nothing of the kind", "is truncated, damaged or not a CIFAR pickle"),
        (pickle.dumps({"\ud800": 1}), "is truncated, damaged or not a CIFAR pickle"),
        (b"\x80\x05\x8e" + b"\xff" * 7 + b"\x3f", "is truncated, damaged or not a CIFAR pickle: .*[a-zA-Z]{5}"),
        (pickle.dumps([1, 2], protocol=2), "holds a list; a CIFAR file holds a dictionary"),
    ],
)
def test_a_file_that_holds_no_dictionary_is_named(tmp_path: Path, data: bytes, said: str):
    path = tmp_path / "test_batch"
    path.write_bytes(data)
    with pytest.raises(UsageError, match=f"{path} {said}"):
        unpickle(path, "CIFAR")


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(UsageError, match=f"{tmp_path / 'none'} cannot be read: No such file"):
        unpickle(tmp_path / "none", "CIFAR")


def old_array(kind: bytes = b"u1", flags: int = 0, shape: bytes = b"K\x08\x85", data: bytes = b"A" * 8) -> bytes:
    """A pickle of one array, as protocol 2 holds it."""
    name = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    state = b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK" + bytes([flags]) + b"tb"
    dtype = b"cnumpy\ndtype\nU" + bytes([len(kind)]) + kind + b"K\x00K\x01\x87R" + state
    return b"\x80\x02}U\x04data" + name + b"(K\x01" + shape + dtype + b"\x89U" + bytes([len(data)]) + data + b"tbs."


def test_the_hand_made_array_is_one(tmp_path: Path):
    path = tmp_path / "b"
    path.write_bytes(old_array())
    assert unpickle(path, "test")[b"data"].tolist() == [65] * 8


@pytest.mark.parametrize("flags", [0x01, 0x3F, 0xFF])
def test_flags_that_call_bytes_pointers_do_not_reach_numpy(tmp_path: Path, flags: int):
    path = tmp_path / "b"
    path.write_bytes(old_array(flags=flags))
    array = unpickle(path, "test")[b"data"]
    assert not array.dtype.hasobject
    assert array.dtype == np.uint8
    assert array.tolist() == [65] * 8


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (old_array(b"O8"), "it holds an array of kind 'O8'"),
        (old_array(b"f8"), "it holds an array of kind 'f8'"),
        (old_array(b"i8"), r"it holds 8 bytes for an array of int64 \(8,\)"),
        (old_array(data=b"A" * 7), r"it holds 7 bytes for an array of uint8 \(8,\)"),
        (old_array(shape=b"J\xf8\xff\xff\xffJ\xff\xff\xff\xff\x86"), r"it holds an array of shape \(-8, -1\)"),
        (old_array(shape=b"K\x08"), "it holds an array of shape 8"),
        (old_array().replace(b"|", b"S"), "it holds an array of byte order 'S'"),
        (old_array().replace(b"U\x08" + b"A" * 8, b"]"), "it holds an array made of a list"),
        (pickle.dumps({"data": np.array([{}, None])}, protocol=4), "it holds an array of kind 'O8'"),
        (pickle.dumps({"data": np.zeros(3)}, protocol=5), "it holds an array of kind 'f8'"),
        (
            b"\x80\x02c_codecs\nencode\n(X\x01\x00\x00\x00aX\x04\x00\x00\x00zliptR.",
            "it asks for the text encoding 'zlip'",
        ),
    ],
)
def test_other_arrays_and_text_encodings_are_refused(tmp_path: Path, written: bytes, said: str):
    path = tmp_path / "b"
    path.write_bytes(written)
    with pytest.raises(UsageError, match=f"{path} is truncated, damaged or not a test pickle: {said}"):
        unpickle(path, "test")


class Calls:
    """Pickles to a call of `function`, as an attacker's file would."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[object, ...]:
        return self.call


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_that_runs_a_command_is_refused_and_the_command_is_not_run(tmp_path: Path, protocol: int):
    trace = tmp_path / "trace"
    attacks = [
        Calls(os.system, f"touch {trace}"),
        Calls(eval, f"open({str(trace)!r}, 'w')"),
        Calls(exec, f"open({str(trace)!r}, 'w')"),
        Calls(os.mkdir, str(trace)),
        Calls(open, str(trace), "w"),
    ]
    for attack in attacks:
        path = save(tmp_path / "batch", {b"data": attack, b"labels": []}, protocol)
        with pytest.raises(UsageError, match=r"it asks for .*, which no CIFAR file needs"):
            unpickle(path, "CIFAR")
        assert not trace.exists()


@pytest.mark.parametrize(
    "name",
    [
        "os system",
        "posix system",
        "__builtin__ eval",
        "builtins getattr",
        "copyreg _reconstructor",
        "numpy load",
        "numpy frombuffer",
        "numpy.core.multiarray scalar",
        "numpy._core.multiarray fromstring",
        "numpy._core.numeric fromfunction",
        "numpy dtype.newbyteorder",
        "_codecs lookup",
        "codecs encode",
        "functools partial",
    ],
)
def test_only_what_the_files_need_is_admitted(tmp_path: Path, name: str):
    path = tmp_path / "b"
    path.write_bytes(b"\x80\x02c" + name.replace(" ", "\n").encode() + b"\n.")
    with pytest.raises(UsageError, match=f"it asks for {name.replace(' ', '.')}, which no CIFAR file needs"):
        unpickle(path, "CIFAR")


# damage


WHOLE = {protocol: pickle.dumps({"data": pixels(1), "labels": np.arange(4)}, protocol) for protocol in (2, 4, 5)}


@pytest.mark.parametrize("share", [0.001, 0.3, 0.9, 0.999])
@pytest.mark.parametrize("protocol", WHOLE)
def test_a_truncated_pickle_is_named(tmp_path: Path, protocol: int, share: float):
    path = tmp_path / "data_batch_2"
    path.write_bytes(WHOLE[protocol][: int(len(WHOLE[protocol]) * share)])
    with pytest.raises(UsageError, match=f"{path} is truncated, damaged or not a CIFAR pickle"):
        unpickle(path, "CIFAR")


def test_a_damaged_byte_never_gives_another_kind_of_error(tmp_path: Path):
    whole = python2_batch(2)[0]
    path = tmp_path / "b"
    refused = []
    for place in range(150):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        try:
            unpickle(path, "CIFAR")
        except UsageError as error:
            refused.append(str(error))
    assert len(refused) > 80
    assert all(str(path) in message for message in refused)


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(sorted(WHOLE)), st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 7)), max_size=3))
def test_flipped_bits_give_a_dictionary_or_a_usage_error(tmp_path_factory, protocol, flips):
    content = bytearray(WHOLE[protocol])
    # the long run of pixels in the middle has nothing to break
    ends = [*range(400), *range(len(content) - 400, len(content))]
    for place, bit in flips:
        content[ends[place % len(ends)]] ^= 1 << bit
    path = tmp_path_factory.getbasetemp() / "flipped-pickle"
    path.write_bytes(content)
    try:
        values = unpickle(path, "test").values()
    except UsageError as error:
        values, said = (), str(error)
    else:
        said = str(path)
    assert str(path) in said
    assert not any(isinstance(value, np.ndarray) and value.dtype.hasobject for value in values)
