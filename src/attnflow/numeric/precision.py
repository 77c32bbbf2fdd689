"""float64 on demand: compute in it without changing the user's JAX settings."""

import sys
from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import numpy as np

from attnflow.errors import PrecisionError
from attnflow.numeric.namespace import traced as traced


def float64(
    function: Callable[..., Any] | None = None, *, called: str | None = None
) -> Callable[..., Any]:
    """Let a function compute in float64, whatever the global JAX setting, which stays as it is.

    Called from plain Python it runs under a local ``jax.enable_x64`` (if JAX is imported at all);
    where JAX is globally in 32-bit mode the arrays come back as NumPy float64 arrays (JAX would
    round them to float32 at the next operation), else as JAX arrays. Inside a user's transformation
    64-bit mode must be on.

    Args:
        function: what is decorated.
        called: how its user knows it, for the message; its own name if None.

    Raises:
        PrecisionError: called inside a transformation with 64-bit mode off.
    """
    if function is None:
        return partial(float64, called=called)
    name = called or function.__name__.strip("_")

    @wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        jax = sys.modules.get("jax")
        if jax is None:
            return function(*args, **kwargs)
        enabled = jax.dtypes.canonicalize_dtype(np.float64) == np.float64
        if traced(args, kwargs):
            if not enabled:
                raise PrecisionError(
                    f"{name} computes in float64, but runs here inside a "
                    f"JAX transformation with 64-bit mode off: wrap the outer call in "
                    f"'with jax.enable_x64(True):' or set jax_enable_x64"
                )
            return function(*args, **kwargs)
        if enabled:
            result, kind, make = function(*args, **kwargs), np.ndarray, jax.numpy.asarray
        else:
            with jax.enable_x64(True):
                result, kind, make = function(*args, **kwargs), jax.Array, np.asarray
        return jax.tree.map(lambda a: make(a) if isinstance(a, kind | np.generic) else a, result)

    return wrapped
