"""The official CIFAR archives, as downloaded or unpacked: verified by checksum, never extracted."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from attnflow.errors import DataError, MissingPart
from attnflow.reading import LARGEST_MEMBER, read_bytes
from attnflow.train.data.images import Images
from attnflow.train.data.pickles import read_batch

BATCH_MD5 = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
    "batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
    "train": "16019d7e3df5f24257cddd939b257f8d",
    "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
    "meta": "7973b15100ade9c7d40fb424638fde48",
}
"""MD5 of each file in the official archives; they guard against damage, not against malice."""


@dataclass(frozen=True)
class Archive:
    """An official archive.

    Attributes:
        name: of the data set.
        file: of the archive.
        folder: that it unpacks to.
        url: where it is published.
        sha256: of the archive.
        train, test, meta: its files.
        labels, names: the keys under which classes and their names stand.
        checksums: MD5 of each file; empty to accept any.
    """

    name: str
    file: str
    folder: str
    url: str
    sha256: str
    train: tuple[str, ...]
    test: str
    meta: str
    labels: str
    names: str
    checksums: tuple[tuple[str, str], ...] = tuple(BATCH_MD5.items())

    @property
    def files(self) -> tuple[str, ...]:
        """All that is read of it."""
        return (*self.train, self.test, self.meta)

    def unchecked(self) -> "Archive":
        """The same format with any content: for data of one's own in it."""
        return replace(self, sha256="", checksums=())


ARCHIVES = {
    "cifar10": Archive(
        "cifar10",
        "cifar-10-python.tar.gz",
        "cifar-10-batches-py",
        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
        tuple(f"data_batch_{i}" for i in range(1, 6)),
        "test_batch",
        "batches.meta",
        "labels",
        "label_names",
    ),
    "cifar100": Archive(
        "cifar100",
        "cifar-100-python.tar.gz",
        "cifar-100-python",
        "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
        "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
        ("train",),
        "test",
        "meta",
        "fine_labels",
        "fine_label_names",
    ),
}


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def read_packed(contents: dict[str, bytes], path: Path, archive: Archive) -> Images:
    """Images from the files of an archive, whatever it is called.

    Args:
        contents: name of a file without its folder -> content; emptied on the way.
        path: of the archive.
        archive: which it should be.

    Raises:
        DataError: a file is missing, damaged or another than the official one.
    """

    def read(name: str) -> bytes:
        if name not in contents:
            raise DataError(f"{str(path)!r} is not a whole {archive.file}: it has no {name!r}")
        return contents.pop(name)

    return _assemble(read, str(path), archive)


def read_unpacked(folder: Path, archive: Archive) -> Images:
    """Images from the folder that the archive unpacks to.

    Raises:
        MissingPart: a file of it is not there.
        DataError: one is damaged.
    """

    def read(name: str) -> bytes:
        file = folder / name
        if not file.is_file():
            raise MissingPart(f"{str(folder)!r} is not a whole {archive.folder}: no {name!r} in it")
        return read_bytes(file, LARGEST_MEMBER)

    return _assemble(read, str(folder), archive)


def _assemble(read: Callable[[str], bytes], where: str, archive: Archive) -> Images:
    checksums = dict(archive.checksums)

    def batch(name: str) -> dict[str, Any]:
        content = read(name)
        place = f"{name!r} of {where!r}"
        wanted = checksums.get(name)
        found = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if wanted is not None and found != wanted:
            raise DataError(
                f"{place} is damaged or not the official one: its MD5 is {found}, not {wanted}"
            )
        return read_batch(content, place)

    def images(name: str) -> tuple[np.ndarray, np.ndarray]:
        place = f"{name!r} of {where!r}"
        found = batch(name)
        try:
            pixels, labels = found["data"], np.asarray(found[archive.labels])
            labels = labels.astype(np.int64, casting="safe") if len(labels) else np.arange(0)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{place} lacks images or {archive.labels}") from error
        good = isinstance(pixels, np.ndarray) and pixels.ndim == 2 and pixels.shape[1] == 3072
        if not good or labels.shape != (len(pixels),):
            raise DataError(f"{place} must hold n rows of 3072 bytes and n {archive.labels}")
        return pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), labels

    listed = batch(archive.meta).get(archive.names)
    if not isinstance(listed, list):
        raise DataError(f"{archive.meta!r} of {where!r} lacks {archive.names}")
    names = tuple(n.decode("latin-1") if isinstance(n, bytes) else str(n) for n in listed)
    parts = [images(name) for name in archive.train]
    test, test_labels = images(archive.test)
    train_labels = np.concatenate([labels for _, labels in parts])
    for labels in (train_labels, test_labels):
        if len(labels) and not (0 <= labels.min() and labels.max() < len(names)):
            raise DataError(f"{where!r} holds labels outside its {len(names)} classes")
    train = np.concatenate([pixels for pixels, _ in parts])
    return Images(train, train_labels, np.ascontiguousarray(test), test_labels, names)
