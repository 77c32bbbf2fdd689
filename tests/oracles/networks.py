"""Networks with random weights that nothing has to be compiled for."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx


def filled(make: Callable[[], Any], seed: int, size: float = 0.5) -> Any:
    """A network of that shape, all its weights (biases, too) normal with that deviation."""
    graph, weights = nnx.split(nnx.eval_shape(make))
    random = np.random.default_rng(seed)

    def draw(leaf: Any) -> Any:
        return jnp.asarray(random.normal(scale=size, size=leaf.shape), jnp.float32)

    return nnx.merge(graph, jax.tree.map(draw, weights))
