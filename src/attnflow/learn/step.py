"""An epoch as one pure function: order, chunks, gradients, optimiser, metrics."""

from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import optax

from attnflow.learn import losses
from attnflow.learn.objective import Objective, fixed_weights
from attnflow.learn.scoring import looked_up, modules_of, score_base
from attnflow.learn.tasks.task import Mosaics

if TYPE_CHECKING:
    from attnflow.learn.engine import Engine

LARGEST_LOSS = 1e3
"""A mean loss above this has diverged: chance is log C."""


def log_weights_of(engine: "Engine", focus: Any, segments: Any, inputs: Mosaics) -> Any:
    """The focus's log-weights on a batch, or those that are held."""
    if engine.run.fixed_focus is not None:
        shape = inputs.segments.shape
        return fixed_weights(engine.run.fixed_focus, inputs.true, shape, inputs.mask)
    return losses.log_weights(focus(segments).astype(jnp.float32), inputs.mask)


def _chunk_loss(
    engine: "Engine",
    objective: Objective,
    weights: Any,
    base: Any,
    inputs: Mosaics,
    present: Any,
    key: Any,
    baseline: Any,
    share: Any,
) -> Any:
    """Sum of losses, and of the weights on true segments, over the inputs that are present."""
    kind = jnp.dtype(engine.run.dtype)
    focus, classifier = modules_of(engine, jax.tree.map(lambda w: w.astype(kind), weights))
    segments = engine.task.gather(base, inputs.segments).astype(kind)
    log_weights = log_weights_of(engine, focus, segments, inputs)
    each = objective.losses(classifier, segments, log_weights, inputs.labels, key, baseline, share)
    there = jnp.take_along_axis(log_weights, jnp.maximum(inputs.true, 0)[:, None], 1)[:, 0]
    alpha = jax.lax.stop_gradient(jnp.exp(there))
    return jnp.sum(jnp.where(present, each, 0)), jnp.sum(jnp.where(present, alpha, 0))


def batch_gradient(
    engine: "Engine",
    objective: Objective,
    state: Any,
    base: Any,
    train: Mosaics,
    index: Any,
    present: Any,
    key: Any,
    share: Any,
) -> tuple[Any, Any, Any]:
    """Mean loss, mean alpha and mean gradient over a batch, summed chunk by chunk."""
    chunk = engine.chunk
    pieces = -(-engine.batch // chunk)
    spare = pieces * chunk - engine.batch
    index = jnp.pad(index, (0, spare)).reshape(pieces, chunk)
    present = jnp.pad(present, (0, spare)).reshape(pieces, chunk)
    function = jax.value_and_grad(partial(_chunk_loss, engine, objective), has_aux=True)

    def one(carry: Any, piece: Any) -> Any:
        rows, here, number = piece
        held = None if share is None else share[rows]
        found = function(
            state["weights"],
            base,
            train.at(rows),
            here,
            jax.random.fold_in(key, number),
            state["baseline"],
            held,
        )
        return jax.tree.map(jnp.add, carry, found), None

    zero = (jnp.float32(0), jnp.float32(0)), jax.tree.map(jnp.zeros_like, state["weights"])
    if pieces == 1:
        ((loss, alpha), gradient), _ = one(zero, (index[0], present[0], 0))
    else:
        ((loss, alpha), gradient), _ = jax.lax.scan(one, zero, (index, present, jnp.arange(pieces)))
    count = jnp.sum(present).astype(jnp.float32)
    return loss / count, alpha / count, jax.tree.map(lambda g: g / count, gradient)


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
    seed: Any,
    rate: Any,
    number: Any,
    base: Any,
    train: Mosaics,
) -> tuple[Any, dict[str, Any]]:
    """One epoch of one run, from its state to the next and the epoch's metrics (see Engine.epoch).

    The order of inputs and every draw follow from (seed, epoch, step).
    """
    key = jax.random.fold_in(jax.random.key(seed), number)
    order_key, draw_key = jax.random.split(key)
    share = None
    if objective.needs_responsibilities:
        scores, logits = score_base(engine, state["weights"], base)
        share = losses.responsibilities(*looked_up(engine, scores, logits, train)[:2])
    transform = engine.transform()
    total = engine.steps * (engine.run.epochs or 1)

    def step(state: Any, batch: Any) -> Any:
        index, present = batch
        loss, alpha, gradient = batch_gradient(
            engine,
            objective,
            state,
            base,
            train,
            index,
            present,
            jax.random.fold_in(draw_key, state["step"]),
            share,
        )
        if engine.run.fixed_focus is not None:
            gradient["focus"] = jax.tree.map(jnp.zeros_like, gradient["focus"])
        with jax.numpy_dtype_promotion("standard"):  # optax counts its steps with mixed types
            updates, optimizer = transform.update(gradient, state["optimizer"], state["weights"])
        scale = rate
        if engine.run.rate_schedule == "cosine":
            scale = rate * optax.cosine_decay_schedule(1.0, total)(
                state["step"].astype(jnp.float32)
            )
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
