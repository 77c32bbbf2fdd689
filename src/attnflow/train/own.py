"""What users define in files of their own, named as FILE.py:NAME."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from attnflow.errors import SettingError


def in_file(name: str) -> bool:
    """Whether a name reads FILE.py:NAME."""
    file, colon, function = name.rpartition(":")
    return bool(colon and function and file.endswith(".py"))


def from_file(name: str) -> Callable[..., Any]:
    """The function that FILE.py:NAME names; the file is run.

    Raises:
        SettingError: there is no such file or function, or the file fails.
    """
    file, _, function = name.rpartition(":")
    found: dict[str, Any] = {"__name__": Path(file).stem}
    try:
        exec(compile(Path(file).read_bytes(), file, "exec"), found)
    except Exception as error:  # whatever a user's file may raise
        raise SettingError(f"{file!r} cannot be run: {told(error)}") from error
    if not callable(found.get(function)):
        raise SettingError(f"no function {function!r} in {file!r}")
    return found[function]


def told(error: Exception) -> str:
    """An error in a line."""
    first = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
