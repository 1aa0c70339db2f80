"""Reading a data file that is a Python pickle, without letting it run anything."""

import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hardy.data.download import refuse_web_page
from hardy.describe import with_article
from hardy.errors import UsageError

_KINDS = ("u1", "i8", "i4")


def unpickle(path: Path, what: str) -> dict[bytes, Any]:
    """The dictionary in a pickle of any protocol, its keys as bytes.

    Values are plain Python values, or arrays of uint8, int64 or int32, which may be read-only. what: the kind of file,
    for messages ("CIFAR").

    Raises: UsageError naming the file if it cannot be read, is a web page, truncated or damaged, asks for anything but
    such values, or holds no dictionary.
    """
    refuse_web_page(path, f"a {what} pickle")
    try:
        with path.open("rb") as file:
            content = _Unpickler(file, what).load()
        if isinstance(content, dict):
            return {_key(key): value.value if isinstance(value, _Array) else value for key, value in content.items()}
    except Exception as error:  # a damaged pickle may raise anything
        raise UsageError(
            f"{path} is truncated, damaged or not a {what} pickle: {str(error) or type(error).__name__}."
        ) from error
    raise UsageError(f"{path} holds {with_article(type(content).__name__)}; a {what} file holds a dictionary.")


def _key(key: Any) -> Any:
    return key.encode() if isinstance(key, str) else key


# The file's arrays are put together here, from their bytes: numpy's own dtype and ndarray believe whatever flags and
# sizes a pickle gives them, also that the bytes are pointers to objects.


class _Kind:
    """What stands for numpy.dtype: a kind of number."""

    def __init__(self, code: str | bytes, align: object = False, copy: object = False) -> None:
        del align, copy
        name = code.decode("ascii") if isinstance(code, bytes) else code
        if name not in _KINDS:
            raise pickle.UnpicklingError(f"it holds an array of kind {name!r}")
        self.code, self.dtype = name, np.dtype(name)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order = state[1].decode("ascii") if isinstance(state[1], bytes) else state[1]
        if order not in ("|", "<", ">", "="):
            raise pickle.UnpicklingError(f"it holds an array of byte order {order!r}")
        self.dtype = np.dtype(f"{order}{self.code}")


class _Array:
    """What stands for numpy.ndarray: `value` is an empty array until its state comes, as numpy's own is."""

    def __init__(self, *_: object) -> None:
        self.value: npt.NDArray[Any] = np.empty(0, np.uint8)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, fortran, data = state
        self.value = _shaped(data, kind, shape, "F" if fortran else "C")


def _from_buffer(data: Any, kind: Any, shape: Any, order: str, axes: tuple[int, ...] | None = None) -> _Array:
    """How protocol 5 holds an array; axes: where its memory is in neither order, how the axes of C order are moved."""
    array = _Array()
    array.value = _shaped(data, kind, shape, "F" if order == "F" else "C")
    if axes is not None:
        array.value = array.value.transpose(axes)
    return array


def _shaped(data: Any, kind: Any, shape: Any, order: Any) -> npt.NDArray[Any]:
    if not isinstance(kind, _Kind) or not isinstance(data, bytes | bytearray):
        raise pickle.UnpicklingError(f"it holds an array made of {with_article(type(data).__name__)}")
    if not isinstance(shape, tuple) or any(type(n) is not int or n < 0 for n in shape):
        raise pickle.UnpicklingError(f"it holds an array of shape {shape!r}")
    if math.prod(shape) * kind.dtype.itemsize != len(data):
        raise pickle.UnpicklingError(f"it holds {len(data)} bytes for an array of {kind.dtype} {shape}")
    return np.ndarray(shape, kind.dtype, data, order=order)


def _encode(text: str, encoding: str | bytes) -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"it asks for the text encoding {encoding!r}")
    return text.encode("latin-1")


_ADMITTED: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
    ("numpy._core.numeric", "_frombuffer"): _from_buffer,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Kind,
    ("_codecs", "encode"): _encode,  # how Python 3 writes byte strings in the protocol that Python 2 reads
}


class _Unpickler(pickle.Unpickler):
    """Builds plain values and arrays of integers; names nothing else, so that a file cannot run anything."""

    def __init__(self, file: Any, what: str) -> None:
        super().__init__(file, encoding="bytes")
        self.what = what

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ADMITTED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no {self.what} file needs")
        return _ADMITTED[module, name]
