"""What the commands print and write: JSON, tables, and files that are whole or not there."""

import json
import math
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from attnflow.errors import escaped

if TYPE_CHECKING:
    from rich.console import Console

TABLE_WIDTH = 100
"""Columns of a table that does not go to a terminal."""

PATIENCE = 1.0
"""Seconds after which a command says what it is doing."""

WIDEST = 10_000
"""More columns than any table has."""

SEEN = "\t\n\u00a0\u202f\u200c\u200d"
"""Spaces and joiners of letters, which change nothing else."""


def console(*, stderr: bool = False) -> "Console":
    """A rich console; colour and progress on a terminal only, NO_COLOR honoured."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else TABLE_WIDTH
    return Console(stderr=stderr, width=width, highlight=False, soft_wrap=True)


def width() -> int:
    """Columns to fill: the terminal's, or 80."""
    return shutil.get_terminal_size((80, 24)).columns


def plain(text: str) -> str:
    """The text with characters escaped that steer a terminal, such as ESC, or turn its lines."""
    return escaped(text, keep=SEEN)


def line(text: object) -> None:
    """Lines on standard output."""
    print(plain(str(text)))


def _unmarked(text: str) -> str:
    """Plain text for rich, in which no bracket is markup."""
    from rich.markup import escape

    return escape(plain(text))


def say(sentence: str) -> None:
    """A sentence on standard error; where that is closed or full there is nobody to tell."""
    try:
        print(plain(sentence), file=sys.stderr)
    except OSError:
        pass


def keep_standard_output() -> None:
    """Leave standard output to this program: what libraries write there goes to standard error.

    Gloo tells of its connections on it, from C++ and in the middle of a JSON document.
    """
    sys.stdout.flush()
    kept = os.fdopen(os.dup(1), "w", encoding=sys.stdout.encoding)
    os.dup2(2, 1)
    sys.stdout = kept


_began: float | None = None


def begin() -> None:
    """Count the time of this command from now."""
    global _began
    _began = time.monotonic()


@contextmanager
def progress(sentence: str) -> Iterator[Callable[[str], None]]:
    """Say on standard error what is being done: a spinner, or, where that is no terminal, lines.

    Lines are written only by a command that takes longer than a second.

    Yields:
        A function that changes the sentence.
    """
    if sys.stderr.isatty():
        with console(stderr=True).status(_unmarked(sentence)) as status:
            yield lambda text: status.update(_unmarked(text))
        return
    lines = _Lines(sentence)
    try:
        yield lines.update
    finally:
        lines.end()


class _Lines:
    """Lines on standard error, the last sentence at most once in a while."""

    def __init__(self, sentence: str) -> None:
        self.sentence, self.lock = sentence, threading.Lock()
        self.timer: threading.Timer | None = None
        self.last = time.monotonic() if _began is None else _began
        self.update(sentence)

    def update(self, sentence: str) -> None:
        with self.lock:
            self.sentence = sentence
            if self.timer is None:
                wait = max(self.last + PATIENCE - time.monotonic(), 0.0)
                self.timer = threading.Timer(wait, self.speak)
                self.timer.daemon = True
                self.timer.start()

    def speak(self) -> None:
        with self.lock:
            if self.timer is not None:
                say(f"attnflow: {self.sentence} ...")
                self.last, self.timer = time.monotonic(), None

    def end(self) -> None:
        with self.lock:
            if self.timer is not None:
                self.timer.cancel()
                self.timer = None


@contextmanager
def training_bar(wanted: bool = True) -> Iterator[Any]:
    """A progress bar of training on a terminal, with rate and time left; nothing elsewhere.

    Yields:
        A function as ``attnflow.train.running.Progress``.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    out = console(stderr=True)
    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=out, disable=not (wanted and out.is_terminal)) as shown:
        task = shown.add_task("training", total=None)

        def show(done: int, total: int, told: dict[str, Any]) -> None:
            focus = "" if told.get("alpha") is None else f", focus {told['alpha']:.3f}"
            text = f"{told['paradigm']}, epoch {told['epoch']}: loss {told['loss']:.4f}{focus}"
            text += f", {told['inputs_per_second']:,.0f} inputs/s"
            shown.update(task, completed=done, total=total, description=_unmarked(text))

        yield show


def to_json(document: Any) -> str:
    """A document as JSON: every digit of a float64, null for what is not finite."""
    text = json.dumps(finite(document), allow_nan=False, ensure_ascii=False)
    # half a character has no UTF-8; what steers or turns lines is no sight for a terminal
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in SEEN else json.dumps(c)[1:-1] for c in text)


def finite(value: Any) -> Any:
    """The same document with null in place of infinities and NaN, which JSON does not know."""
    if isinstance(value, dict):
        return {key: finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [finite(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def emit(document: Any) -> None:
    """One JSON document on standard output."""
    print(to_json(document))


def table(title: str, header: Sequence[str], rows: Iterable[Sequence[Any]], note: str = "") -> None:
    """A table on standard output; floats to six digits, text to the left, numbers to the right.

    As wide as it has to be: on a narrow terminal lines wrap, but no digit is lost.
    """
    from rich import box
    from rich.measure import Measurement
    from rich.table import Table

    rows = [list(row) for row in rows]
    shown = Table(title=_unmarked(title), title_justify="left", box=box.SIMPLE, pad_edge=False)
    for place, name in enumerate(header):
        left = any(isinstance(row[place], str) for row in rows)
        shown.add_column(_unmarked(name), justify="left" if left else "right", no_wrap=True)
    for row in rows:
        shown.add_row(*(_unmarked(cell(value)) for value in row))
    out = console()
    whole = Measurement.get(out, out.options.update_width(WIDEST), shown).maximum
    out.width = max(out.width, whole)
    out.print(shown)
    if note:
        out.print(plain(note), markup=False)


def cell(value: Any) -> str:
    """A value as a table shows it."""
    if value is None:
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
