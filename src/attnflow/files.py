"""What a run leaves on disk: nothing half-written, and a netCDF file that reads back equal.

Files are written beside their place under a temporary name and renamed when complete, so that a
reader, or an interrupted run, never meets a part of one.
"""

import errno
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attnflow.errors import DataError, SettingError, Terminated
from attnflow.reading import parse_json, regular

if TYPE_CHECKING:
    import xarray as xr

_CELL, _CURVE = ("paradigm", "method"), ("paradigm", "method", "time")
LAYOUT = {
    **{name: ((name,), "fiu") for name in ("time", "focus_level")},
    **{name: ((name,), "UO") for name in ("paradigm", "method", "quantity")},
    **{name: (("paradigm",), "UO") for name in ("title", "reference", "note")},
    **dict.fromkeys(
        "mu nu alpha complement beta loss focus_gradient first_integral drift".split(),
        (_CURVE, "fiu"),
    ),
    "deviation": (("quantity", *_CURVE), "fiu"),
    "max_deviation": (("quantity", *_CELL), "fiu"),
    "max_drift": (_CELL, "fiu"),
    "time_to_focus": ((*_CELL, "focus_level"), "fiu"),
    "computed": (_CELL, "biu"),
}
"""What every comparison holds: name -> dimensions, and the kinds of numbers or text."""

TABLES = ("mu_grid", "nu_grid", "level_nu", "level_mu")
"""The attributes of ``first_integral`` that table it over the plane (numeric/dataset.py)."""

T = TypeVar("T")


@contextmanager
def written(path: str | os.PathLike[str]) -> Iterator[None]:
    """Tell in one sentence that a place cannot be written, or is full.

    Raises:
        SettingError: the block raised an error of the file system.
    """
    try:
        yield
    except OSError as error:
        raise SettingError(
            f"output {str(path)!r} must be a place that can be written, got: "
            f"{error.strerror or error}"
        ) from error


def place_of(path: str | os.PathLike[str]) -> Path:
    """Where an output goes: links are followed, to what need not be there yet.

    Raises:
        SettingError: the path is no name of a place, or names a disk or a socket.
    """
    if not str(path) or "\0" in str(path):
        raise SettingError(f"out must name a place to write to, got {str(path)!r}")
    with written(path):
        if _descriptor(path) is not None:
            return Path(path)
        place = Path(os.path.realpath(path))
        try:
            kind = os.stat(path).st_mode  # of what links lead to, pipes too
        except (FileNotFoundError, NotADirectoryError):
            return place
    if stat.S_ISBLK(kind) or stat.S_ISSOCK(kind):
        what = "disk" if stat.S_ISBLK(kind) else "socket"
        raise SettingError(f"output {str(path)!r} must be a file, got a {what} of that name")
    return place if stat.S_ISREG(kind) or stat.S_ISDIR(kind) else Path(path)


def _descriptor(path: str | os.PathLike[str]) -> int | None:
    """The open file that a path like /dev/stdout leads to; one writes where it stands."""
    here = Path(path)
    for _ in range(40):
        above = os.path.realpath(here.parent)
        if re.fullmatch(rf"/proc/{os.getpid()}/(task/\d+/)?fd", above) and here.name.isdigit():
            return int(here.name)
        if not here.is_symlink():
            break
        here = Path(above) / os.readlink(here)
    return None


def flows(place: Path) -> bool:
    """Whether a place is a pipe, a terminal or another device, into which one can only write."""
    device = place.exists() and not place.is_file() and not place.is_dir()
    return device or _descriptor(place) is not None


@contextmanager
def atomic(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path, which becomes ``path`` when the block ends without an exception.

    It lies beside ``path`` and is renamed to it; where ``path`` is a link, beside what the link
    leads to, and the link stays. Into a pipe or a device the complete file is written. The folder
    is made where it is missing. If the block raises, the temporary file goes and whatever was at
    ``path`` stays.

    Args:
        path: the file to be written; the temporary one has the same suffix.

    Raises:
        SettingError: the place cannot be written, or is full.
    """
    place = place_of(path)
    if place.is_dir():
        raise SettingError(f"output {str(path)!r} must be a file, got a folder of that name")
    into = flows(place)
    with written(path):
        if not into:
            place.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            prefix=f".{place.stem[:100]}-",
            suffix=Path(path).suffix,
            dir=None if into else place.parent,
        )
        os.close(handle)
        temporary = Path(name)
        try:
            temporary.chmod(_mode(0o666))
            yield temporary
            if into:
                number = _descriptor(place)
                target = place if number is None else os.dup(number)
                with temporary.open("rb") as whole, open(target, "wb") as stream:
                    shutil.copyfileobj(whole, stream)
            else:
                os.replace(temporary, place)
        finally:
            temporary.unlink(missing_ok=True)


def _mode(most: int) -> int:
    """The permissions that the user's mask gives; temporary files are made private."""
    mask = os.umask(0)
    os.umask(mask)
    return most & ~mask


@contextmanager
def new_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary folder that takes the place of ``path`` when the block ends well.

    Where ``path`` exists, the new files replace those of the same name and all others stay. If the
    block raises, or is interrupted, nothing changes. Links are followed.

    Raises:
        SettingError: the place cannot be written, or is full.
    """
    place = place_of(path)
    with written(path):
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{place.name[:100]}-", dir=place.parent))
        try:
            temporary.chmod(_mode(0o777))
            yield temporary
            if not place.exists():
                temporary.rename(place)
                return
            files = [file for file in sorted(temporary.rglob("*")) if file.is_file()]
            for file in files:  # all of them, before the first is moved
                if place_of(place / file.relative_to(temporary)).is_dir():
                    raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            for file in files:
                with atomic(place / file.relative_to(temporary)) as target:
                    os.replace(file, target) if _beside(file, target) else shutil.copy(file, target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _beside(file: Path, target: Path) -> bool:
    """Whether both are on one file system, so that one can be renamed to the other."""
    return file.stat().st_dev == target.parent.stat().st_dev


def check_place(path: str | os.PathLike[str], *, folder: bool) -> Path:
    """The path of an output, if it can be written; to be called before anything is computed.

    Args:
        path: a file, or a folder that will be made where it is missing.
        folder: whether a folder is meant.

    Raises:
        SettingError: it cannot be written, or is of the other kind.
    """
    place = place_of(path)
    if place.exists() and place.is_dir() != folder:
        wanted, got = ("folder", "file") if folder else ("file", "folder")
        raise SettingError(f"out must be a {wanted}, got {str(path)!r}, which is a {got}")
    above = place if folder else place.parent
    while not above.exists():
        above = above.parent
    try:
        if not flows(place):
            with tempfile.TemporaryFile(dir=above):
                pass
        if place.exists() and not folder and not os.access(place, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise SettingError(
            f"out must be a place that can be written, got {str(path)!r}: {error.strerror}"
        ) from error
    return Path(path)


def save_text(path: str | os.PathLike[str], text: str | bytes) -> Path:
    """Write a file, of text (UTF-8, line ends as given) or bytes, whole or not at all.

    Raises:
        SettingError: the place cannot be written.
    """
    with atomic(path) as temporary:
        temporary.write_bytes(text.encode("utf-8") if isinstance(text, str) else text)
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
        path: a file that ``save_dataset`` wrote, or xarray saved again; netCDF 4 is read where
            netCDF4 (or h5netcdf) is installed.

    Raises:
        SettingError: there is no such file, or it is not a comparison of ours.
    """
    import xarray as xr

    path = Path(path)

    def refusal(why: str) -> SettingError:
        return SettingError(
            f"path must be a netCDF file written by save_dataset, got {str(path)!r}, which {why}"
        )

    if not path.exists():
        raise SettingError(
            f"path must be a file written by save_dataset, got no file at {str(path)!r}"
        )
    version_4 = False
    try:
        with regular(path).open("rb") as file:
            version_4 = file.read(4) == b"\x89HDF"
        dataset = xr.load_dataset(path, engine=None if version_4 else "scipy", decode_times=False)
    except DataError as error:
        raise refusal("is no regular file") from error
    except Exception as error:  # the readers raise many kinds, few of which say more
        said = (str(error).splitlines() or [type(error).__name__])[0]
        if version_4:
            raise refusal(
                f"is netCDF 4 and cannot be read ({said}): pip install netCDF4, or save it with "
                f"engine='scipy', format='NETCDF3_64BIT'"
            ) from error
        raise refusal(f"cannot be read: {said}") from error
    if lack := _lack(dataset):
        raise refusal(lack)
    return dataset


def _lack(dataset: "xr.Dataset") -> str:
    """What a dataset lacks to be a comparison, as the end of a sentence; empty if nothing."""
    for name in LAYOUT:
        if lack := _lack_of(dataset, name):
            return lack
    unknown = [name for name in dataset["quantity"].values if name not in LAYOUT]
    if unknown:
        return f"has deviations of {unknown[0]!r}"
    told = dataset["first_integral"].attrs
    try:
        sizes = [len([float(value) for value in told[name]]) for name in TABLES]
        if not sizes[0] == sizes[1] == sizes[2] == sizes[3] / dataset.sizes["paradigm"] > 1:
            return f"has tables of the first integral of different sizes: {sizes}"
        setting = parse_json(dataset.attrs["setting"], "its setting")
        float(dataset.attrs["tolerance"])
        mu, nu = (float(value) for value in dataset.attrs["initial"])
        if not isinstance(setting, dict) or not {"segments", "classes"} <= setting.keys():
            return "has another setting"
    except (KeyError, TypeError, ValueError) as error:
        return f"lacks an attribute, or has a damaged one: {error}"
    return ""


def _lack_of(dataset: "xr.Dataset", name: str) -> str:
    """The same of one variable."""
    dimensions, kinds = LAYOUT[name]
    if name not in dataset.variables:
        return f"has no variable {name!r}"
    variable = dataset.variables[name]
    if variable.dims != dimensions:
        return f"has {name!r} over {variable.dims}, not over {dimensions}"
    if variable.dtype.kind not in kinds:
        kind = "text" if "U" in kinds else "numbers"
        return f"has {name!r} of {variable.dtype}, which must be {kind}"
    if not variable.size:
        return f"has an empty {name!r}"
    if "U" in kinds and not all(isinstance(text, str) for text in variable.values):
        return f"has {name!r} that is no text"
    return ""


def in_file(name: str) -> bool:
    """Whether a name reads FILE.py:NAME."""
    file, colon, attribute = name.rpartition(":")
    return bool(colon and attribute and file.endswith(".py"))


def from_file(name: str, kind: type[T] | None = None) -> T:
    """What FILE.py:NAME names in a Python file of the user's; the file is run.

    Args:
        name: "FILE.py:NAME".
        kind: what it must be an instance of; None for a function.

    Raises:
        SettingError: it reads otherwise, there is no such file or name, or the file fails.
    """
    file, _, attribute = name.rpartition(":")
    what = "function" if kind is None else kind.__name__
    if not (file and attribute):
        raise SettingError(f"a {what} in a file must read like my.py:NAME, got {name!r}")
    if not Path(file).is_file():
        raise SettingError(f"{name!r} must name a Python file, got no file at {file!r}")
    module: dict[str, Any] = {"__name__": Path(file).stem, "__file__": file}
    try:
        exec(compile(Path(file).read_bytes(), file, "exec"), module)
    except (KeyboardInterrupt, Terminated):
        raise
    except BaseException as error:  # whatever a user's file may raise
        raise SettingError(f"{file!r} cannot be run: {told(error)}") from error
    right = {
        key: value
        for key, value in module.items()
        if (callable(value) if kind is None else isinstance(value, kind))
    }
    if attribute not in right:
        names = [] if kind is None else [key for key in right if not key.startswith("_")]
        known = f"; known: {', '.join(names)}" if names else ""
        raise SettingError(f"no {what} {attribute!r} in {file!r}{known}")
    return cast(T, right[attribute])


def told(error: BaseException) -> str:
    """An error in a line."""
    first = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
