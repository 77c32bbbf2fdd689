"""Checkpoints of a run: a folder for each, with the state as NumPy arrays and a record of it.

``checkpoints/12/state.npz`` holds the arrays by path, ``record.json`` what else is to be known and
the SHA-256 of both, so that damage anywhere is noticed. Each folder is written under a temporary
name and renamed when it is complete and on disk.
"""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np

from attnflow.errors import DataError, SettingError
from attnflow.files import new_folder
from attnflow.reading import open_npz, read_json

STATE, RECORD = "state.npz", "record.json"
LATEST_KEPT = 2


def named_leaves(tree: Any) -> dict[str, np.ndarray]:
    """The leaves of a pytree by path, in the order of the paths, on the host."""
    paths, _ = jax.tree_util.tree_flatten_with_path(tree)
    named = {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in paths}
    return dict(sorted(named.items()))


def filled(like: Any, arrays: dict[str, np.ndarray]) -> Any:
    """A pytree of the structure of another, with these arrays by path."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: arrays[jax.tree_util.keystr(path)], like
    )


def digest(weights: Any) -> str:
    """SHA-256 over all parameters: path, shape, type and bytes of each, in the order of paths."""
    return digest_of(named_leaves(weights))


def digest_of(leaves: dict[str, np.ndarray]) -> str:
    """SHA-256 over parameters that are given by path, in order."""
    found = hashlib.sha256()
    for name, leaf in leaves.items():
        found.update(f"{name} {leaf.shape} {leaf.dtype.str}\n".encode())
        found.update(np.ascontiguousarray(leaf).tobytes())
    return found.hexdigest()


def _seal(record: dict[str, Any]) -> str:
    """SHA-256 of a record without the entry that holds it."""
    rest = {name: value for name, value in record.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


class Checkpoints:
    """The checkpoints in a folder: the newest two and the best one are kept.

    Args:
        path: the folder; it is made when the first one is saved.
    """

    def __init__(self, path: Path) -> None:
        """Name the folder; nothing is made or read yet."""
        self.path = path
        self._proved = False

    def steps(self) -> list[int]:
        """Numbers of the checkpoints, ascending."""
        if not self.path.is_dir():
            return []
        names = (entry.name for entry in os.scandir(self.path))
        return sorted(int(name) for name in names if name.isascii() and name.isdigit())

    def any(self) -> bool:
        """Whether the folder holds anything that is whole, checkpoint or not."""
        found = os.listdir(self.path) if self.path.is_dir() else ()
        return not all(name.startswith(".") for name in found)

    def clean(self) -> None:
        """Remove what a process that was killed left half-written; the run must be locked."""
        for entry in os.scandir(self.path) if self.path.is_dir() else ():
            if entry.name.startswith("."):
                shutil.rmtree(entry.path, ignore_errors=True)

    def save(self, state: Any, step: int, record: dict[str, Any], score: float) -> None:
        """Keep a state; the first one that is written is read back.

        Args:
            state: a pytree of arrays.
            step: the checkpoint's number, which must grow.
            record: plain values that belong to it.
            score: the larger, the better; says which is best.

        Raises:
            SettingError: it cannot be written, or does not read back equal.
        """
        arrays: dict[str, Any] = {n: _plain(leaf) for n, leaf in named_leaves(state).items()}
        sealed = {**record, "step": step, "score": float(score), "state": digest(arrays)}
        sealed["sha256"] = _seal(sealed)
        with new_folder(self.path / str(step)) as made:
            with (made / STATE).open("wb") as file:
                np.savez(file, **arrays)
                _on_disk(file)
            with (made / RECORD).open("w", encoding="utf-8") as file:
                file.write(json.dumps(sealed, allow_nan=False, indent=2) + "\n")
                _on_disk(file)
        if not self._proved:
            try:
                self.load(step, state)
            except DataError as error:
                raise SettingError(
                    f"{str(self.path)!r} does not keep what is written: {error}"
                ) from error
            self._proved = True
        self._drop_old()

    def record(self, step: int) -> dict[str, Any]:
        """What was kept with a state.

        Raises:
            DataError: it is damaged.
        """
        try:
            found = read_json(self.path / str(step) / RECORD)
            if not isinstance(found, dict) or found.get("sha256") != _seal(found):
                raise ValueError("its record is not the one that was kept (SHA-256)")
            if found.get("step", step) != step:
                raise ValueError(f"it is checkpoint {found['step']} under another name")
        except ValueError as error:
            raise self._damaged(step, error) from error
        return found

    def arrays(self, step: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """(arrays of the state by path, record) of a checkpoint.

        Raises:
            DataError: it is damaged.
        """
        record = self.record(step)
        try:
            with open_npz(self.path / str(step) / STATE) as stored:
                found = {name: stored[name] for name in stored.files}
        except Exception as error:  # zip and its compressions raise many kinds
            raise self._damaged(step, error) from error
        if digest(found) != record.get("state"):
            raise self._damaged(step, ValueError("its state is not the one that was kept"))
        return found, record

    def load(self, step: int, like: Any) -> tuple[Any, dict[str, Any]]:
        """(state, record) of a checkpoint, the state on the host.

        Args:
            step: its number.
            like: a state of the same structure.

        Raises:
            DataError: it is damaged or of other networks.
        """
        found, record = self.arrays(step)
        wanted = named_leaves(like)
        shapes = {name: leaf.shape for name, leaf in found.items()}
        if shapes != {name: leaf.shape for name, leaf in wanted.items()}:
            raise DataError(f"checkpoint {step} in {str(self.path)!r} is of other networks")
        return filled(like, {name: _as(found[name], leaf) for name, leaf in wanted.items()}), record

    def best(self) -> int | None:
        """Number of the one of largest score, the newest of several; None where there is none.

        Raises:
            DataError: a record is damaged.
        """
        scores = {step: float(self.record(step)["score"]) for step in self.steps()}
        return max(scores, key=lambda step: (scores[step], step), default=None)

    def _drop_old(self) -> None:
        steps, scores = self.steps(), {}
        for step in steps:
            try:
                scores[step] = float(self.record(step)["score"])
            except DataError:
                continue  # damaged ones are left to look at
        best = max(scores, key=lambda step: (scores[step], step), default=None)
        for step in scores:
            if step not in steps[-LATEST_KEPT:] and step != best:
                shutil.rmtree(self.path / str(step))

    def _damaged(self, step: int, error: Exception) -> DataError:
        before = [one for one in self.steps() if one < step]
        folder = str(self.path / str(step))
        said = str(error).strip().partition("\n")[0] or type(error).__name__
        return DataError(
            f"checkpoint {folder!r} is damaged: {said}; "
            + (
                f"remove that folder to go on from checkpoint {before[-1]}"
                if before
                else "there is none before it, so the run has to begin anew"
            )
        )


def _plain(leaf: np.ndarray) -> np.ndarray:
    """An array of a type that NumPy's files know; bfloat16 and the like as their bytes."""
    return leaf.view(f"V{leaf.dtype.itemsize}") if leaf.dtype.kind == "V" else leaf


def _as(stored: np.ndarray, like: np.ndarray) -> np.ndarray:
    """The array in the type that it had."""
    same = stored.dtype == like.dtype
    if same or stored.dtype.kind != "V" or stored.dtype.itemsize != like.dtype.itemsize:
        return stored
    return stored.view(like.dtype)


def _on_disk(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())
