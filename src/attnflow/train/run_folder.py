"""The folder of a run: config, versions, metrics and checkpoints, each whole or not there."""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from attnflow.errors import DataError, SettingError
from attnflow.files import atomic, save_json, save_text
from attnflow.reading import parse_json, read_toml
from attnflow.train.config import from_dict, to_toml
from attnflow.train.logs import COLUMNS, Boards, check_tensorboard, table

CONFIG, RECORD, METRICS, CHECKPOINTS = "config.toml", "run.json", "metrics.jsonl", "checkpoints"
TABLE, BOARDS = "metrics.csv", "tensorboard"
LATEST_KEPT = 2
ROW = ("epoch", "seed", "learning_rate", "paradigm", "step", "time", "loss", "sets")
"""What every row of metrics has."""


class Kind(NamedTuple):
    """What differs between kinds of runs.

    Attributes:
        read: from plain values to a config.
        columns: of the table of metrics.
    """

    read: Callable[[dict[str, Any]], Any]
    columns: tuple[str, ...]


PLAIN = Kind(from_dict, COLUMNS)
"""Runs of a focus and a classification network."""


def _json(path: Path, text: str, *keys: str) -> dict[str, Any]:
    """An object of a file, which must have these entries."""
    found = parse_json(text, repr(str(path)))
    if not (isinstance(found, dict) and found.keys() >= {*keys}):
        raise DataError(f"{str(path)!r} is damaged: it holds {text[:40]!r}")
    return found


def _short(error: Exception) -> str:
    """What an error of the storage says, without the settings that it lists after that."""
    said = str(error).partition(" [tensorstore_spec")[0].splitlines()
    return said[0] if said else type(error).__name__


def named_leaves(tree: Any) -> dict[str, np.ndarray]:
    """The leaves of a pytree by path, in the order of the paths, on the host."""
    paths, _ = jax.tree_util.tree_flatten_with_path(tree)
    named = {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in paths}
    return dict(sorted(named.items()))


def digest(weights: Any) -> str:
    """SHA-256 over all parameters: path, shape, type and bytes of each, in the order of paths."""
    found = hashlib.sha256()
    for name, leaf in named_leaves(weights).items():
        found.update(f"{name} {leaf.shape} {leaf.dtype.str}\n".encode())
        found.update(np.ascontiguousarray(leaf).tobytes())
    return found.hexdigest()


@contextmanager
def _quiet() -> Iterator[None]:
    """Without orbax's remarks on options that were meant."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


class RunFolder:
    """A run on disk.

    Checkpoints are orbax's: a folder under a temporary name, renamed when complete; the newest
    two and the best one are kept. Metrics are one JSON object a line and run, and a table.

    Args:
        path: the folder.
        kind: of the run.
    """

    def __init__(self, path: str | os.PathLike[str], kind: Kind = PLAIN) -> None:
        """Name the folder; nothing is made or read yet."""
        self.path, self.kind = Path(path), kind
        self._manager: Any = None
        self._boards: Boards | None = None

    def exists(self) -> bool:
        """Whether there is a run."""
        return (self.path / CONFIG).exists()

    def begin(self, run: Any, record: dict[str, Any], *, tensorboard: bool = False) -> None:
        """Make the folder of a new run.

        Args:
            run: its config.
            record: versions and devices.
            tensorboard: whether logs for TensorBoard are written too.

        Raises:
            SettingError: it holds a run already, or cannot be written.
            MissingPart: tensorboardX is not installed.
        """
        if tensorboard:
            check_tensorboard()
        if self.exists():
            raise SettingError(
                f"out {str(self.path)!r} holds a run already: resume it, or name another place"
            )
        save_json(self.path / RECORD, record)
        save_text(self.path / METRICS, "")
        save_text(self.path / TABLE, table([], header=True, columns=self.kind.columns))
        if tensorboard:
            (self.path / BOARDS).mkdir(exist_ok=True)
            self._boards = Boards(self.path / BOARDS, 1)
        save_text(self.path / CONFIG, to_toml(run))

    def config(self) -> Any:
        """The run's config.

        Raises:
            SettingError: the folder holds no run.
        """
        return self.kind.read(self._entries())

    def record(self) -> dict[str, Any]:
        """Versions, devices and data as the run began; empty where that was not kept."""
        path = self.path / RECORD
        return _json(path, path.read_text(encoding="utf-8")) if path.is_file() else {}

    def check_data(self, found: dict[str, str], *, training: bool) -> None:
        """Whether the data are those that the run began with, as far as that was kept.

        Args:
            found: their fingerprint (``Task.fingerprint``).
            training: whether the training inputs too must be the same.

        Raises:
            DataError: they have changed.
        """
        kept = self.record().get("data", found)
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
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
        return [_json(path, line, *ROW) for line in lines]

    def append(self, rows: list[dict[str, Any]]) -> None:
        """Add rows of metrics, and have them on disk before this returns."""
        with (self.path / METRICS).open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row, allow_nan=False) + "\n" for row in rows)
            file.flush()
            os.fsync(file.fileno())
        with (self.path / TABLE).open("a", encoding="utf-8") as file:
            file.write(table(rows, header=False, columns=self.kind.columns))
        if self._boards is not None:
            self._boards.add(rows)

    def keep_metrics(self, epoch: int, *, tensorboard: bool = False) -> list[dict[str, Any]]:
        """Drop the rows after an epoch, which a resumed run will write again; the rest.

        Args:
            epoch: the last one to keep.
            tensorboard: whether logs for TensorBoard are to be written from now on, if they are
                not already.

        Raises:
            MissingPart: tensorboardX is not installed.
        """
        rows = [row for row in self.metrics() if row["epoch"] <= epoch]
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

    def _checkpoints(self, *, write: bool) -> Any:
        if self._manager is None:
            import orbax.checkpoint as ocp
            from orbax.checkpoint import checkpoint_managers as policies

            def score(metrics: Any) -> float:
                return metrics["score"]

            keep = policies.AnyPreservationPolicy(
                [policies.LatestN(LATEST_KEPT), policies.BestN(get_metric_fn=score, n=1)]
            )
            place = (self.path / CHECKPOINTS).absolute()
            if write:
                place.mkdir(parents=True, exist_ok=True)
            here = jax.process_index()
            with _quiet():
                options = ocp.CheckpointManagerOptions(
                    preservation_policy=keep,
                    best_fn=score,  # else scores are not written, and the newest counts as best
                    create=False,
                    read_only=not write,
                    cleanup_tmp_directories=write,
                    enable_async_checkpointing=False,
                    # this process alone: the others of a distributed run do not look here
                    multiprocessing_options=ocp.options.MultiprocessingOptions(
                        primary_host=here,
                        active_processes={here},
                    ),
                )
                self._manager = ocp.CheckpointManager(place, options=options)
        return self._manager

    def save(self, state: Any, epoch: int, record: dict[str, Any], score: float) -> None:
        """Checkpoint the state after an epoch; ``score`` says which checkpoint is best."""
        import orbax.checkpoint as ocp

        self._checkpoints(write=True).save(
            epoch,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(named_leaves(state)), record=ocp.args.JsonSave(record)
            ),
            metrics={"score": score},
            force=True,
        )

    def restore(
        self, like: Any, *, best: bool = False, write: bool = False
    ) -> tuple[Any, dict[str, Any], int] | None:
        """(state, record, epoch) of the newest or best checkpoint; None where there is none.

        The state is on the host, whatever devices it was saved from.

        Args:
            like: a state of the same structure.
            best: the best in place of the newest.
            write: whether the run will go on.

        Raises:
            DataError: the checkpoint is damaged or is of other networks.
        """
        import orbax.checkpoint as ocp

        if not write and not (self.path / CHECKPOINTS).is_dir():
            return None
        manager = self._checkpoints(write=write)
        epoch = manager.best_step() if best else manager.latest_step()
        if epoch is None:
            return None
        named = named_leaves(like)
        try:
            found = manager.restore(
                epoch,
                args=ocp.args.Composite(
                    state=ocp.args.StandardRestore(named), record=ocp.args.JsonRestore()
                ),
            )
        except Exception as error:  # orbax and its storage raise many kinds
            raise DataError(
                f"checkpoint {epoch} of {str(self.path)!r} is damaged or of other networks: "
                f"{_short(error)}"
            ) from error
        paths, structure = jax.tree_util.tree_flatten_with_path(like)
        leaves = [np.asarray(found["state"][jax.tree_util.keystr(path)]) for path, _ in paths]
        state = jax.tree_util.tree_unflatten(structure, leaves)
        return state, dict(found["record"]), int(epoch)

    def close(self) -> None:
        """Let go of the checkpoints."""
        if self._manager is not None:
            self._manager.close()
            self._manager = None
        if self._boards is not None:
            self._boards.close()
            self._boards = None
