"""An epoch as one pure function: order, chunks, gradients, optimiser, metrics."""

from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from attnflow.learn import losses
from attnflow.learn.config import Lane
from attnflow.learn.objective import Objective, fixed_weights
from attnflow.learn.scoring import looked_up, modules_of, score_base
from attnflow.learn.tasks.task import Mosaics

if TYPE_CHECKING:
    from attnflow.learn.engine import Engine

LARGEST_LOSS = 1e3
"""A mean loss above this has diverged: chance is log C."""


def log_weights_of(focus: Any, segments: Any, inputs: Mosaics, lane: Lane) -> Any:
    """The focus's log-weights on a batch, or those that are held."""
    if lane.focus is not None:
        return fixed_weights(lane.focus, inputs.true, inputs.segments.shape, inputs.mask)
    return losses.log_weights(focus(segments).astype(jnp.float32), inputs.mask)


def noise_of(engine: "Engine", objective: Objective, key: Any) -> Any:
    """What decides which segments are drawn, [batch, m]; None where none are.

    Drawn for the whole batch, so that it does not depend on how the batch is divided.
    """
    shape = engine.batch, engine.task.segments
    return jax.random.gumbel(key, shape) if objective.draws else None


def _chunk_loss(
    engine: "Engine",
    objective: Objective,
    weights: Any,
    lane: Lane,
    base: Any,
    inputs: Mosaics,
    present: Any,
    noise: Any,
    baseline: Any,
    share: Any,
) -> Any:
    """Sum of losses, and of the weights on true segments, over the inputs that are present."""
    kind = jnp.dtype(engine.run.dtype)
    focus, classifier = modules_of(engine, jax.tree.map(lambda w: w.astype(kind), weights))
    segments = engine.task.gather(base, inputs.segments).astype(kind)
    log_weights = log_weights_of(focus, segments, inputs, lane)
    each = objective.losses(
        classifier, segments, log_weights, inputs.labels, noise, baseline, share
    )
    there = jnp.take_along_axis(log_weights, jnp.maximum(inputs.true, 0)[:, None], 1)[:, 0]
    alpha = jax.lax.stop_gradient(jnp.exp(there))
    return jnp.sum(jnp.where(present, each, 0)), jnp.sum(jnp.where(present, alpha, 0))


def batch_gradient(
    engine: "Engine",
    objective: Objective,
    state: Any,
    lane: Lane,
    base: Any,
    train: Mosaics,
    index: Any,
    present: Any,
    noise: Any,
    share: Any,
) -> tuple[Any, Any, Any]:
    """Mean loss, mean alpha and mean gradient over a batch, each device taking its share of it."""
    spare = -engine.batch % engine.devices.count
    rows = jax.tree.map(lambda a: _longer(a, spare), (index, present, noise))
    shared = state["weights"], state["baseline"], lane, base, train, share
    (loss, alpha), gradient = engine.devices.total(
        partial(_summed, engine, objective), rows, *shared
    )
    count = jnp.sum(present).astype(jnp.float32)
    return loss / count, alpha / count, jax.tree.map(lambda g: g / count, gradient)


def _longer(values: Any, spare: int) -> Any:
    """More rows, which count as not present."""
    return jnp.pad(values, ((0, spare), *((0, 0) for _ in values.shape[1:])))


def _summed(
    engine: "Engine",
    objective: Objective,
    rows: Any,
    weights: Any,
    baseline: Any,
    lane: Lane,
    base: Any,
    train: Mosaics,
    share: Any,
) -> Any:
    """Loss, alpha and gradient summed over rows (index, present, noise), chunk by chunk."""
    count = len(rows[0])
    chunk = min(engine.chunk, count)
    pieces = -(-count // chunk)
    pieced = jax.tree.map(
        lambda a: _longer(a, pieces * chunk - count).reshape(pieces, chunk, *a.shape[1:]), rows
    )
    function = jax.value_and_grad(partial(_chunk_loss, engine, objective), has_aux=True)

    def one(carry: Any, piece: Any) -> Any:
        index, here, noise = piece
        held = None if share is None else share[index]
        found = function(weights, lane, base, train.at(index), here, noise, baseline, held)
        return jax.tree.map(jnp.add, carry, found), None

    zero = (jnp.float32(0), jnp.float32(0)), jax.tree.map(jnp.zeros_like, weights)
    if pieces == 1:
        return one(zero, jax.tree.map(lambda a: a[0], pieced))[0]
    return jax.lax.scan(one, zero, pieced)[0]


def _order(engine: "Engine", key: Any) -> tuple[Any, Any]:
    """Indices of each step of an epoch, and which of them are present: [steps, batch]."""
    count = len(engine.task.sets["train"])
    per_pass = -(-count // engine.batch)
    spare = per_pass * engine.batch - count

    def one(number: Any) -> Any:
        if per_pass == 1:
            order = jnp.arange(count, dtype=jnp.int32)  # all at once: no order to draw
        else:
            order = jax.random.permutation(jax.random.fold_in(key, number), count)
        return jnp.pad(order.astype(jnp.int32), (0, spare))

    orders = jax.lax.map(one, jnp.arange(engine.run.passes or 1))
    present = jnp.pad(jnp.ones(count, bool), (0, spare))
    present = jnp.broadcast_to(present, orders.shape)
    return tuple(a.reshape(-1, engine.batch) for a in (orders, present))  # pyright: ignore


def run_epoch(
    engine: "Engine",
    objective: Objective,
    state: Any,
    lane: Lane,
    number: Any,
    base: Any,
    train: Mosaics,
) -> tuple[Any, dict[str, Any]]:
    """One epoch of one run, from its state to the next and the epoch's metrics (see Engine.epoch).

    The order of inputs and every draw follow from (seed, epoch, step).
    """
    key = jax.random.fold_in(jax.random.key(lane.seed), number)
    order_key, draw_key = jax.random.split(key)
    share = None
    if objective.needs_responsibilities:
        scores, logits = score_base(engine, state["weights"], base)
        share = losses.responsibilities(*looked_up(engine, scores, logits, train, lane)[:2])
    transform = engine.transform()

    def step(state: Any, batch: Any) -> Any:
        index, present = batch
        noise = noise_of(engine, objective, jax.random.fold_in(draw_key, state["step"]))
        loss, alpha, gradient = batch_gradient(
            engine, objective, state, lane, base, train, index, present, noise, share
        )
        if lane.focus is not None:
            gradient["focus"] = jax.tree.map(jnp.zeros_like, gradient["focus"])
        with jax.numpy_dtype_promotion("standard"):  # optax counts its steps with mixed types
            updates, optimizer = transform.update(gradient, state["optimizer"], state["weights"])
        scale = lane.rate
        if engine.run.rate_schedule == "cosine":
            scale = lane.rate * engine.decay(state["step"].astype(jnp.float32))
        new = {
            "weights": jax.tree.map(lambda w, u: w - scale * u, state["weights"], updates),
            "optimizer": optimizer,
            "step": state["step"] + 1,
            "baseline": 0.9 * state["baseline"] + 0.1 * loss,
        }
        return new, (loss, alpha)

    state, (loss, alpha) = jax.lax.scan(step, state, _order(engine, order_key))
    wrong = ~(loss <= LARGEST_LOSS)  # NaN is not below anything
    fine = jnp.stack([jnp.all(jnp.isfinite(w)) for w in jax.tree.leaves(state["weights"])])
    last = jnp.where(jnp.all(fine), -1, state["step"])
    first = state["step"] - engine.steps + jnp.argmax(wrong)
    return state, {
        "loss": jnp.mean(loss),
        "alpha": jnp.mean(alpha),
        "bad": jnp.where(jnp.any(wrong), first, last),
    }
