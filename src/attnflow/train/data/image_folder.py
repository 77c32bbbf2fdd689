"""Images by class: ``train/<class>/*.jpg`` and ``test/<class>/*.jpg``, in a folder or a tar."""

import io
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from attnflow.errors import DataError
from attnflow.train.data.cifar_archive import DAMAGE, damaged
from attnflow.train.data.pictures import eight_bits
from attnflow.train.tasks.cifar import Images

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")
SIDE = 32


def read_folder(folder: Path) -> Images:
    """Images from a folder that holds ``train`` and ``test``, each with a folder a class.

    Raises:
        DataError: an image is damaged or of another size, or a class is missing in a part.
    """
    files = sorted(f for part in ("train", "test") for f in (folder / part).glob("*/*"))
    named = ((f, f.relative_to(folder).as_posix()) for f in files if not f.is_dir())
    pairs = ((name, _content(f, name, folder)) for f, name in named if _image(name))
    return _assemble(pairs, str(folder))


def _content(file: Path, name: str, folder: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise DataError(
            f"image {name!r} of {str(folder)!r} cannot be read: {error.strerror}"
        ) from error


def read_tar(path: Path) -> Images:
    """The same from a tar (plain, gz, bz2 or xz), which is not unpacked.

    Raises:
        DataError: the tar is damaged or truncated, or as ``read_folder``.
    """

    def members() -> Iterator[tuple[str, bytes]]:
        try:
            with tarfile.open(path) as tar:
                for member in tar:
                    if member.isfile() and _image(member.name):
                        file = tar.extractfile(member)
                        assert file is not None
                        yield member.name, file.read()
                while tar.fileobj is not None and tar.fileobj.read(1 << 20):
                    pass  # gzip compares its checksum at the end
        except DAMAGE as error:
            raise damaged(path, error) from error

    return _assemble(members(), str(path))


def _image(name: str) -> bool:
    """Whether this is an image by class; what is hidden (.DS_Store, ._0001.png) is not."""
    hidden = any(part.startswith(".") for part in PurePosixPath(name).parts[-3:])
    return name.lower().endswith(SUFFIXES) and not hidden


def _pixels(content: bytes) -> np.ndarray:
    """An image of any kind as [height, width, 3]; transparency is left out."""
    from PIL import Image

    with Image.open(io.BytesIO(content)) as opened:
        return np.asarray(eight_bits(opened).convert("RGB"))


def _assemble(pairs: Iterable[tuple[str, bytes]], where: str) -> Images:
    from PIL import UnidentifiedImageError

    found: dict[str, list[tuple[str, str, np.ndarray]]] = {"train": [], "test": []}
    for name, content in pairs:
        parts = PurePosixPath(name).parts
        if len(parts) < 3 or parts[-3] not in found:
            continue
        try:
            pixels = _pixels(content)
        except UnidentifiedImageError as error:  # whose words name an object in memory
            raise DataError(f"image {name!r} of {where!r} is damaged, or is no image") from error
        except Exception as error:  # Pillow raises many kinds
            raise DataError(f"image {name!r} of {where!r} is damaged: {error}") from error
        if pixels.shape != (SIDE, SIDE, 3):
            size = f"{pixels.shape[1]} x {pixels.shape[0]}"
            raise DataError(f"image {name!r} of {where!r} must be {SIDE} x {SIDE}, got {size}")
        found[parts[-3]].append((parts[-2], parts[-1], pixels))
    kinds = {part: sorted({kind for kind, _, _ in items}) for part, items in found.items()}
    odd = sorted({*kinds["train"]} ^ {*kinds["test"]})
    if odd or not kinds["train"]:
        there = "train" if odd and odd[0] in kinds["train"] else "test"
        got = f"{odd[0]!r} in {there} only" if odd else "no such image"
        raise DataError(
            f"{where!r} must hold train/<class>/*.jpg and test/<class>/*.jpg with equal classes, "
            f"got {got}"
        )
    arrays: list[Any] = []
    for items in found.values():
        items.sort(key=lambda item: item[:2])  # the order of a tar is nobody's choice
        arrays.append(np.stack([pixels for _, _, pixels in items]))
        arrays.append(np.array([kinds["train"].index(kind) for kind, _, _ in items]))
    train, train_labels, test, test_labels = arrays
    return Images(train, train_labels, test, test_labels, tuple(kinds["train"]))
