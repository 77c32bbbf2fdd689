"""One implementation over two array namespaces: NumPy for concrete numbers, jax.numpy for JAX's.

NumPy answers at once; JAX is what may be traced, differentiated and put on a device. Code that
serves both asks ``namespace`` which one its arguments belong to. JAX is not imported for NumPy's
sake.
"""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import wrapt

if TYPE_CHECKING:
    import jax

    Array = jax.Array | np.ndarray
else:
    Array = Any  # at run time JAX need not be there

Kind = TypeVar("Kind")


def namespace(*values: Any) -> Any:
    """jax.numpy if any value is a JAX array or tracer, else numpy."""
    jax = sys.modules.get("jax")
    if jax is None:
        return np
    for value in values:
        if type(value) not in _PLAIN and isinstance(value, jax.Array):
            return jax.numpy
    return np


_PLAIN = {np.ndarray, np.float64, float, int}  # known at once


def traced(*trees: Any) -> bool:
    """Whether any leaf is a tracer, that is, whether a transformation of the user's is running."""
    jax = sys.modules.get("jax")
    if jax is None or all(type(tree) in _PLAIN for tree in trees):
        return False
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(trees))


def concrete(tree: Any) -> Any:
    """The tree with its JAX arrays as NumPy's; as it is where a tracer is among them."""
    jax = sys.modules.get("jax")
    if jax is None or traced(tree):
        return tree
    return jax.tree.map(lambda a: np.asarray(a) if isinstance(a, jax.Array) else a, tree)


def while_loop(xp: Any, going: Callable[[Any], Any], step: Callable[[Any], Any], state: Any) -> Any:
    """``step`` for as long as ``going``: a Python loop in NumPy, ``lax.while_loop`` in JAX."""
    if xp is np:
        while going(state):
            state = step(state)
        return state
    from jax import lax

    return lax.while_loop(going, step, state)


def quiet() -> Any:
    """A context without NumPy's warnings: both branches of a ``where`` are computed."""
    return np.errstate(all="ignore")


def pytree(kind: type[Kind]) -> type[Kind]:
    """Make a frozen dataclass a JAX pytree, now or as soon as JAX is imported."""
    wrapt.register_post_import_hook(lambda jax: jax.tree_util.register_dataclass(kind), "jax")
    return kind
