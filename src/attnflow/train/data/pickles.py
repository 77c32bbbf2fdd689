"""Reads the official CIFAR pickles without executing what they hold.

A pickle is a program; the only thing in it that can reach code is the lookup of a global name.
Here that lookup yields one of four inert classes of this module that stand for an array, its
type and bytes, and every other name is refused. No NumPy, no import and no constructor named by
the file ever runs.
"""

import io
import pickle
from typing import Any

import numpy as np

from attnflow.errors import DataError


class _Array:
    """Stands for a NumPy array: keeps what the pickle says of it."""

    def __init__(self, *described: Any) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def array(self, where: str) -> np.ndarray:
        try:
            _, shape, kind, fortran, content = self.state
            if kind.name not in ("u1", "|u1"):
                raise ValueError("not bytes")
            if not isinstance(content, bytes):  # a number would be taken for so many zeros
                raise ValueError("not bytes")
            array = np.frombuffer(content, np.uint8).copy()
            return array.reshape(shape, order="F" if fortran else "C")
        except (TypeError, ValueError, AttributeError) as error:
            raise DataError(f"{where} is damaged: an array in it is no array of bytes") from error


class _Kind:
    """Stands for a NumPy dtype: keeps its name."""

    def __init__(self, name: Any = "", *rest: Any) -> None:
        self.name = name.decode("latin-1") if isinstance(name, bytes) else str(name)

    def __setstate__(self, state: Any) -> None:
        pass


class _Name:
    """Stands for the name of a class that is only mentioned."""


def _encode(text: Any, encoding: Any = "latin-1") -> bytes:
    # how Python 3 writes bytes into a pickle of an old protocol
    if not isinstance(text, str):
        raise pickle.UnpicklingError("bytes that are not spelt as text")
    return text.encode("latin-1")


_INERT: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _Name,
    ("numpy", "dtype"): _Kind,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("_codecs", "encode"): _encode,
}


class _Reader(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str, /) -> Any:
        try:
            return _INERT[module_name, global_name]
        except KeyError:
            raise pickle.UnpicklingError(
                f"it asks for {module_name}.{global_name}, which image data do not need"
            ) from None


def read_batch(content: bytes, where: str) -> dict[str, Any]:
    """The dictionary in a CIFAR batch: keys as text, arrays as uint8 arrays.

    Args:
        content: the whole file.
        where: how the user knows it.

    Raises:
        DataError: it is truncated, damaged, unsafe, or not a dictionary.
    """
    try:
        found = _Reader(io.BytesIO(content), encoding="bytes").load()
    except DataError:
        raise
    except Exception as error:  # a damaged pickle may raise almost anything
        why = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(f"{where} cannot be read as a CIFAR batch: {why}") from error
    if not isinstance(found, dict):
        raise DataError(f"{where} is not a CIFAR batch: it holds no dictionary")
    return {
        _text(key): value.array(where) if isinstance(value, _Array) else value
        for key, value in found.items()
    }


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
