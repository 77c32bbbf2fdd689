"""Images by class: ``train/<class>/*.jpg`` and ``test/<class>/*.jpg``, in a folder or a tar.

Classes may lie in folders of groups, as CIFAR-100's twenty: ``train/<group>/<class>/*.jpg``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from attnflow.errors import DataError
from attnflow.reading import open_image
from attnflow.train.data.images import Images

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")
PARTS = ("train", "test")
SIDE = 32


@dataclass(frozen=True)
class Labelled:
    """An image and where it belongs.

    Attributes:
        part: "train" or "test".
        kind: its class.
        name: of its file.
        pixels: [32, 32, 3] uint8.
    """

    part: str
    kind: str
    name: str
    pixels: np.ndarray


def read_folder(folder: Path) -> Images:
    """Images from a folder that holds ``train`` and ``test``, each with a folder a class.

    Raises:
        DataError: an image is damaged or of another size, or a class is missing in a part.
    """
    files = [
        file
        for part in PARTS
        for pattern in ("*/*", "*/*/*")
        for file in sorted((folder / part).glob(pattern))
        if not file.is_dir()
    ]
    named = ((file, file.relative_to(folder).as_posix()) for file in files)
    pictures = [decode(name, file, str(folder)) for file, name in named if is_image(name)]
    return by_class(pictures, str(folder))


def is_image(name: str) -> bool:
    """Whether this is an image by class; what is hidden (.DS_Store, ._0001.png) is not."""
    path = PurePosixPath(name)
    hidden = any(part.startswith(".") for part in path.parts[-3:])
    return path.suffix.lower() in SUFFIXES and not hidden and _part(path) is not None


def _part(path: PurePosixPath) -> str | None:
    """Of an image: the folder above that of its class, or above the group of its class."""
    return next((part for part in path.parts[-3:-5:-1] if part in PARTS), None)


def decode(name: str, source: Path | bytes, where: str) -> Labelled:
    """An image of that name.

    Raises:
        DataError: it is damaged or of another size.
    """
    path = PurePosixPath(name)
    image = open_image(source, f"image {name!r} of {where!r}", exactly=(SIDE, SIDE))
    return Labelled(str(_part(path)), path.parent.name, path.name, np.asarray(image))


def by_class(pictures: Sequence[Labelled], where: str) -> Images:
    """Images in the order of classes and names.

    Raises:
        DataError: there are none, or a class is missing in a part.
    """
    kinds = {part: sorted({one.kind for one in pictures if one.part == part}) for part in PARTS}
    odd = sorted({*kinds["train"]} ^ {*kinds["test"]})
    if odd or not kinds["train"]:
        there = "train" if odd and odd[0] in kinds["train"] else "test"
        got = f"{odd[0]!r} in {there} only" if odd else "no such image"
        raise DataError(
            f"{where!r} must hold train/<class>/*.jpg and test/<class>/*.jpg with equal classes, "
            f"got {got}"
        )
    arrays: list[Any] = []
    for part in PARTS:  # the order of a tar is nobody's choice
        items = sorted((p for p in pictures if p.part == part), key=lambda p: (p.kind, p.name))
        arrays.append(np.stack([one.pixels for one in items]))
        arrays.append(np.array([kinds["train"].index(one.kind) for one in items]))
    train, train_labels, test, test_labels = arrays
    return Images(train, train_labels, test, test_labels, tuple(kinds["train"]), by_class=True)
