"""Finds image data where the user says they are, in any of the forms that are read."""

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from attnflow.errors import DataError, MissingPart
from attnflow.reading import holding, tar_members
from attnflow.train.data.cifar_archive import ARCHIVES, Archive, read_packed, read_unpacked
from attnflow.train.data.image_folder import by_class, decode, is_image, read_folder
from attnflow.train.data.images import CIFAR10_CLASSES, CIFAR100_FOREGROUND, Images

TARS = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".tbz2")


def find_images(place: str | Path, name: str) -> Images:
    """Images of a data set from a file or folder.

    Args:
        place: the official archive, packed in any way and under any name; a tar of images by
            class; a folder with either, or with what the official one unpacks to; a folder with
            ``train/<class>`` and ``test/<class>``; or one that holds it one or two folders deeper.
        name: "cifar10" or "cifar100".

    Raises:
        MissingPart: there is nothing of the kind; says what to put where.
        DataError: what is there is damaged, or of another data set.
    """
    wanted = (
        CIFAR10_CLASSES if name == "cifar10" else " ".join(CIFAR100_FOREGROUND.values()).split()
    )
    images = _read(Path(place).expanduser(), ARCHIVES[name], wanted)
    missing = sorted(set(wanted) - set(images.names))
    if missing:
        raise DataError(f"{str(place)!r} is not {name}: it has no class {missing[0]!r}")
    others = sorted(set(images.names) - set(wanted))
    if name == "cifar10" and others:  # which would be taken for background
        raise DataError(f"{str(place)!r} is not {name}: it has a class {others[0]!r}")
    if name == "cifar100" and not 0 < len(others) <= 50:
        raise DataError(f"{str(place)!r} is not {name}: it has {len(others)} background classes")
    return images


def _read(place: Path, archive: Archive, classes: Sequence[str]) -> Images:
    if place.exists() and not place.is_dir():
        return read_archive(place, archive)

    def unpacked(folder: Path) -> bool:
        return (folder / archive.test).is_file() and (folder / archive.meta).is_file()

    def by_class_there(folder: Path) -> bool:
        train = folder / "train"
        if not train.is_dir() or not (folder / "test").is_dir():
            return False
        kinds = (kind for one in classes for kind in (one, f"*/{one}"))
        return folder == place or any(path for kind in kinds for path in train.glob(kind))

    if folder := holding(place, unpacked, archive.folder):
        return read_unpacked(folder, archive)
    if tar := _tar_in(place, archive):
        return read_archive(tar, archive)
    if folder := holding(place, by_class_there, "images by class"):
        return read_folder(folder)
    for folder in (place, place / archive.folder):
        if any((folder / name).is_file() for name in archive.files):
            return read_unpacked(folder, archive)  # which says what is missing
    raise MissingPart(
        f"no {archive.name} at {str(place)!r}: run 'attnflow data fetch {archive.name} --data "
        f"DIR', or put {archive.file} from {archive.url} there, or folders train/<class> and "
        f"test/<class> of images"
    )


def _tar_in(place: Path, archive: Archive) -> Path | None:
    """The tar in a folder that is called like the data set, the official one before others."""
    number = archive.name.removeprefix("cifar")
    called = re.compile(rf"cifar[-_ ]?{number}(?!\d)", re.IGNORECASE)
    tars = [
        file
        for file in sorted(place.glob("*"))
        if file.name.lower().endswith(TARS) and called.search(file.name) and not file.is_dir()
    ]
    return min(tars, key=lambda file: file.name != archive.file, default=None)


def read_archive(path: Path, archive: Archive) -> Images:
    """Images from a tar: the official archive, known by what it holds, or images by class.

    Raises:
        DataError: it is no tar, damaged, not whole, or holds neither.
    """
    contents: dict[str, bytes] = {}
    pictures = []
    for name, content in tar_members(
        path, lambda name: is_image(name) or PurePosixPath(name).name in archive.files
    ):
        if is_image(name):
            pictures.append(decode(name, content, str(path)))
        else:
            contents[PurePosixPath(name).name] = content
    if contents and not pictures:
        return read_packed(contents, path, archive)
    return by_class(pictures, str(path))
