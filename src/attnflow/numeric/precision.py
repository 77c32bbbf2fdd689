"""float64 on demand: run a computation in 64-bit JAX without changing the user's settings."""

from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import jax
import numpy as np
from jax.core import Tracer

from attnflow.errors import PrecisionError


def traced(*trees: Any) -> bool:
    """Whether any leaf is a tracer, that is, whether a transformation of the user's is running."""
    return any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(trees))


def float64(
    function: Callable[..., Any] | None = None, *, called: str | None = None
) -> Callable[..., Any]:
    """Let a function compute in float64, whatever the global JAX setting, which stays as it is.

    Called from plain Python it runs under a local ``jax.enable_x64``; where JAX is globally in
    32-bit mode the arrays come back as NumPy float64 arrays (JAX would round them to float32 at
    the next operation), else as JAX arrays. Inside a user's transformation 64-bit mode must be on.

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
            return function(*args, **kwargs)
        with jax.enable_x64(True):
            result = function(*args, **kwargs)
            return jax.tree.map(lambda a: np.asarray(a) if isinstance(a, jax.Array) else a, result)

    return wrapped
