"""Every base item scored once, and inputs read off by look-up: thirty times less than composing."""

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from attnflow.learn import losses
from attnflow.learn.objective import fixed_weights
from attnflow.learn.tasks.task import Mosaics

if TYPE_CHECKING:
    from attnflow.learn.engine import Engine

NAMES = ("focus", "classifier")
"""The two networks, as the weights of a state are keyed."""

SCORED_AT_ONCE = 64


def modules_of(engine: "Engine", weights: Any) -> tuple[Any, Any]:
    """The two networks with these weights (of one run)."""
    focus, classifier = (
        nnx.merge(graph, weights[name]) for graph, name in zip(engine.graphs, NAMES, strict=True)
    )
    return focus, classifier


def score_base(engine: "Engine", weights: Any, base: Any) -> tuple[Any, Any]:
    """Focus score and logits of every base item, each scored once: [n] and [n, C]."""
    kind = jnp.dtype(engine.run.dtype)
    focus, classifier = modules_of(engine, jax.tree.map(lambda w: w.astype(kind), weights))
    count = len(engine.task.base)
    size = min(SCORED_AT_ONCE, count)
    pieces = -(-count // size)

    def one(piece: Any) -> tuple[Any, Any]:
        rows = jnp.minimum(piece * size + jnp.arange(size), count - 1)
        items = engine.task.present(base[rows]).astype(kind)[:, None]
        scores, logits = focus(items)[:, 0], classifier(items)[:, 0]
        return scores.astype(jnp.float32), logits.astype(jnp.float32)

    scores, logits = jax.lax.map(one, jnp.arange(pieces))
    return scores.reshape(-1)[:count], logits.reshape(-1, logits.shape[-1])[:count]


def looked_up(
    engine: "Engine", scores: Float[Array, " n"], logits: Float[Array, "n C"], inputs: Mosaics
) -> tuple[Any, Any, Any]:
    """Log-weights, label log-probabilities [N, m] and raw scores [N, m] of a set, by look-up."""
    table = jax.nn.log_softmax(logits)
    each = table[inputs.segments, inputs.labels[:, None]]
    raw = scores[inputs.segments]
    if engine.run.fixed_focus is not None:
        shape = inputs.segments.shape
        return fixed_weights(engine.run.fixed_focus, inputs.true, shape, inputs.mask), each, raw
    return losses.log_weights(raw, inputs.mask), each, raw
