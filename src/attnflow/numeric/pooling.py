"""The loss of one example from the outputs of its segments: what a paradigm pools, and how.

A paradigm's loss L(alpha, mu; C) says what happens while all wrong classes look alike; away from
there it does not say what attention averages, and the paradigms are known by exactly that: soft
attention averages inputs (for a linear classifier, logits), hard attention the segments' losses,
LVML their probabilities, a power mean the powers of those. This table says so once. It cannot be
derived from the loss, so the tests bind it to the loss: on the symmetric ansatz they are equal.

A paradigm that the table does not hold gets ``margin``: its own lowered loss of the weight on the
true segments and of the margin there, which is defined for every paradigm.
"""

from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from attnflow.errors import ParadigmError
from attnflow.numeric.trajectory import lowered_loss
from attnflow.symbolic.catalogue import HARD, LVML, SOFT, power_mean
from attnflow.symbolic.paradigm import Paradigm

Pooling = Callable[..., Any]
"""(logits [.., m, C], log attention [.., m], labels [..], true segments [.., m]) -> loss [..]."""


def _of_label(values: Any, labels: Any) -> Any:
    return jnp.take_along_axis(values, labels[..., None], axis=-1)[..., 0]


def label_log_probabilities(
    logits: Float[Array, "... m C"], labels: Int[Array, "..."]
) -> Float[Array, "... m"]:
    """log-probability of the label on each segment."""
    each = jnp.broadcast_to(labels[..., None], logits.shape[:-1])
    return _of_label(jax.nn.log_softmax(logits), each)


def cross_entropy(logits: Float[Array, "... C"], labels: Int[Array, "..."]) -> Float[Array, "..."]:
    """Minus the log-probability of the label."""
    return -_of_label(jax.nn.log_softmax(logits), labels)


def expected_loss(
    log_weights: Float[Array, "... m"], log_probabilities: Float[Array, "... m"]
) -> Float[Array, "..."]:
    """Expected cross entropy of a segment drawn by its weight; weight 0 is log-weight -inf.

    A segment of weight 0 is left out, be its log-probability -inf too.
    """
    held = log_weights > -jnp.inf
    each = jnp.exp(log_weights) * jnp.where(held, log_probabilities, 0.0)
    return -jnp.sum(each, axis=-1)


def power_mean_loss(
    exponent: float,
    log_weights: Float[Array, "... m"],
    log_probabilities: Float[Array, "... m"],
) -> Float[Array, "..."]:
    """Minus the log of the weighted power mean of probabilities; exponent 1 is the plain mean."""
    return -jax.nn.logsumexp(log_weights + exponent * log_probabilities, axis=-1) / exponent


def soft(
    logits: Float[Array, "... m C"],
    log_attention: Float[Array, "... m"],
    labels: Int[Array, "..."],
    true: Bool[Array, "... m"],
) -> Float[Array, "..."]:
    """Cross entropy of the averaged logits (of the averaged input, for a linear classifier)."""
    pooled = jnp.sum(jnp.exp(log_attention)[..., None] * logits, axis=-2)
    return cross_entropy(pooled, labels)


def hard(
    logits: Float[Array, "... m C"],
    log_attention: Float[Array, "... m"],
    labels: Int[Array, "..."],
    true: Bool[Array, "... m"],
) -> Float[Array, "..."]:
    """Expected cross entropy of a segment drawn by attention."""
    return expected_loss(log_attention, label_log_probabilities(logits, labels))


def power(
    exponent: float,
    logits: Float[Array, "... m C"],
    log_attention: Float[Array, "... m"],
    labels: Int[Array, "..."],
    true: Bool[Array, "... m"],
) -> Float[Array, "..."]:
    """Minus the log of the power mean of the segments' probabilities; exponent 1 is LVML."""
    return power_mean_loss(exponent, log_attention, label_log_probabilities(logits, labels))


def margin(
    paradigm: Paradigm,
    logits: Float[Array, "... m C"],
    log_attention: Float[Array, "... m"],
    labels: Int[Array, "..."],
    true: Bool[Array, "... m"],
) -> Float[Array, "..."]:
    """The paradigm's loss at alpha, the weight on the true segments, and mu, their mean log-odds.

    A segment's mu is its logit of the label minus the log of the mean exponential of the others.
    """
    classes = logits.shape[-1]
    weights = jnp.exp(log_attention)
    alpha = jnp.sum(jnp.where(true, weights, 0.0), axis=-1)
    rest = jnp.sum(jnp.where(true, 0.0, weights), axis=-1)
    each = jnp.broadcast_to(labels[..., None], logits.shape[:-1])
    wrong = ~jax.nn.one_hot(each, classes, dtype=bool)
    others = jax.nn.logsumexp(logits, axis=-1, where=wrong) - jnp.log(classes - 1.0)
    margins = _of_label(logits, each) - others
    mu = jnp.mean(margins, axis=-1, where=true)
    return lowered_loss(paradigm)(alpha, rest, mu, float(classes))


POOLINGS: dict[Paradigm, Pooling] = {SOFT: soft, HARD: hard, LVML: partial(power, 1.0)}
"""Paradigm -> what it pools. Compared by loss too: another paradigm named "soft" is not meant."""


def pooling(paradigm: Paradigm) -> Pooling:
    """What the paradigm pools: from the table, a power mean by its exponent, or ``margin``."""
    if paradigm in POOLINGS:
        return POOLINGS[paradigm]
    exponent = power_exponent(paradigm)
    return partial(margin, paradigm) if exponent is None else partial(power, exponent)


def power_exponent(paradigm: Paradigm) -> float | None:
    """The exponent if this is a power mean (other than hard attention), else None."""
    if not paradigm.name.startswith("power-"):
        return None
    text = paradigm.name.removeprefix("power-")
    try:
        same, exponent = power_mean(text), Fraction(text)
    except (ParadigmError, ValueError):
        return None
    return float(exponent) if exponent != 0 and same == paradigm else None
