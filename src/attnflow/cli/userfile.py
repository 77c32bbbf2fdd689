"""A user's own paradigm, taken from a Python file: ``my.py:NAME``."""

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from attnflow.errors import ParadigmError

if TYPE_CHECKING:
    from attnflow.symbolic.paradigm import Paradigm


def load_paradigm(place: str) -> "Paradigm":
    """Run a Python file and take the Paradigm of that name from it.

    Args:
        place: "FILE.py:NAME".

    Raises:
        ParadigmError: no such file or name, the file fails, or the name is not a Paradigm.
    """
    from attnflow.symbolic.paradigm import Paradigm, nearest

    file, colon, name = place.rpartition(":")
    if not (colon and file and name):
        raise ParadigmError(f"paradigm-file must read like my.py:NAME, got {place!r}")
    path = Path(file)
    if not path.is_file():
        raise ParadigmError(f"paradigm-file must name a Python file, got no file at {file!r}")
    spec = importlib.util.spec_from_loader(path.stem, loader=None)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    module.__file__ = str(path)
    try:
        exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)
    except Exception as error:  # whatever a user's file may raise
        raise ParadigmError(f"{file!r} cannot be run: {type(error).__name__}: {error}") from error
    found = {key: value for key, value in vars(module).items() if isinstance(value, Paradigm)}
    if name not in found:
        raise ParadigmError(f"no Paradigm {name!r} in {file!r}{nearest(name, list(found))}")
    return found[name]
