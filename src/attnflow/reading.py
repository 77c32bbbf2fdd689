"""Reads what others wrote: regular files only, whose sizes are looked at before they are decoded.

Byte-order marks, which editors on Windows write, are no damage. What is nested without end, holds
a number of thousands of digits, or would unpack to gigabytes is refused in one sentence.
"""

import io
import json
import lzma
import tarfile
import tomllib
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnflow.errors import DataError, SettingError

if TYPE_CHECKING:
    from numpy.lib.npyio import NpzFile
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

MEBIBYTE = 1 << 20
LARGEST_TOML, LARGEST_JSON, LARGEST_IMAGE = MEBIBYTE, 2048 * MEBIBYTE, 256 * MEBIBYTE
"""Bytes of a file."""
LARGEST_MEMBER, LARGEST_TAR, MOST_MEMBERS = 256 * MEBIBYTE, 4096 * MEBIBYTE, 300_000
"""Bytes of a member of a tar and of all of them, and their number."""
DENSEST, DENSE_FROM = 100, 64 * MEBIBYTE
"""How many times its packed size a member of a zip may be, if it is of at least so many bytes."""
MOST_PIXELS = 64_000_000
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
"""Kinds of images that are decoded; others of Pillow's start programs or are rarely tried."""


def regular(path: Path, largest: int | None = None) -> Path:
    """The path, if a regular file, or a link to one, of at most so many bytes is there.

    Raises:
        DataError: there is none, or it is a device, a pipe, a folder, or larger.
    """
    try:
        size = path.stat().st_size
    except (OSError, ValueError) as error:  # a NUL in a path is a ValueError
        raise DataError(
            f"{str(path)!r} cannot be read: {getattr(error, 'strerror', error)}"
        ) from error
    if not path.is_file():
        raise DataError(f"{str(path)!r} must be a regular file, not a folder, pipe or device")
    if largest is not None and size > largest:
        raise DataError(f"{str(path)!r} must be of at most {largest} bytes, got {size}")
    return path


def read_bytes(path: Path, largest: int) -> bytes:
    """The content of a regular file of at most so many bytes.

    Raises:
        DataError: as ``regular``, or it cannot be read.
    """
    try:
        return regular(path, largest).read_bytes()
    except OSError as error:
        raise DataError(f"{str(path)!r} cannot be read: {error.strerror}") from error


def read_toml(path: str | Path) -> dict[str, Any]:
    """The entries of a TOML file.

    Raises:
        SettingError: no such file, or it is no TOML.
    """
    path = Path(path)
    try:
        return tomllib.loads(read_bytes(path, LARGEST_TOML).decode("utf-8-sig"))
    except DataError as error:
        why = str(error).removeprefix(f"{str(path)!r} ")
        raise SettingError(f"config must be a TOML file, got {str(path)!r}: {why}") from error
    except (ValueError, RecursionError) as error:
        raise SettingError(f"config {str(path)!r} is no TOML: {_why(error)}") from error


def read_json(path: Path) -> Any:
    """What a JSON file holds (UTF-8, 16 or 32, with or without a byte-order mark).

    Raises:
        DataError: it is missing, damaged, no JSON, or holds an entry twice.
    """
    return parse_json(read_bytes(path, LARGEST_JSON), repr(str(path)))


def parse_json(text: str | bytes, where: str) -> Any:
    """The same from a text, which the user knows as ``where``."""
    try:
        return json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} is damaged or no JSON: {_why(error)}") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"an object holds {twice!r} more than once")
    return entries


def _why(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(":")


def holding(place: Path, wanted: Callable[[Path], bool], what: str) -> Path | None:
    """The folder, or the only one up to two folders deeper, that holds what is wanted.

    Args:
        place: where the user says that it is.
        wanted: whether a folder holds it.
        what: it is, for the message.

    Raises:
        DataError: several do, and none is nearer than the others.
    """
    for level in ("", "*/", "*/*/"):
        folders = [place] if not level else sorted(place.glob(level))
        there = [f for f in folders if not f.name.startswith(".") and wanted(f)]
        if len(there) > 1:
            names = [folder.relative_to(place).as_posix() for folder in there]
            raise DataError(
                f"{str(place)!r} holds {what} more than once, in {names[0]!r} and {names[1]!r}: "
                f"name one of them"
            )
        if there:
            return there[0]
    return None


def tar_members(path: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """Name and content of the wanted files of a tar (plain, gz, bz2 or xz), never unpacked.

    Raises:
        DataError: it is no tar, is damaged or truncated, or has members too large or too many.
    """

    class Header(tarfile.TarInfo):
        """A header whose size is looked at before tarfile reads on, whatever it is a header of."""

        @classmethod
        def frombuf(cls, buf: Any, encoding: str, errors: str) -> "Header":
            header = super().frombuf(buf, encoding, errors)
            check(header)
            return header

    def check(header: tarfile.TarInfo) -> None:
        if header.size > LARGEST_MEMBER:
            raise DataError(
                f"{header.name!r} of {str(path)!r} must be of at most {LARGEST_MEMBER} bytes, "
                f"got {header.size}"
            )

    regular(path)
    total = 0
    try:
        with tarfile.open(path, tarinfo=Header) as tar:
            for count, member in enumerate(tar, 1):
                check(member)  # again: an extended header may change the size
                total += member.size
                if total > LARGEST_TAR or count > MOST_MEMBERS:
                    raise DataError(
                        f"{str(path)!r} must unpack to at most {LARGEST_TAR} bytes in "
                        f"{MOST_MEMBERS} members"
                    )
                if member.isfile() and wanted(member.name):
                    file = tar.extractfile(member)
                    assert file is not None
                    yield member.name, file.read()
            while tar.fileobj is not None and (piece := tar.fileobj.read(MEBIBYTE)):
                total += len(piece)  # gzip compares its checksum at the end
                if total > LARGEST_TAR:
                    raise DataError(f"{str(path)!r} must unpack to at most {LARGEST_TAR} bytes")
    except tarfile.ReadError as error:
        raise DataError(f"{str(path)!r} is no tar, or is damaged or truncated") from error
    except (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        raise DataError(f"{str(path)!r} is damaged or truncated: {_why(error)}") from error


def check_zip(path: Path) -> Path:
    """The path, if it is no zip or one whose members unpack to what their packed sizes bear out.

    Raises:
        DataError: it is missing, or a member would unpack to very much more than it is.
    """
    if zipfile.is_zipfile(regular(path)):
        with zipfile.ZipFile(path) as packed:
            for member in packed.infolist():
                if member.file_size > max(DENSE_FROM, DENSEST * member.compress_size):
                    raise DataError(
                        f"{member.filename!r} of {str(path)!r} would unpack from "
                        f"{member.compress_size} to {member.file_size} bytes, more than "
                        f"{DENSEST} times as many"
                    )
    return path


def open_npz(path: Path) -> "NpzFile":
    """NumPy's archive of arrays, open; never what NumPy would take for a pickle.

    Raises:
        DataError: as ``check_zip``, or it is no archive.
    """
    import numpy as np

    if not zipfile.is_zipfile(check_zip(path)):
        raise DataError(f"{str(path)!r} is damaged, or is no .npz")
    return np.load(path, allow_pickle=False)


def open_image(
    source: Path | bytes,
    where: str,
    *,
    exactly: tuple[int, int] | None = None,
    at_least: int | None = None,
) -> "Image":
    """An image as RGB of 8 bits, turned as its EXIF orientation says; transparency is left out.

    Of 16 bits of grey the upper 8 are kept. A JPEG is decoded at the smallest of its own scales
    that is large enough, which is several times faster.

    Args:
        source: a file, or the content of one.
        where: how the user knows it.
        exactly: (width, height) that it must have, in pixels.
        at_least: pixels of a side that are needed; None for all.

    Raises:
        DataError: it is missing, damaged, no image, too large, or of another size.
    """
    import numpy as np
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        file = io.BytesIO(source) if isinstance(source, bytes) else regular(source, LARGEST_IMAGE)
        with _opened(file) as opened:
            width, height = opened.size
            if exactly is not None and opened.size != exactly:
                wanted = " x ".join(map(str, exactly))
                raise DataError(f"{where} must be {wanted}, got {width} x {height}")
            if width * height > MOST_PIXELS:
                raise DataError(
                    f"{where} must be of at most {MOST_PIXELS} pixels, got {width} x {height}"
                )
            if at_least is not None:
                opened.draft("RGB", (at_least, at_least))
            upright = ImageOps.exif_transpose(opened)
            if upright.mode.startswith("I"):
                upper = np.clip(np.asarray(upright).astype(np.int64) >> 8, 0, 255)
                upright = Image.fromarray(upper.astype(np.uint8))
            return upright.convert("RGB")
    except DataError:
        raise
    except Image.DecompressionBombError as error:
        raise DataError(f"{where} must be of at most {MOST_PIXELS} pixels") from error
    except UnidentifiedImageError as error:  # whose words name an object in memory
        raise DataError(f"{where} is damaged, or is no image") from error
    except Exception as error:  # Pillow raises many kinds
        raise DataError(f"{where} is damaged: {_why(error)}") from error


def _opened(file: Path | io.BytesIO) -> "ImageFile":
    from PIL import Image

    Image.init()
    return Image.open(file, formats=[kind for kind in FORMATS if kind in Image.OPEN])


def image_size(path: Path) -> tuple[int, int]:
    """Width and height of an image as a viewer shows it; only its header is read.

    Raises:
        DataError: it is missing, damaged, or no image.
    """
    try:
        with _opened(regular(path)) as opened:
            width, height = opened.size
            turned = opened.getexif().get(0x0112) in (5, 6, 7, 8)
            return (height, width) if turned else (width, height)
    except DataError:
        raise
    except Exception as error:  # Pillow raises many kinds
        raise DataError(f"image {str(path)!r} is damaged, or is no image") from error
