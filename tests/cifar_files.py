"""Writes the official CIFAR formats as Python 2 wrote them, with any content."""

import io
import pickle
import struct
import tarfile

import numpy as np

from attnflow.train.data.cifar_archive import ARCHIVES
from attnflow.train.data.images import CIFAR10_CLASSES

TEN = ARCHIVES["cifar10"].unchecked()


class PythonTwo(pickle._Pickler):
    """Writes bytes as Python 2's strings, under protocol 2, like the published files."""

    dispatch = dict(pickle._Pickler.dispatch)

    def save_string(self, value):
        if len(value) < 256:
            self.write(pickle.SHORT_BINSTRING + bytes([len(value)]) + value)
        else:
            self.write(pickle.BINSTRING + struct.pack("<i", len(value)) + value)
        self.memoize(value)

    dispatch[bytes] = save_string

    def save_global(self, value, name=None):
        where = "numpy" if value in (np.ndarray, np.dtype) else "numpy.core.multiarray"
        self.write(pickle.GLOBAL + f"{where}\n{value.__name__}\n".encode())
        self.memoize(value)

    def save_array(self, value):
        reconstruct = value.__reduce__()[0]
        kind = (np.dtype, (b"u1", 0, 1), (3, b"|", None, None, None, -1, -1, 0))
        self.save_reduce(
            reconstruct,
            (np.ndarray, (0,), b"b"),
            (1, value.shape, Kind(kind), False, value.tobytes()),
            obj=value,
        )

    dispatch[np.ndarray] = save_array
    dispatch[type] = save_global


class Kind:
    def __init__(self, reduced):
        self.reduced = reduced

    def __reduce__(self):
        return self.reduced


def batch(content):
    out = io.BytesIO()
    PythonTwo(out, 2).dump(content)
    return out.getvalue()


def rows(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 3072), dtype=np.uint8)


def ten_files():
    files = {"batches.meta": batch({b"label_names": [n.encode() for n in CIFAR10_CLASSES]})}
    for i, name in enumerate([*TEN.train, TEN.test]):
        labels = list(range(10)) * 2
        files[name] = batch({b"batch_label": b"x", b"labels": labels, b"data": rows(20, i)})
    return files


def write_tar(path, folder, files):
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"{folder}/{name}")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path
