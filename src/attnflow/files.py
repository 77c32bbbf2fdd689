"""What a run leaves on disk: nothing half-written, and a netCDF file that reads back equal.

Files are written beside their place under a temporary name and renamed when complete, so that a
reader, or an interrupted run, never meets a part of one.
"""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnflow.errors import SettingError

if TYPE_CHECKING:
    import xarray as xr

DIMENSIONS = ("paradigm", "method", "time")
"""What every curve of a comparison is labelled by; a file without them is not one of ours."""


@contextmanager
def atomic(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path beside ``path``, renamed to it when the block ends without an exception.

    The folder is made where it is missing. If the block raises, the temporary file goes and
    whatever was at ``path`` stays.

    Args:
        path: the file to be written; the temporary one has the same suffix.

    Raises:
        SettingError: the place cannot be written.
    """
    path = Path(path)
    if path.is_dir():
        raise SettingError(f"output {str(path)!r} must be a file, got a folder of that name")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent
        )
    except OSError as error:
        raise SettingError(
            f"output {str(path)!r} must be a place that can be written, got: {error.strerror}"
        ) from error
    os.close(handle)
    temporary = Path(name)
    try:
        # mkstemp makes files private; a result has the permissions the user's mask gives
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def save_text(path: str | os.PathLike[str], text: str) -> Path:
    """Write a text file (UTF-8, line ends as given), whole or not at all.

    Raises:
        SettingError: the place cannot be written.
    """
    with atomic(path) as temporary:
        temporary.write_bytes(text.encode("utf-8"))
    return Path(path)


def save_json(path: str | os.PathLike[str], record: Any) -> Path:
    """Write a record as JSON, whole or not at all; a NaN in it is an error, not a word.

    Raises:
        SettingError: the place cannot be written.
        ValueError: the record holds NaN or infinity.
    """
    return save_text(path, json.dumps(record, indent=2, allow_nan=False) + "\n")


def save_dataset(dataset: "xr.Dataset", path: str | os.PathLike[str]) -> Path:
    """Write a comparison as netCDF 3 (64-bit offsets), whole or not at all.

    Equal datasets give equal bytes: neither date nor path is stored.

    Args:
        dataset: what ``compare`` returned.
        path: the file, usually ``curves.nc``.

    Returns:
        The path.

    Raises:
        SettingError: the place cannot be written.
    """
    with atomic(path) as temporary:
        dataset.to_netcdf(temporary, engine="scipy", format="NETCDF3_64BIT")
    return Path(path)


def load_dataset(path: str | os.PathLike[str]) -> "xr.Dataset":
    """Read a comparison back; the file is closed when this returns.

    Args:
        path: a file that ``save_dataset`` wrote.

    Raises:
        SettingError: there is no such file, or it is not a comparison of ours.
    """
    import xarray as xr

    path = Path(path)
    if not path.is_file():
        raise SettingError(
            f"path must be a file written by save_dataset, got no file at {str(path)!r}"
        )
    try:
        dataset = xr.load_dataset(path, engine="scipy")
    except Exception as error:  # the reader raises many kinds, none of which says more
        raise SettingError(
            f"path must be a netCDF file written by save_dataset, got {str(path)!r}, "
            f"which cannot be read: {error}"
        ) from error
    missing = [name for name in DIMENSIONS if name not in dataset.dims]
    if missing:
        raise SettingError(
            f"path must be a netCDF file written by save_dataset, got {str(path)!r}, "
            f"which has no dimension {missing[0]!r}"
        )
    return dataset
