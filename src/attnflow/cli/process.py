"""What a command sets up that runs in a process of its own: streams, signals, compiled programs."""

import codecs
import hashlib
import os
import platform
import signal
import sys
import threading
import unicodedata
from pathlib import Path
from types import FrameType
from typing import Any

from attnflow.errors import Terminated

MOST_KEPT = 2**28
"""Bytes of compiled programs that are kept between commands."""

AGAIN = 0.2
"""Seconds after which a termination that was swallowed is tried again."""

_PLAIN = {"−": "-", "─": "-", "│": "|", "·": "*", "×": "x", "…": "...", "“": '"', "”": '"'}


def set_up() -> None:
    """Make this process one that only writes files, ends in order, and keeps its programs."""
    # no window is ever opened, and a backend that a notebook names may not be there
    os.environ["MPLBACKEND"] = "agg"
    open_streams()
    signal.signal(signal.SIGTERM, _terminate)
    hangup = getattr(signal, "SIGHUP", None)  # Windows has none
    if hangup is not None and signal.getsignal(hangup) is not signal.SIG_IGN:  # as under nohup
        signal.signal(hangup, _terminate)
    sys.unraisablehook = _unraisable
    keep_programs()


class _Again:
    """The signal that came (0: none), whether it is put off, and whether one came meanwhile."""

    number = 0
    waiting = False
    missed = False


def terminated() -> int:
    """Exit code of a command that SIGTERM (143) or SIGHUP (129) ended; 0 where neither came."""
    return 128 + _Again.number if _Again.number else 0


def _terminate(number: int, frame: FrameType | None) -> None:
    _Again.number = number
    if _Again.waiting:
        _Again.missed = True
    else:
        raise Terminated(terminated())


def _unraisable(unraisable: Any) -> None:
    """Try again where a callback, as of the garbage collector, swallowed the termination."""
    if not issubclass(unraisable.exc_type, Terminated):
        sys.__unraisablehook__(unraisable)
        return
    _Again.missed = True
    while _Again.missed:
        _Again.waiting, _Again.missed = True, False
        timer = threading.Timer(AGAIN, os.kill, (os.getpid(), _Again.number))
        timer.daemon = True
        timer.start()
        _Again.waiting = False


def open_streams() -> None:
    """Streams that take every character: what an encoding lacks is written by its name."""
    codecs.register_error("attnflow-names", named)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by whoever started this process
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="attnflow-names")


def named(error: UnicodeError) -> tuple[str, int]:
    """Names such as nu for the characters that an encoding lacks, as a handler of codecs."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(map(_name, lacking)), error.end


def _name(character: str) -> str:
    if character in _PLAIN:
        return _PLAIN[character]
    plain = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    if plain:
        return plain
    name = unicodedata.name(character, "")
    if unicodedata.combining(character):
        return ""
    return name.rpartition(" ")[2].lower() if " LETTER " in name else "?"


def drop_output() -> None:
    """Let standard output go nowhere: its reader went away, or its disk is full."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        pass  # a stream without a file, as in a test


def keep_programs() -> None:
    """Let JAX keep the programs that it compiles, in the user's cache folder, at most 256 MiB.

    It locks the folder, throws the oldest away and reads nothing that it did not write for this
    version; a processor has a folder of its own. Where the user has set a folder, or there can be
    none, nothing changes.
    """
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    from platformdirs import user_cache_path

    try:
        folder = user_cache_path("attnflow") / "programs" / _processor()
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            return
    except OSError:
        return
    wanted = {
        "JAX_COMPILATION_CACHE_DIR": str(folder),
        "JAX_COMPILATION_CACHE_MAX_SIZE": str(MOST_KEPT),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2",
        # a program that may call back into Python is never kept: NaN in place of an exception,
        # which simulate looks for
        "EQX_ON_ERROR": "nan",
    }
    for name, value in wanted.items():
        os.environ.setdefault(name, value)


def _processor() -> str:
    """What a compiled program may rely on: kind of machine and features of its processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    features = [line for line in lines if line.startswith(("flags", "Features", "model name"))]
    told = (platform.machine(), platform.processor(), *features[:2])
    return hashlib.sha256(repr(told).encode()).hexdigest()[:16]
