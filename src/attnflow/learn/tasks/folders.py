"""Images by class: ``train/<class>/*.jpg`` and ``test/<class>/*.jpg``, in a folder or a tar."""

import io
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from attnflow.errors import DataError
from attnflow.learn.tasks.archives import DAMAGE
from attnflow.learn.tasks.cifar import Images

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")
SIDE = 32


def read_folder(folder: Path) -> Images:
    """Images from a folder that holds ``train`` and ``test``, each with a folder a class.

    Raises:
        DataError: an image is damaged or of another size, or a class is missing in a part.
    """
    files = sorted(f for part in ("train", "test") for f in (folder / part).glob("*/*"))
    pairs = ((f.relative_to(folder).as_posix(), f.read_bytes()) for f in files if _image(f.name))
    return _assemble(pairs, str(folder))


def read_tar(path: Path) -> Images:
    """The same from a tar (plain, gz, bz2 or xz), which is not unpacked.

    Raises:
        DataError: the tar is damaged or truncated, or as ``read_folder``.
    """

    def members() -> Iterator[tuple[str, bytes]]:
        try:
            with tarfile.open(path, "r|*") as tar:
                for member in tar:
                    if member.isfile() and _image(member.name):
                        file = tar.extractfile(member)
                        assert file is not None
                        yield member.name, file.read()
        except DAMAGE as error:
            raise DataError(f"{str(path)!r} is damaged or truncated: {error}") from error

    return _assemble(members(), str(path))


def _image(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


def _assemble(pairs: Iterable[tuple[str, bytes]], where: str) -> Images:
    from PIL import Image

    found: dict[str, list[tuple[str, str, np.ndarray]]] = {"train": [], "test": []}
    for name, content in pairs:
        parts = PurePosixPath(name).parts
        if len(parts) < 3 or parts[-3] not in found:
            continue
        try:
            with Image.open(io.BytesIO(content)) as opened:
                pixels = np.asarray(opened.convert("RGB"))
        except Exception as error:  # Pillow raises many kinds
            raise DataError(f"image {name!r} of {where!r} is damaged: {error}") from error
        if pixels.shape != (SIDE, SIDE, 3):
            size = f"{pixels.shape[1]} x {pixels.shape[0]}"
            raise DataError(f"image {name!r} of {where!r} must be {SIDE} x {SIDE}, got {size}")
        found[parts[-3]].append((parts[-2], parts[-1], pixels))
    kinds = {part: sorted({kind for kind, _, _ in items}) for part, items in found.items()}
    if not kinds["train"] or kinds["train"] != kinds["test"]:
        raise DataError(
            f"{where!r} must hold train/<class>/*.jpg and test/<class>/*.jpg with equal classes, "
            f"got {len(kinds['train'])} and {len(kinds['test'])} classes"
        )
    arrays: list[Any] = []
    for items in found.values():
        items.sort(key=lambda item: item[:2])  # the order of a tar is nobody's choice
        arrays.append(np.stack([pixels for _, _, pixels in items]))
        arrays.append(np.array([kinds["train"].index(kind) for kind, _, _ in items]))
    train, train_labels, test, test_labels = arrays
    return Images(train, train_labels, test, test_labels, tuple(kinds["train"]))
