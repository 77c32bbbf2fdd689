"""The losses of the paradigms for any network.

They take plain arrays and so work in any training loop::

    log_weights = losses.log_weights(focus(segments), mask)              # [B, m]
    loss = losses.pooled_loss(paradigm, log_weights, classifier(segments), labels).mean()

or, from the label's log-probability on each segment::

    log_probabilities = losses.label_log_probabilities(classifier(segments), labels)
    loss = losses.lvml(log_weights, log_probabilities).mean()

Nothing here leaves log space before it must: a product of small numbers is a sum of logarithms,
a sum of products a logsumexp. A masked segment has log-weight -inf, weight exactly 0 and gradient
exactly 0.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.lax import stop_gradient
from jaxtyping import Array, Bool, Float, Int

from attnflow.numeric.pooling import cross_entropy, exponential_mean
from attnflow.numeric.pooling import label_log_probabilities as label_log_probabilities
from attnflow.numeric.pooling import margin as margin
from attnflow.numeric.pooling import pooled_loss as pooled_loss


def log_weights(
    scores: Float[Array, "... m"], mask: Bool[Array, "... m"] | None = None
) -> Float[Array, "... m"]:
    """Logarithm of the focus weights, the softmax of the scores over the segments present.

    Args:
        scores: the focus network's score of each segment.
        mask: True where there is a segment, at least one in each input; None where all are.

    Returns:
        log-weights; -inf where masked.
    """
    if mask is None:
        return jax.nn.log_softmax(scores)
    return jax.nn.log_softmax(jnp.where(mask, scores, -jnp.inf))


def weighted_input(
    log_weights: Float[Array, "*batch m"], segments: Float[Array, "..."]
) -> Float[Array, "..."]:
    """The weighted mean of the segments [*batch, m, *shape], which soft attention classifies."""
    lead = log_weights.ndim
    if not jnp.issubdtype(segments.dtype, jnp.floating):
        segments = segments.astype(log_weights.dtype)  # weights are no whole numbers
    flat = segments.reshape(*segments.shape[:lead], -1)
    weights = jnp.exp(log_weights).astype(segments.dtype)
    pooled = jnp.einsum("...m,...md->...d", weights, flat)
    return pooled.reshape(*segments.shape[: lead - 1], *segments.shape[lead:])


def soft(logits: Float[Array, "... C"], labels: Int[Array, "..."]) -> Float[Array, "..."]:
    """Soft attention: cross entropy of the classifier's output on ``weighted_input``.

    Args:
        logits: classifier(weighted_input(log_weights, segments)).
        labels: classes, 0 to C - 1.
    """
    return cross_entropy(logits, labels)


def hard(
    log_weights: Float[Array, "... m"], log_probabilities: Float[Array, "... m"]
) -> Float[Array, "..."]:
    """Hard attention, exactly: the expected cross entropy of a segment drawn by its weight."""
    return power_mean(0.0, log_weights, log_probabilities)


def hard_sampled(
    key: Any,
    log_weights: Float[Array, "... m"],
    log_probabilities: Float[Array, "... m"],
    baseline: Float[Array, ""] | float = 0.0,
) -> Float[Array, "..."]:
    """Hard attention by one drawn segment an input, with the score-function gradient.

    The value is the cross entropy of the drawn segment. The gradient is an unbiased estimate of
    that of ``hard`` for any baseline that does not depend on the draw; a running mean of the loss
    lowers its variance.

    Args:
        key: a JAX random key.
        log_weights: log-weights of the segments.
        log_probabilities: log-probability of the label on each.
        baseline: what the sampled loss is compared with.
    """
    return at_draw(
        jax.random.categorical(key, log_weights), log_weights, log_probabilities, baseline
    )


def at_draw(
    drawn: Int[Array, "..."],
    log_weights: Float[Array, "... m"],
    log_probabilities: Float[Array, "... m"],
    baseline: Float[Array, ""] | float = 0.0,
) -> Float[Array, "..."]:
    """``hard_sampled`` for segments drawn already."""

    def of(values: Any) -> Any:
        return jnp.take_along_axis(values, drawn[..., None], axis=-1)[..., 0]

    loss, score = -of(log_probabilities), of(log_weights)
    return loss + score_function(loss, score, baseline)


def score_function(
    cost: Float[Array, "..."], score: Float[Array, "..."], baseline: Any = 0.0
) -> Float[Array, "..."]:
    """Zero, with the gradient that the chances of a draw get from what it cost (REINFORCE).

    Args:
        cost: all that depends on the draw, without gradient.
        score: log-weight of what was drawn.
        baseline: what the cost is compared with.
    """
    return stop_gradient(cost - baseline) * (score - stop_gradient(score))


def entropy(log_weights: Float[Array, "... m"]) -> Float[Array, "..."]:
    """Entropy of the weights in nats; a masked segment adds exactly 0."""
    present = jnp.isfinite(log_weights)
    safe = jnp.where(present, log_weights, 0.0)
    return -jnp.sum(jnp.where(present, jnp.exp(safe) * safe, 0.0), axis=-1)


def lvml(
    log_weights: Float[Array, "... m"], log_probabilities: Float[Array, "... m"]
) -> Float[Array, "..."]:
    """Latent-variable marginal likelihood, exactly: minus the log of the mean probability."""
    return power_mean(1.0, log_weights, log_probabilities)


def power_mean(
    exponent: float,
    log_weights: Float[Array, "... m"],
    log_probabilities: Float[Array, "... m"],
) -> Float[Array, "..."]:
    """Minus the log of the power mean of probabilities: exponent 1 is ``lvml``, 0 is ``hard``."""
    return -exponential_mean(exponent, log_weights, log_probabilities)


def weighted_logits(
    log_weights: Float[Array, "*batch m"],
    logits: Float[Array, "*batch m C"],
    labels: Int[Array, "*batch"],
) -> Float[Array, "*batch"]:
    """Cross entropy of the logits added by weight, which the paper's code takes for LVML on posts.

    It is not ``lvml``, which adds probabilities; of a classifier that is linear in the segments it
    is ``soft``.

    Args:
        log_weights: of the segments.
        logits: of the classifier on each.
        labels: classes, 0 to C - 1.

    Source: code of Vashisht and Ramaswamy (2023), HateXplain.

    Example:
        >>> import jax.numpy as jnp
        >>> halves, logits = jnp.log(jnp.full((1, 2), 0.5)), jnp.array([[[2.0, 0], [0, 2]]])
        >>> print(weighted_logits(halves, logits, jnp.array([0])).round(3))
        [0.693]
    """
    return cross_entropy(jnp.einsum("...m,...mc->...c", jnp.exp(log_weights), logits), labels)


def responsibilities(
    log_weights: Float[Array, "... m"], log_probabilities: Float[Array, "... m"]
) -> Float[Array, "... m"]:
    """The E step: the posterior probability of each segment being the true one. No gradient."""
    return stop_gradient(jax.nn.softmax(log_weights + log_probabilities))


def em(
    responsibilities: Float[Array, "... m"],
    log_weights: Float[Array, "... m"],
    log_probabilities: Float[Array, "... m"],
) -> Float[Array, "..."]:
    """The M step's loss: an upper bound of ``lvml`` that touches it where the E step was taken.

    Lowering it lowers ``lvml``; where responsibilities are current, value and gradient are equal.
    """
    share = stop_gradient(responsibilities)
    held = share > 0
    joint = jnp.where(held, log_weights + log_probabilities, 0.0)
    entropy = jnp.where(held, jnp.log(jnp.where(held, share, 1.0)), 0.0)
    return jnp.sum(share * (entropy - joint), axis=-1)
