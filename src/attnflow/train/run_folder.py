"""The folder of a run: config, versions, metrics and checkpoints, each whole or not there."""

import json
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from attnflow.errors import DataError, SettingError
from attnflow.files import atomic, flows, place_of, save_json, save_text, written
from attnflow.reading import LARGEST_JSON, parse_json, read_bytes, read_json, read_toml
from attnflow.train.checkpoints import Checkpoints
from attnflow.train.config import from_dict, to_toml
from attnflow.train.logs import COLUMNS, Boards, check_tensorboard, table

CONFIG, RECORD, METRICS, CHECKPOINTS = "config.toml", "run.json", "metrics.jsonl", "checkpoints"
TABLE, BOARDS, LOCK = "metrics.csv", "tensorboard", ".lock"
PLACES = ("data", "features", "encoder_weights", "start_from")
"""Entries that say where something lies: it may have moved, and is known by its fingerprint."""

ROW: dict[str, Any] = {
    "epoch": int | float,
    "seed": int,
    "learning_rate": int | float,
    "paradigm": str,
    "step": int,
    "time": int | float,
    "loss": int | float,
    "sets": dict,
}
"""What every row of metrics has, and of which kind it is."""


@dataclass(frozen=True)
class Kind:
    """What differs between kinds of runs.

    Attributes:
        read: from plain values to a config.
        columns: of the table of metrics.
    """

    read: Callable[[dict[str, Any]], Any]
    columns: tuple[str, ...]


PLAIN = Kind(from_dict, COLUMNS)
"""Runs of a focus and a classification network."""


def _object(path: Path, held: Any) -> dict[str, Any]:
    if not isinstance(held, dict):
        raise DataError(f"{str(path)!r} is damaged: it holds {str(held)[:40]!r}")
    return held


def _row(path: Path, text: bytes) -> dict[str, Any]:
    """A row of metrics."""
    row = _object(path, parse_json(text, repr(str(path))))
    for name, kind in ROW.items():
        value = row.get(name)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise DataError(f"{str(path)!r} is damaged: {name} of a row is {value!r}")
    for part, values in row["sets"].items():
        numbers = values.values() if isinstance(values, dict) else [values]
        if not all(isinstance(v, int | float | None) for v in numbers):
            raise DataError(f"{str(path)!r} is damaged: set {part} of a row is {values!r}")
    return row


class RunFolder:
    """A run on disk.

    Metrics are one JSON object a line and run, and a table. A process that writes holds the
    folder's lock until it ends, however it ends.

    Args:
        path: the folder.
        kind: of the run.
    """

    def __init__(self, path: str | os.PathLike[str], kind: Kind = PLAIN) -> None:
        """Name the folder; nothing is made or read yet."""
        self.path, self.kind = Path(path), kind
        self.checkpoints = Checkpoints(self.path / CHECKPOINTS)
        self._lock: FileLock | None = None
        self._boards: Boards | None = None

    def exists(self) -> bool:
        """Whether there is a run."""
        return (self.path / CONFIG).exists()

    def begin(
        self,
        run: Any,
        record: dict[str, Any],
        *,
        files: Mapping[str, Any] | None = None,
        tensorboard: bool = False,
    ) -> None:
        """Make the folder of a new run.

        Args:
            run: its config.
            record: versions and devices.
            files: what is kept as JSON beside these, by name.
            tensorboard: whether logs for TensorBoard are written too.

        Raises:
            SettingError: it holds a run already, or cannot be written.
            MissingPart: tensorboardX is not installed.
        """
        if tensorboard:
            check_tensorboard()
        self.lock()
        self.check_unbegun()
        save_text(self.path / METRICS, "")
        save_text(self.path / TABLE, table([], header=True, columns=self.kind.columns))
        if tensorboard:
            (self.path / BOARDS).mkdir(exist_ok=True)
            self._boards = Boards(self.path / BOARDS, 1)
        for name, values in (files or {}).items():
            save_json(self.path / name, values)
        text = to_toml(run)
        save_json(self.path / RECORD, {**record, "config": tomllib.loads(text)})
        save_text(self.path / CONFIG, text)

    def lengthen(self, run: Any) -> None:
        """Keep the config of a run that now takes more epochs, if it does.

        Raises:
            SettingError: it cannot be written.
        """
        before, text, record = self._entries(), to_toml(run), self.record()
        if before.get("epochs") == run.epochs:
            return
        record = {**record, "config": tomllib.loads(text)}
        record.pop("before", None)
        save_json(self.path / RECORD, {**record, "before": before})
        save_text(self.path / CONFIG, text)
        save_json(self.path / RECORD, record)

    def check_unbegun(self) -> None:
        """Whether a run may begin here: there is nothing that it would lose.

        Raises:
            SettingError: there are a run, checkpoints or metrics, or a pipe or device of a name.
        """
        if self.exists():
            raise SettingError(
                f"out {str(self.path)!r} holds a run already: resume it, or name another place"
            )
        held = (self.path / METRICS, 0), (self.path / TABLE, 1)  # a table has a header
        full = any(p.is_file() and p.read_bytes().count(b"\n") > lines for p, lines in held)
        if full or self.checkpoints.any():
            raise SettingError(
                f"{str(self.path)!r} holds {'metrics' if full else 'checkpoints'} of a run but no "
                f"{CONFIG}: put it back ({RECORD} has its entries), or name another place"
            )
        for name in (CONFIG, RECORD, METRICS, TABLE):
            if flows(self.path / name):
                raise SettingError(f"{str(self.path / name)!r} must be a regular file")

    def lock(self) -> None:
        """Keep other processes from writing here; until ``close``, or until this process ends.

        Raises:
            SettingError: another process trains here, or the folder cannot be written.
        """
        with written(self.path):
            place_of(self.path).mkdir(parents=True, exist_ok=True)  # a link may lead to none yet
            lock = FileLock(self.path / LOCK, timeout=0)
            try:
                lock.acquire()
            except Timeout:
                raise SettingError(
                    f"another process trains in {str(self.path)!r}: wait until it has ended, or "
                    "name another place"
                ) from None
        self._lock = lock
        self.checkpoints.clean()

    def config(self) -> Any:
        """The run's config.

        Raises:
            SettingError: the folder holds no run.
            DataError: the config is not the one that the run began with.
        """
        entries, record = self._entries(), self.record()
        kept = record.get("config")
        if not isinstance(kept, dict):
            raise DataError(f"{str(self.path / RECORD)!r} is damaged: its config is {kept!r}")
        if entries == record.get("before"):
            kept = entries  # killed while it was made longer
        for name in {**kept, **entries}:
            if name not in PLACES and kept.get(name) != entries.get(name):
                raise DataError(
                    f"{CONFIG} of {str(self.path)!r} says {_entry(name, entries)}, but the run "
                    f"began with {_entry(name, kept)}: put that back, or begin another run"
                )
        return self.kind.read(entries)

    def record(self) -> dict[str, Any]:
        """Versions, devices, config and data as the run began.

        Raises:
            DataError: it is damaged.
        """
        path = self.path / RECORD
        return _object(path, read_json(path))

    def check_data(self, found: dict[str, str], *, training: bool) -> None:
        """Whether the data are those that the run began with, as far as that was kept.

        Args:
            found: their fingerprint (``Task.fingerprint``).
            training: whether the training inputs too must be the same.

        Raises:
            DataError: they have changed.
        """
        kept = self.record().get("data")
        if not isinstance(kept, dict):
            raise DataError(f"{str(self.path / RECORD)!r} is damaged: its data are {kept!r}")
        for name, what in (("vocabulary", "words"), ("train", "training inputs")):
            if (training or name == "vocabulary") and kept.get(name) != found[name]:
                raise DataError(
                    f"the {what} of the data are not those that run {str(self.path)!r} began with: "
                    "the data have changed since"
                )

    def task(self) -> str:
        """The name of the task that the config holds.

        Raises:
            SettingError: the folder holds no run.
        """
        return str(self._entries().get("task", ""))

    def _entries(self) -> dict[str, Any]:
        if not (self.path / CONFIG).is_file():
            raise SettingError(f"{str(self.path)!r} holds no run (it has no {CONFIG})")
        return read_toml(self.path / CONFIG)

    def metrics(self) -> list[dict[str, Any]]:
        """The rows of metrics, a last incomplete line left out.

        Raises:
            DataError: a line is damaged.
        """
        path = self.path / METRICS
        if not path.is_file():
            return []
        return [_row(path, line) for line in read_bytes(path, LARGEST_JSON).split(b"\n")[:-1]]

    def append(self, rows: list[dict[str, Any]]) -> None:
        """Add rows of metrics, and have them on disk before this returns."""
        with written(self.path), (self.path / METRICS).open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row, allow_nan=False) + "\n" for row in rows)
            file.flush()
            os.fsync(file.fileno())
        with written(self.path), (self.path / TABLE).open("a", encoding="utf-8") as file:
            file.write(table(rows, header=False, columns=self.kind.columns))
        if self._boards is not None:
            self._boards.add(rows)

    def keep_metrics(self, epoch: int, *, tensorboard: bool = False) -> list[dict[str, Any]]:
        """Drop the rows after an epoch, which a resumed run will write again; the rest.

        With no epoch done, those of the first steps are written again too.

        Args:
            epoch: the last one to keep.
            tensorboard: whether logs for TensorBoard are to be written from now on, if they are
                not already.

        Raises:
            MissingPart: tensorboardX is not installed.
            DataError: rows up to the epoch are missing.
        """
        rows = [row for row in self.metrics() if row["epoch"] <= epoch > 0]
        if missing := set(range(1, epoch + 1)).difference(row["epoch"] for row in rows):
            raise DataError(
                f"{str(self.path / METRICS)!r} lacks rows of epoch {min(missing)}: put them back, "
                "or begin another run with start_from"
            )
        with atomic(self.path / METRICS) as temporary:
            temporary.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        save_text(self.path / TABLE, table(rows, header=True, columns=self.kind.columns))
        begun = (self.path / BOARDS).is_dir()
        if begun or tensorboard:
            check_tensorboard()
            (self.path / BOARDS).mkdir(exist_ok=True)
            self._boards = Boards(self.path / BOARDS, epoch + 1 if begun else 1)
            if not begun:
                self._boards.add(rows)
        return rows

    def save(self, state: Any, step: int, record: dict[str, Any], score: float) -> None:
        """Checkpoint the state after an epoch or step; ``score`` says which one is best.

        Raises:
            SettingError: it cannot be written.
        """
        self.checkpoints.save(state, step, record, score)

    def restore(self, like: Any, *, best: bool = False) -> tuple[Any, dict[str, Any], int] | None:
        """(state, record, step) of the newest or best checkpoint; None where there is none.

        The state is on the host, whatever devices it was saved from.

        Args:
            like: a state of the same structure.
            best: the best in place of the newest.

        Raises:
            DataError: the checkpoint is damaged or is of other networks.
        """
        step = self.checkpoints.best() if best else max(self.checkpoints.steps(), default=None)
        return None if step is None else (*self.checkpoints.load(step, like), step)

    def newest(self) -> dict[str, Any]:
        """The record of the newest checkpoint; empty where there is none.

        Raises:
            DataError: it is damaged.
        """
        steps = self.checkpoints.steps()
        return self.checkpoints.record(steps[-1]) if steps else {}

    def close(self) -> None:
        """Let go of the folder."""
        if self._boards is not None:
            self._boards.close()
            self._boards = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None


def _entry(name: str, entries: dict[str, Any]) -> str:
    return f"{name} = {entries[name]!r}" if name in entries else f"nothing of {name}"
