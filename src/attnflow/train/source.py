"""The run that another one goes on from: its weights, or its config with more epochs."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from attnflow.errors import DataError, SettingError
from attnflow.train.checkpoints import digest_of, filled, named_leaves
from attnflow.train.run_folder import RunFolder

PREFIX = "['weights']"


def _newest(place: str) -> dict[str, np.ndarray]:
    """The weights of a run's newest checkpoint by path; of one run alone without its axis.

    Raises:
        SettingError: there is no run, or none with a checkpoint.
        DataError: the checkpoint is damaged.
    """
    folder = RunFolder(place)
    folder.task()
    steps = folder.checkpoints.steps()
    if not steps:
        raise SettingError(
            f"start_from must be a run that has trained: {place!r} has no checkpoint"
        )
    arrays, _ = folder.checkpoints.arrays(steps[-1])
    found = {n.removeprefix(PREFIX): a for n, a in arrays.items() if n.startswith(PREFIX)}
    if all(leaf.shape[:1] == (1,) for leaf in found.values()):
        return {name: leaf[0] for name, leaf in found.items()}
    return found


def with_source(run: Any) -> Any:
    """The config with the SHA-256 of the weights that it starts from, which ``evaluate`` tells too.

    Raises:
        SettingError: there is no such run, or none with a checkpoint.
        DataError: its weights are damaged, or others than the config says.
    """
    if run.start_from is None:
        return replace(run, start_weights=None)
    found = digest_of(_newest(run.start_from))
    if run.start_weights not in (None, found):
        raise DataError(
            f"run {run.start_from!r} holds other weights than this config began with (SHA-256 "
            f"{found}, not {run.start_weights}): it has been trained on since"
        )
    return replace(run, start_weights=found)


def source_weights(run: Any, like: Any, vocabulary: str) -> Any:
    """The weights to start from: of one run for all that train at once, or of as many.

    Args:
        run: the config.
        like: weights of the structure that is needed.
        vocabulary: SHA-256 of the words that the weights are to know.

    Raises:
        SettingError: they are of other networks, other words or another number of runs.
        DataError: they have changed, or are damaged.
    """
    with_source(run)
    held, wanted = _newest(run.start_from), named_leaves(like)
    place = f"start_from {run.start_from!r}"
    known = RunFolder(run.start_from).record().get("data")
    if isinstance(known, dict) and known.get("vocabulary") != vocabulary:
        raise SettingError(f"{place} knows other words than this run")
    if held.keys() != wanted.keys():
        raise SettingError(f"{place} is of other networks than this run")
    shapes = [(held[name].shape, leaf.shape) for name, leaf in wanted.items()]
    if all(ours in (here, here[1:]) for ours, here in shapes):
        return filled(like, {n: np.broadcast_to(held[n], leaf.shape) for n, leaf in wanted.items()})
    runs = {(ours[:1], here[:1]) for ours, here in shapes}
    if len(runs) == 1 and all(ours[1:] == here[1:] for ours, here in shapes):
        [((ours,), (here,))] = runs
        raise SettingError(f"{place} must hold one run, or the {here} that train here, got {ours}")
    raise SettingError(f"{place} is of other networks than this run")


def lengthened(kept: Any, asked: Any, place: Path) -> Any:
    """The config of a run that is resumed under another, which may have more epochs.

    Shares of epochs in its schedule stay the epochs that they were, so that the config repeats it.

    Raises:
        SettingError: they differ in something else, or the run cannot be longer.
    """
    same = {"epochs": kept.epochs, "start_weights": kept.start_weights}
    if replace(asked, **same) != kept:
        raise SettingError(
            f"{str(place)!r} holds a run with another config: resume it without options, or with "
            "more epochs"
        )
    if asked.epochs == kept.epochs:
        return kept
    if asked.epochs < kept.epochs:
        raise SettingError(
            f"epochs of a run that is resumed must be at least those it has, {kept.epochs}, got "
            f"{asked.epochs}"
        )
    if kept.rate_schedule != "constant":
        raise SettingError(
            f"a run whose rate follows a {kept.rate_schedule} over its epochs cannot be longer: "
            f"begin another with start_from {str(place)!r}"
        )
    return replace(kept, epochs=asked.epochs, paradigm=str(kept.schedule))
