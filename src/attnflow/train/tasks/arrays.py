"""A task from arrays, or from the columns of a table, that hold the segments of every input."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from attnflow.errors import SettingError
from attnflow.train.tasks.task import Mosaics, Task

Set = tuple[Any, ...]
"""(segments [N, m, *shape], labels [N]), and, where known, true [N], and a mask [N, m]."""


def from_arrays(
    name: str,
    classes: int,
    train: Set,
    heldout: Set | None = None,
    test: Set | None = None,
    class_names: Sequence[str] = (),
) -> Task:
    """A task of inputs that are given as arrays.

    Where inputs share segments, a ``Task`` that names them by index needs less memory.

    Args:
        name: how it is shown.
        classes: C.
        train: (segments [N, m, *shape], labels [N]), and, where known, the place of the true
            segment [N] (-1 where not), and a mask [N, m], True where there is a segment. Segments
            are uint8 or real numbers, which become float32; labels go from 0 to C - 1.
        heldout: the same of inputs that choose the best epoch.
        test: the same of inputs that are only measured.
        class_names: what the classes are called.

    Raises:
        SettingError: arrays do not fit each other, or hold what they must not.
    """
    items, sets, first = [], {}, 0
    for part, given in (("train", train), ("heldout", heldout), ("test", test)):
        if given is None:
            continue
        if not (isinstance(given, tuple | list) and 2 <= len(given) <= 4):
            raise SettingError(
                f"{part} must be (segments, labels), or with true and mask after them, got "
                f"{type(given).__name__}"
            )
        segments, labels, true, mask = (*given, None, None)[:4]
        segments = np.asarray(segments)
        if segments.ndim < 3:
            raise SettingError(
                f"segments of {part} must have shape (N, m, *shape), got {segments.shape}"
            )
        count, places = segments.shape[:2]
        items.append(segments.reshape(-1, *segments.shape[2:]))
        numbers = first + np.arange(count * places, dtype=np.int32).reshape(count, places)
        first += count * places
        true = np.full(count, -1) if true is None else true
        sets[part] = Mosaics(numbers, labels, true, mask)
    shapes = {part.shape[1:] for part in items}
    widths = {inputs.segments.shape[1] for inputs in sets.values()}
    if len(shapes) > 1 or len(widths) > 1:
        raise SettingError(f"all sets must have segments of one shape and number, got {name}")
    return Task(name, np.concatenate(items), sets, classes, tuple(class_names))


def from_dataset(
    dataset: Any,
    segments: str = "segments",
    label: str = "label",
    true: str | None = None,
    *,
    name: str = "dataset",
    splits: Mapping[str, str] | None = None,
) -> Task:
    """A task from a dataset of Hugging Face's ``datasets`` (extra ``data``).

    Args:
        dataset: a ``DatasetDict``, or one ``Dataset``, which then is the training set.
        segments: column that holds the segments of an input: m arrays, lists or images of one
            shape. Where m differs between inputs, they are padded and masked.
        label: column of classes: a ``ClassLabel``, or whole numbers from 0.
        true: column of the place of the true segment (-1 where not known), if there is one.
        name: how the task is shown.
        splits: set -> split, such as {"heldout": "dev"}; by itself "train" is "train", "heldout"
            is "heldout" or "validation", and "test" is "test", where they are there.

    Raises:
        SettingError: a split or column is missing, or a column holds what it must not.

    Example:
        >>> datasets.load_from_disk("mosaics")  # doctest: +SKIP
        >>> train(Training(epochs=10), task=from_dataset(_, "patches"))  # doctest: +SKIP
    """
    tables = _tables(dataset, splits or {})
    asked = [column for column in (segments, label, true) if column is not None]
    for table, column in itertools.product(tables.values(), asked):
        if column not in table.column_names:
            raise SettingError(
                f"columns must be among {', '.join(table.column_names)}, got {column!r}"
            )
    class_names = tuple(getattr(tables["train"].features[label], "names", ()))
    inputs = {part: [_stacked(v, segments) for v in t[segments]] for part, t in tables.items()}
    most = max((len(value) for part in inputs.values() for value in part), default=0)
    sets: dict[str, tuple[Any, ...]] = {}
    for part, table in tables.items():
        labels = np.asarray(list(table[label]))
        if not np.issubdtype(labels.dtype, np.integer):
            raise SettingError(f"{label} must hold whole numbers, got {labels.dtype} in {part}")
        places = None if true is None else np.asarray(list(table[true]))
        sets[part] = (_padded(inputs[part], most, segments), labels, places)
        present = np.array([np.arange(most) < len(value) for value in inputs[part]])
        if not present.all():
            sets[part] += (present,)
    classes = len(class_names) or 1 + max(int(labels.max()) for _, labels, *_ in sets.values())
    return from_arrays(
        name, classes, sets["train"], sets.get("heldout"), sets.get("test"), class_names
    )


def _tables(dataset: Any, splits: Mapping[str, str]) -> dict[str, Any]:
    """The table of each set: as named, else by the usual names of splits."""
    given = dataset if isinstance(dataset, Mapping) else {"train": dataset}
    usual = {"train": ("train",), "heldout": ("heldout", "validation"), "test": ("test",)}
    found = {part: next((s for s in known if s in given), None) for part, known in usual.items()}
    for part, split in splits.items():
        if part not in found or split not in given:
            raise SettingError(
                f"splits must name train, heldout, test and splits among {', '.join(given)}, got "
                f"{part}={split!r}"
            )
        found[part] = split
    if found["train"] is None:
        raise SettingError(f"dataset must have a split train, got {', '.join(given)}; name splits")
    return {part: given[split] for part, split in found.items() if split is not None}


def _padded(inputs: list[np.ndarray], most: int, column: str) -> np.ndarray:
    """Inputs of different numbers of segments as one array [n, most, *shape], filled up with 0."""
    filled = [np.pad(v, [(0, most - len(v)), *[(0, 0)] * (v.ndim - 1)]) for v in inputs]
    shapes = sorted({value.shape[1:] for value in filled})
    if len(shapes) != 1:
        raise SettingError(f"{column} must hold segments of one shape, got {shapes[:3]}")
    return np.stack(filled)


def _stacked(value: Any, column: str) -> np.ndarray:
    """The segments of one input as an array [m, *shape]."""
    try:
        return np.stack([np.asarray(segment) for segment in value])
    except (ValueError, TypeError) as error:
        raise SettingError(f"{column} must hold segments of one shape: {error}") from error
