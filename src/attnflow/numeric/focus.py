"""From a focus weight to the focus score that gives it, in any setting."""

from functools import lru_cache
from typing import Any

import jax.numpy as jnp
import sympy as sp
from jaxtyping import ArrayLike, Float

from attnflow.numeric.lower import lower
from attnflow.numeric.precision import float64
from attnflow.numeric.trajectory import reduce_setting
from attnflow.settings import Setting, check
from attnflow.symbols import B, alpha, attention, nu


@lru_cache
def _score() -> Any:
    """Nu as a function of (alpha, B): the definition of the focus weight, solved for nu."""
    (inverse,) = sp.solve(sp.Eq(attention, alpha), nu)
    return lower(inverse, (alpha, B), as_written=True)


def focus_score(weight: Float[ArrayLike, "..."], setting: Setting) -> Any:
    """The nu at which the focus weight alpha is ``weight``.

    Args:
        weight: alpha, above 0 and below 1, number or array that broadcasts with the setting's.
        setting: the Setting.

    Returns:
        nu, float64.

    Raises:
        SettingError: a weight is not within (0, 1).
    """
    check("alpha", weight, "a number above 0 and below 1", lambda a: (a > 0) & (a < 1))
    return _focus_score(weight, setting)


@float64
def _focus_score(weight: Any, setting: Setting) -> Any:
    return _score()(jnp.asarray(weight, jnp.float64), reduce_setting(setting).ratio)
