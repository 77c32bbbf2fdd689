"""Every base item scored once, and inputs read off by look-up: thirty times less than composing."""

from collections.abc import Callable
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

    def items(rows: Any, weights: Any, base: Any) -> tuple[Any, Any]:
        kind = jnp.dtype(engine.run.dtype)
        focus, classifier = modules_of(engine, jax.tree.map(lambda w: w.astype(kind), weights))
        items = engine.task.present(base[rows]).astype(kind)[:, None]
        scores, logits = focus(items)[:, 0], classifier(items)[:, 0]
        return scores.astype(jnp.float32), logits.astype(jnp.float32)

    return in_pieces(engine, items, SCORED_AT_ONCE, len(engine.task.base), weights, base)


def in_pieces(
    engine: "Engine", function: Callable[..., Any], most: int, count: int, *shared: Any
) -> Any:
    """``function(rows, *shared)`` for rows 0 to count - 1, so many at once on each device."""

    def local(rows: Any, *shared: Any) -> Any:
        size = min(most, len(rows))
        pieces = -(-len(rows) // size)
        places = jnp.minimum(jnp.arange(pieces * size), len(rows) - 1).reshape(pieces, size)
        found = jax.lax.map(lambda place: function(rows[place], *shared), places)
        return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:])[: len(rows)], found)

    return engine.devices.rows(local, count, *shared)


def looked_up(
    engine: "Engine",
    scores: Float[Array, " n"],
    logits: Float[Array, "n C"],
    inputs: Mosaics,
    lane: Any,
) -> tuple[Any, Any, Any]:
    """Log-weights, label log-probabilities [N, m] and raw scores [N, m] of a set, by look-up."""
    table = jax.nn.log_softmax(logits)
    each = table[inputs.segments, inputs.labels[:, None]]
    raw = scores[inputs.segments]
    if lane.focus is not None:
        shape = inputs.segments.shape
        return fixed_weights(lane.focus, inputs.true, shape, inputs.mask), each, raw
    return losses.log_weights(raw, inputs.mask), each, raw
