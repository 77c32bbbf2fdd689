"""What one reads of a run's metrics: a table (CSV), logs for TensorBoard, scores that run away."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attnflow.environment import library

RUN_COLUMNS = ("seed", "learning_rate", "fixed_focus")
LEARNING_COLUMNS = ("largest_score", "gradient_norm_focus", "gradient_norm_classifier")
"""Over an epoch: by how much the largest score of an input lies above its least, at most; the mean
over the steps of the Euclidean norm of each network's gradient."""
SET_COLUMNS = tuple(
    f"{part}.{name}"
    for part in ("train", "heldout", "test")
    for name in ("alpha", "beta", "focus_true", "accuracy", "macro_f1", "mu", "nu", "loss", "gain")
)
COLUMNS = (
    *("epoch", *RUN_COLUMNS, "paradigm", "step", "time", "loss", "alpha", *LEARNING_COLUMNS),
    *("seconds", "inputs_per_second", *SET_COLUMNS),
)
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
        """Write rows of metrics, each at its epoch; those of the first steps have none."""
        from tensorboardX import SummaryWriter

        for row in (row for row in rows if row["epoch"] >= 1):
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


FORGOTTEN = 87.0
"""So far below the largest score a float32 weight is 0, and its segment teaches nothing more."""


LOST = 0.1
"""A run came apart whose loss rose from its least by so much of its largest."""

LEARNED = 1e-6
"""A mean loss whose gradients float32 may hold for 0, since nothing is left to learn."""


def runaway(rows: list[dict[str, Any]]) -> Iterator[str]:
    """What to try, where focus scores grew beyond what weights can tell apart.

    Told where training came apart, or the largest score doubled in the second half of the epochs:
    LVML and hard attention also hold for long with scores that are large and grow slowly
    (docs/results-cifar.md).
    """
    scores: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        if "largest_score" in row:
            scores.setdefault(tuple(row.get(name) for name in RUN_COLUMNS), []).append(row)
    for held in scores.values():
        last, middle = held[-1], held[len(held) // 2 - 1]
        peak = max(held, key=lambda row: row["largest_score"])
        if not peak["largest_score"] > FORGOTTEN:
            continue
        apart = _came_apart(held)
        if apart or last["largest_score"] >= 2 * middle["largest_score"]:
            network = ".focus" if "gradient_norm_focus" in last else ""
            yield (
                f"focus scores ran away: in epoch {peak['epoch']} the largest of an input lay "
                f"{peak['largest_score']:.4g} above its least, and what lies {FORGOTTEN:g} below "
                f"teaches nothing more, for its float32 weight is 0{apart}; try a tenth of the "
                f"learning rate, --paradigm {last['paradigm']}:rate{network}=10%"
            )
            return


def _came_apart(held: list[dict[str, Any]]) -> str:
    """How one can tell that a run whose scores were that large came apart; empty if it did not."""
    last = held[-1]
    if last.get("gradient_norm_focus") == 0 and last["loss"] > LEARNED:
        return "; the focus's gradient is exactly 0 now, so that it stays as it is"
    losses = [row["loss"] for row in held if row["paradigm"] == last["paradigm"]]
    if last["loss"] - min(losses) > LOST * max(losses):
        return f"; the loss rose from {min(losses):.3g} to {last['loss']:.3g}"
    return ""
