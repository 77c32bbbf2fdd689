"""Times to compute at: given ones checked, or a grid up to a horizon that shows every phase."""

import math
from typing import Any

import numpy as np
from jaxtyping import Float

from attnflow.errors import SettingError
from attnflow.numeric.trajectory import Reduced, reduce_setting
from attnflow.settings import (
    Setting,
    check,
    check_number,
    check_setting,
    nonnegative,
    positive,
    whole,
)

GRIDS = ("linear", "log")

MOST_POINTS = 10_000_000
"""More times than this do not fit the memory of a small machine."""


def check_times(times: Any) -> Float[np.ndarray, " times"]:
    """The times as a float64 array, if they are finite, not negative and increase strictly.

    Raises:
        SettingError: they do not; the message gives the first offending value.
    """
    check("times", times, "finite and at least 0", nonnegative)
    array = np.asarray(times, dtype=np.float64)
    if array.ndim != 1 or array.size == 0:
        raise SettingError(
            f"times must be a list of at least one time, got an array of shape {array.shape}"
        )
    falls = np.flatnonzero(np.diff(array) <= 0)
    if falls.size:
        here = falls[0]
        raise SettingError(
            f"times must increase strictly, got {array[here + 1]:g} after {array[here]:g}"
        )
    return array


MOST_EXTREME = 1e300
"""Of a time scale, and its inverse: what a default horizon can be laid out from."""


def default_horizon(setting: Setting, grid: str = "linear") -> float:
    """A last time that shows the onset and the late phase of every paradigm, 1, 2 or 5 x 10^n.

    Five times C (1 + B/sqrt(rho))/tau, that is 5 m C in the simple setting, rounded up: the focus
    sets in near 1.25 m C, and rho speeds it up by its square root (mu must grow until
    rho mu^2/2 is of order 1). A logarithmic axis has room for a hundred times that.

    Args:
        setting: a Setting of numbers.
        grid: "linear" or "log".

    Raises:
        SettingError: an argument is outside what is allowed.
    """
    check_setting(setting, "default_horizon")
    _check_grid(grid)
    with np.errstate(all="ignore"):
        scale = 5.0 * float(_natural_time(setting))
    if not MOST_EXTREME**-1 <= scale <= MOST_EXTREME:
        raise SettingError(
            f"this setting has no default horizon (its time scale is {scale:g}): give times or a "
            f"horizon, or norms and rates nearer to 1"
        )
    power = math.floor(math.log10(scale))
    first = next(f for f in (1, 2, 5, 10) if f * 10.0**power >= scale * (1 - 1e-9))
    return float(f"{first}e{power + (2 if grid == 'log' else 0)}")


def _natural_time(setting: Setting) -> Any:
    reduced: Reduced = reduce_setting(setting)
    return reduced.classes * (1 + reduced.ratio / np.sqrt(reduced.focus)) / reduced.speed


def _check_grid(grid: str) -> None:
    if grid not in GRIDS:
        raise SettingError(f"grid must be one of {', '.join(GRIDS)}, got {grid!r}")


def default_times(
    setting: Setting, *, horizon: float | None = None, points: int = 401, grid: str = "linear"
) -> Float[np.ndarray, " times"]:
    """Times up to a horizon, evenly spaced from 0 or in the logarithm over five decades.

    Args:
        setting: a Setting of numbers; only used for the default horizon.
        horizon: last time, above 0; ``default_horizon(setting, grid)`` if None.
        points: how many, from 2 to ten million.
        grid: "linear" or "log".

    Raises:
        SettingError: an argument is outside what is allowed.
    """
    _check_grid(grid)
    last = default_horizon(setting, grid) if horizon is None else horizon
    last = check_number("horizon", last, "a finite number above 0", positive)
    allowed = f"a whole number from 2 to {MOST_POINTS}"
    check_number("points", points, allowed, lambda v: whole(2)(v) & (v <= MOST_POINTS))
    if grid == "linear":
        return np.linspace(0.0, last, int(points))
    times = np.geomspace(1e-5 * last, last, int(points))
    times[-1] = last
    return times
