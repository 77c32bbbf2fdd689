"""What others read of a run: the metrics as a table (CSV) and as logs for TensorBoard."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attnflow.environment import library

RUN_COLUMNS = ("seed", "learning_rate", "fixed_focus")
EPOCH_COLUMNS = ("paradigm", "step", "time", "loss", "alpha", "seconds", "inputs_per_second")
SET_COLUMNS = tuple(
    f"{part}.{name}"
    for part in ("train", "heldout", "test")
    for name in ("alpha", "beta", "focus_true", "accuracy", "macro_f1", "mu", "nu", "loss")
)
COLUMNS = ("epoch", *RUN_COLUMNS, *EPOCH_COLUMNS, *SET_COLUMNS)
"""The table's header, the same for every run; what was not measured is left empty."""

HIDDEN = ("epoch", "step", *RUN_COLUMNS)


def flat(row: dict[str, Any]) -> dict[str, Any]:
    """A row of metrics with the quantities of each set under "set.name"."""
    sets = {f"{s}.{k}": v for s, part in row["sets"].items() for k, v in part.items()}
    return {**{k: v for k, v in row.items() if k != "sets"}, **sets}


def table(rows: list[dict[str, Any]], *, header: bool, columns: tuple[str, ...] = COLUMNS) -> str:
    """Rows of metrics as CSV (RFC 4180, lines end in a line feed)."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows(flat(row) for row in rows)
    return text.getvalue()


def check_tensorboard() -> None:
    """Whether logs for TensorBoard can be written.

    Raises:
        MissingPart: tensorboardX is not installed.
    """
    library("tensorboardX", "logs for TensorBoard need")


def _scalars(row: dict[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in flat(row).items():
        if name not in HIDDEN and isinstance(value, int | float):
            yield name.replace(".", "/") if "." in name else f"epoch/{name}", float(value)


class Boards:
    """Logs for TensorBoard, a folder for each of the runs trained at once.

    Args:
        folder: where they go.
        begin: first epoch that will be written; what an interrupted run wrote from there on is
            marked as void.
    """

    def __init__(self, folder: Path, begin: int) -> None:
        """Open nothing yet."""
        self._folder, self._begin = folder, begin
        self._writers: dict[str, Any] = {}

    def add(self, rows: list[dict[str, Any]]) -> None:
        """Write rows of metrics, each at its epoch."""
        from tensorboardX import SummaryWriter

        for row in rows:
            name = "-".join(f"{c.replace('_', '-')}-{row[c]:g}" for c in RUN_COLUMNS if c in row)
            if name not in self._writers:
                # files are named by the second, in which a run may be resumed; a later part's name
                # must come later too
                self._writers[name] = SummaryWriter(
                    str(self._folder / name),
                    purge_step=self._begin,
                    filename_suffix=f".{self._begin:08d}",
                )
            for tag, value in _scalars(row):
                self._writers[name].add_scalar(tag, value, row["epoch"])
            self._writers[name].flush()

    def close(self) -> None:
        """Finish the files."""
        for writer in self._writers.values():
            writer.close()
        self._writers = {}
