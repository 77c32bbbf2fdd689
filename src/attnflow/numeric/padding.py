"""Few lengths for many: programs compiled for a number of times serve its neighbours too.

JAX compiles a program for each shape. Arrays over times are brought to one of few lengths by
repeating their last entry, and what is computed of them is cut back.
"""

from typing import Any

import numpy as np

from attnflow.numeric.precision import traced

SHARED = 1024
"""Up to so many times lengths are shared; beyond, a computation costs more than its program."""

SHORTEST = 5
"""No array becomes shorter."""


def length(count: int) -> int:
    """How long arrays of ``count`` entries become: 5, or the next power of two up to 1024."""
    if not 0 < count <= SHARED:
        return count
    return SHORTEST if count <= SHORTEST else 1 << (count - 1).bit_length()


def lengthened(values: Any) -> Any:
    """Concrete values of any shape as a flat NumPy array of such a length."""
    flat = np.ravel(values)
    return np.pad(flat, (0, length(flat.size) - flat.size), mode="edge")


def cut(values: Any, shape: tuple[int, ...]) -> Any:
    """From values along such a length those of the entries that there were, in their shape."""
    if np.shape(values) == shape:
        return values
    # concrete arguments give tracers too where a caller's function is being compiled
    held = values if traced(values) else np.asarray(values)
    return held[: np.prod(shape, dtype=int)].reshape(shape)
