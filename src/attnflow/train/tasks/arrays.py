"""A task from arrays that hold the segments of every input."""

from collections.abc import Sequence
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
