"""What is known of the true segments, be it one place or several, against the focus's weights.

Where one place is true, alpha is the weight there and beta the probability of the class there.
Where several may be, alpha is their weight together and beta the probability of the class on a
true segment drawn by its weight, so that the probability of the class on any segment drawn by
weight stays alpha beta + (1 - alpha) (that of the others). Inputs without a true segment are of
unknown truth and left out of every mean.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from attnflow.train.tasks.task import Mosaics


def any_known(inputs: Mosaics) -> bool:
    """Whether the true segments of any input are known; of sets on the host."""
    return inputs.truth is None or bool(np.any(np.asarray(inputs.truth)))


def known(inputs: Mosaics) -> Bool[Any, " N"] | None:
    """Of which inputs the true segments are known; None where of all."""
    return None if inputs.truth is None else inputs.truth.any(axis=1)


def mean_known(values: Float[Array, " N"], inputs: Mosaics) -> Float[Array, ""]:
    """Mean over the inputs of known truth."""
    return jnp.mean(values, where=known(inputs))


def place(inputs: Mosaics) -> Int[Array, " N"]:
    """The true place of each input, 0 where not known; for one true segment."""
    return jnp.maximum(inputs.true, 0)


def weight_on_true(inputs: Mosaics, log_weights: Float[Array, "N m"]) -> Float[Array, " N"]:
    """alpha of each input; 0 where not known if several segments may be true."""
    if inputs.truth is None:
        return jnp.exp(jnp.take_along_axis(log_weights, place(inputs)[:, None], 1)[:, 0])
    return jnp.sum(jnp.where(inputs.truth, jnp.exp(log_weights), 0.0), axis=1)


def class_on_true(
    inputs: Mosaics, log_weights: Float[Array, "N m"], each: Float[Array, "N m"]
) -> Float[Array, " N"]:
    """beta of each input, from the log-probability of the label on each segment."""
    if inputs.truth is None:
        return jnp.exp(jnp.take_along_axis(each, place(inputs)[:, None], 1)[:, 0])
    # unknown: any numbers that are finite, since they are left out
    true = inputs.truth | ~inputs.truth.any(axis=1, keepdims=True)
    joint = jnp.where(true, log_weights + each, -jnp.inf)
    alone = jnp.where(true, log_weights, -jnp.inf)
    return jnp.exp(jax.nn.logsumexp(joint, axis=1) - jax.nn.logsumexp(alone, axis=1))


def is_true(inputs: Mosaics, chosen: Int[Any, " N"]) -> Bool[Any, " N"]:
    """Whether the chosen segment of each input is a true one."""
    if inputs.truth is None:
        return chosen == inputs.true
    return inputs.truth[jnp.arange(len(inputs)), chosen]


RISE = 0.01
"""By how much a held focus weight is raised to see what the loss gains, as in the paper's code."""


def fixed_weights(alpha: Any, inputs: Mosaics) -> Float[Array, "N m"]:
    """Log-weights that hold alpha on the true segments and share both parts equally.

    Inputs of unknown truth, and those that are true throughout, get equal weights.
    """
    shape = inputs.segments.shape
    present = jnp.ones(shape, bool) if inputs.mask is None else inputs.mask
    if inputs.truth is None:
        there = jnp.arange(shape[-1])[None] == inputs.true[:, None]
        others = jnp.sum(present, axis=-1, keepdims=True) - 1
        rest = jnp.log1p(-alpha) - jnp.log(others.astype(jnp.float32))
        on_true = jnp.where(others > 0, jnp.log(alpha), 0.0)
        return jnp.where(there, on_true, jnp.where(present, rest, -jnp.inf))

    def count(where: Any) -> Any:
        return jnp.sum(where, axis=-1, keepdims=True).astype(jnp.float32)

    true, others = inputs.truth & present, present & ~inputs.truth
    both = (count(true) > 0) & (count(others) > 0)
    on_true = jnp.log(alpha) - jnp.log(jnp.maximum(count(true), 1.0))
    on_others = jnp.log1p(-alpha) - jnp.log(jnp.maximum(count(others), 1.0))
    held = jnp.where(both, jnp.where(true, on_true, on_others), -jnp.log(count(present)))
    return jnp.where(present, held, -jnp.inf)
