"""Finds image data where the user says they are, in any of the forms that are read."""

import tarfile
from pathlib import Path

from attnflow.errors import DataError, MissingPart
from attnflow.train.data.cifar_archive import ARCHIVES, Archive, read_archive, read_unpacked
from attnflow.train.data.image_folder import read_folder, read_tar
from attnflow.train.tasks.cifar import CIFAR10_CLASSES, CIFAR100_FOREGROUND, Images

TARS = ("*.tar", "*.tar.gz", "*.tgz", "*.tar.xz", "*.tar.bz2")


def find_images(place: str | Path, name: str) -> Images:
    """Images of a data set from a file or folder.

    Args:
        place: the official archive; a folder with it, or with what it unpacks to; a folder with
            ``train/<class>`` and ``test/<class>``; or a tar of such a folder.
        name: "cifar10" or "cifar100".

    Raises:
        MissingPart: there is nothing of the kind; says what to put where.
        DataError: what is there is damaged, or of another data set.
    """
    images = _read(Path(place).expanduser(), ARCHIVES[name])
    wanted = (
        CIFAR10_CLASSES if name == "cifar10" else " ".join(CIFAR100_FOREGROUND.values()).split()
    )
    missing = sorted(set(wanted) - set(images.names))
    if missing:
        raise DataError(f"{str(place)!r} is not {name}: it has no class {missing[0]!r}")
    others = sorted(set(images.names) - set(wanted))
    if name == "cifar10" and others:  # which would be taken for background
        raise DataError(f"{str(place)!r} is not {name}: it has a class {others[0]!r}")
    if name == "cifar100" and not 0 < len(others) <= 50:
        raise DataError(f"{str(place)!r} is not {name}: it has {len(others)} background classes")
    return images


def _read(place: Path, archive: Archive) -> Images:
    if place.is_file():
        return read_archive(place, archive) if place.name == archive.file else _tar(place)
    if place.is_dir():
        for folder in (place, place / archive.folder):
            if (folder / archive.test).is_file() and (folder / archive.meta).is_file():
                return read_unpacked(folder, archive)
        if (place / archive.file).is_file():
            return read_archive(place / archive.file, archive)
        if (place / "train").is_dir() and (place / "test").is_dir():
            return read_folder(place)
        tars = sorted(f for pattern in TARS for f in place.glob(f"{archive.name}*{pattern[1:]}"))
        if tars:
            return _tar(tars[0])
        for folder in (place, place / archive.folder):
            if any((folder / name).is_file() for name in archive.files):
                return read_unpacked(folder, archive)  # which says what is missing
    raise MissingPart(
        f"no {archive.name} at {str(place)!r}: run 'attnflow data fetch {archive.name} --data "
        f"DIR', or put {archive.file} from {archive.url} there, or folders train/<class> and "
        f"test/<class> of images"
    )


def _tar(path: Path) -> Images:
    if not tarfile.is_tarfile(path):
        raise DataError(f"{str(path)!r} is no tar of images, or is damaged")
    return read_tar(path)
