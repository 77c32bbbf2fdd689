"""An epoch as one pure function: order, chunks, gradients, optimiser, metrics."""

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from attnflow.errors import TrainingFailed
from attnflow.train import losses
from attnflow.train.config import Replica
from attnflow.train.known_truth import fixed_weights, known, weight_on_true
from attnflow.train.length_buckets import steps_of
from attnflow.train.objective import Objective
from attnflow.train.outputs import compose, read, table_of, working
from attnflow.train.parallel import Largest, added
from attnflow.train.program import Program
from attnflow.train.tasks.task import Mosaics

LARGEST_LOSS = 1e3
"""A mean loss above this has diverged: chance is log C."""


def diverged(name: str, step: int, seed: int, rate: float, or_else: str) -> TrainingFailed:
    """The error of a run that failed at a step, with what to try."""
    return TrainingFailed(
        f"training under {name} diverged at step {step} (seed {seed}, learning rate {rate:g}): the "
        "loss or the weights were not finite or grew without bound; try learning rate "
        f"{min(rate / 4, 1.0):g}{or_else}"
    )


def log_weights_of(focus: Any, segments: Any, inputs: Mosaics, replica: Replica) -> Any:
    """The focus's log-weights on a batch, or those that are held."""
    if replica.focus is not None:
        return fixed_weights(replica.focus, inputs)
    return losses.log_weights(focus(segments).astype(jnp.float32), inputs.mask)


def spread_of(log_weights: Float[Array, "... m"]) -> Float[Array, "..."]:
    """By how much the largest score of an input lies above the least, of the segments present."""
    there = jax.lax.stop_gradient(log_weights)
    least = jnp.min(jnp.where(jnp.isneginf(there), jnp.inf, there), axis=-1)
    return jnp.max(there, axis=-1) - least


def norms_of(gradient: Mapping[str, Any]) -> dict[str, Array]:
    """The Euclidean norm of each network's gradient."""
    return {
        f"gradient_norm_{name}": jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(part)))
        for name, part in gradient.items()
    }


def noise_of(program: Program, objective: Objective, key: Any) -> Any:
    """What decides which segments are drawn, [batch, m]; None where none are.

    Drawn for the whole batch, so that it does not depend on how the batch is divided.
    """
    shape = program.batch, program.task.segments
    return jax.random.gumbel(key, shape) if objective.draws else None


class Arrays(NamedTuple):
    """What the gradient of a run is taken of, and at.

    Attributes:
        weights: of one run.
        baseline: running mean of the loss.
        replica: seed, rate and focus of the run.
        base: the base items.
        inputs: the training inputs, or some of them.
        share: responsibilities of the last E step for each input, or None.
        key: decides what is dropped; None where nothing is.
    """

    weights: Any
    baseline: Any
    replica: Replica
    base: Any
    inputs: Mosaics
    share: Any = None
    key: Any = None


class Rows(NamedTuple):
    """Inputs of a batch.

    Attributes:
        index: number of each input.
        present: False where a row only fills the batch up.
        noise: what decides which segment is drawn [B, m], or None.
    """

    index: Any
    present: Any
    noise: Any = None


def _chunk_loss(
    program: Program, objective: Objective, weights: Any, arrays: Arrays, rows: Rows
) -> Any:
    """Sums over the inputs that are present: of losses; of the weights on true segments.

    ``arrays`` holds the inputs of these rows. The second sum is a pair, with the count of inputs
    of known truth, where there may be others; with it comes the largest ``spread_of`` scores.
    """
    inputs, present = arrays.inputs, rows.present
    networks = working(program, weights, arrays.key)
    segments = compose(program, networks, arrays.base, inputs)
    log_weights = log_weights_of(networks.focus, segments, inputs, arrays.replica)
    each = objective.losses(
        networks.classifier,
        segments,
        log_weights,
        inputs.labels,
        noise=rows.noise,
        baseline=arrays.baseline,
        responsibilities=arrays.share,
    )
    alpha: Any = jax.lax.stop_gradient(weight_on_true(inputs, log_weights))
    alpha = jnp.sum(jnp.where(present, alpha, 0))
    told = known(inputs)
    if told is not None:
        alpha = alpha, jnp.sum(jnp.where(present, told, False)).astype(jnp.float32)
    largest = Largest(jnp.max(jnp.where(present, spread_of(log_weights), 0)))
    return jnp.sum(jnp.where(present, each, 0)), (alpha, largest)


def batch_gradient(
    program: Program, objective: Objective, arrays: Arrays, rows: Rows, length: int | None = None
) -> tuple[Any, Any, Any, Any]:
    """Mean loss, alpha and gradient of a batch, each device taking its share; largest score.

    ``length`` says how many places of the inputs count; where truth may be unknown, alpha is a
    pair (sum, count).
    """
    if rows.noise is not None:
        rows = rows._replace(noise=rows.noise[:, :length])
    spare = -program.batch % program.devices.count
    count = jnp.sum(rows.present).astype(jnp.float32)
    rows = jax.tree.map(lambda a: _longer(a, spare), rows)
    (loss, (alpha, largest)), gradient = program.devices.total(
        partial(_summed, program, objective, length), rows, arrays
    )
    if arrays.inputs.truth is None:
        alpha = alpha / count
    return loss / count, alpha, jax.tree.map(lambda g: g / count, gradient), largest.value


def _longer(values: Any, spare: int) -> Any:
    """More rows, which count as not present."""
    return jnp.pad(values, ((0, spare), *((0, 0) for _ in values.shape[1:])))


def _summed(
    program: Program, objective: Objective, length: int | None, rows: Rows, arrays: Arrays
) -> Any:
    """Loss, alpha and gradient summed over rows, chunk by chunk."""
    count = len(rows.index)
    chunk = min(program.chunk, count)
    pieces = -(-count // chunk)
    pieced = jax.tree.map(
        lambda a: _longer(a, pieces * chunk - count).reshape(pieces, chunk, *a.shape[1:]), rows
    )
    function = jax.value_and_grad(partial(_chunk_loss, program, objective), has_aux=True)

    def one(carry: Any, piece: Rows) -> Any:
        index, share, key = piece.index, arrays.share, arrays.key
        here = arrays._replace(
            inputs=arrays.inputs.at(index, length),
            share=None if share is None else share[index][:, :length],
            # no two pieces of a batch begin with the same input
            key=None if key is None else jax.random.fold_in(key, index[0]),
        )
        return added(carry, function(arrays.weights, here, piece)), None

    none: Any = jnp.float32(0)
    alpha = none if arrays.inputs.truth is None else (none, none)
    zero = (
        (none, (alpha, Largest(none))),
        jax.tree.map(jnp.zeros_like, arrays.weights),
    )
    if pieces == 1:
        return one(zero, jax.tree.map(lambda a: a[0], pieced))[0]
    return jax.lax.scan(one, zero, pieced)[0]


def _ordered(program: Program, key: Any, values: Any) -> Any:
    """The values in the order of a pass."""
    return values if program.run.order == "fixed" else jax.random.permutation(key, values)


def _order(program: Program, key: Any) -> tuple[Any, Any]:
    """Indices of each step of an epoch, and which of them are present: [steps, batch]."""
    count = len(program.task.sets["train"])
    per_pass = -(-count // program.batch)
    spare = per_pass * program.batch - count

    def one(number: Any) -> Any:
        order = jnp.arange(count, dtype=jnp.int32)
        if per_pass > 1:
            order = _ordered(program, jax.random.fold_in(key, number), order)
        return jnp.pad(order.astype(jnp.int32), (0, spare))

    orders = jax.lax.map(one, jnp.arange(program.run.passes or 1))
    present = jnp.pad(jnp.ones(count, bool), (0, spare))
    present = jnp.broadcast_to(present, orders.shape)
    return tuple(a.reshape(-1, program.batch) for a in (orders, present))  # pyright: ignore


def stepped(weights: Any, updates: Any, rates: Any) -> Any:
    """The weights of each network after a step at its learning rate."""
    return {
        name: jax.tree.map(lambda w, u, rate=rates[name]: w - rate * u, held, updates[name])
        for name, held in weights.items()
    }


def order_in_buckets(
    program: Program, key: Array, epoch: Any
) -> tuple[Int[Array, "steps batch"], Bool[Array, "steps batch"], Int[Array, " steps"]]:
    """Indices of each step of an epoch, which of them are present, and the bucket of each step.

    Args:
        program: knows buckets and batch.
        key: of this run and epoch; decides which inputs share a batch.
        epoch: decides, with the task's seed, in which order the buckets come.
    """
    batch, passes = program.batch, program.run.passes or 1
    steps = steps_of(program.buckets, batch)
    spare = [n * batch - len(b.members) for n, b in zip(steps, program.buckets, strict=True)]

    def batches(number: Any) -> Any:
        one = jax.random.fold_in(key, number)
        shuffled = [
            jnp.pad(_ordered(program, jax.random.fold_in(one, k), jnp.asarray(b.members)), p)
            for k, (b, p) in enumerate(
                zip(program.buckets, ((0, more) for more in spare), strict=True)
            )
        ]
        return jnp.concatenate(shuffled).astype(jnp.int32).reshape(-1, batch)

    def turns(number: Any) -> Any:
        shared = jax.random.fold_in(jax.random.key(program.run.data_seed), epoch * passes + number)
        return _ordered(program, shared, jnp.arange(sum(steps)))

    present = np.concatenate(
        [np.arange(n * batch) < len(b.members) for n, b in zip(steps, program.buckets, strict=True)]
    ).reshape(-1, batch)
    which = np.repeat(np.arange(len(steps), dtype=np.int32), steps)
    numbers = jnp.arange(passes)
    index = jax.lax.map(batches, numbers)
    turn = jax.lax.map(turns, numbers)
    index = jnp.take_along_axis(index, turn[:, :, None], axis=1).reshape(-1, batch)
    turn = turn.reshape(-1)
    return index, jnp.asarray(present)[turn], jnp.asarray(which)[turn]


def run_epoch(
    program: Program,
    objective: Objective,
    state: Any,
    replica: Replica,
    number: Any,
    base: Any,
    train: Mosaics,
    *,
    until: Any = None,
) -> tuple[Any, dict[str, Any]]:
    """One epoch of one run, from its state to the next and the epoch's metrics (see Engine.epoch).

    The order of inputs and every draw follow from (seed, epoch, step). ``until`` is the number of
    steps to take, where these are not all.
    """
    key = jax.random.fold_in(jax.random.key(replica.seed), number)
    order_key, draw_key = jax.random.split(key)
    share = None
    if objective.needs_responsibilities:
        table = table_of(program, state["weights"], base)
        groups = program.groups["train"]
        found = read(program, state["weights"], base, train, replica, table, groups)
        share = losses.responsibilities(found.log_weights, found.each)
    transform = program.transform()
    gradients = [
        partial(batch_gradient, program, objective, length=bucket.length)
        for bucket in program.buckets
    ]

    def step(state: Any, batch: Any) -> Any:
        index, present, *which = batch
        step_key = jax.random.fold_in(draw_key, state["step"])
        noise = noise_of(program, objective, step_key)
        drop = jax.random.fold_in(step_key, 1) if program.drops else None
        weights, baseline = state["weights"], state["baseline"]
        given = (
            Arrays(weights, baseline, replica, base, train, share, drop),
            Rows(index, present, noise),
        )
        if which:
            loss, alpha, gradient, largest = jax.lax.switch(which[0], gradients, *given)
        else:
            loss, alpha, gradient, largest = gradients[0](*given)
        if replica.focus is not None:
            gradient["focus"] = jax.tree.map(jnp.zeros_like, gradient["focus"])
        with jax.numpy_dtype_promotion("standard"):  # optax counts its steps with mixed types
            updates, optimizer = transform.update(gradient, state["optimizer"], state["weights"])
        rates = replica.rate
        if program.run.rate_schedule == "cosine":
            decay = program.decay(state["step"].astype(jnp.float32))
            rates = {name: rate * decay for name, rate in rates.items()}
        new = {
            "weights": stepped(state["weights"], updates, rates),
            "optimizer": optimizer,
            "step": state["step"] + 1,
            "baseline": 0.9 * state["baseline"] + 0.1 * loss,
        }
        return new, (loss, alpha, largest, norms_of(gradient))

    if len(program.buckets) > 1:
        batches = order_in_buckets(program, order_key, number)
    else:
        batches = _order(program, order_key)
    present, begun = batches[1], state["step"]
    if until is None:
        state, (loss, alpha, largest, norms) = jax.lax.scan(step, state, batches)
    else:
        here = jnp.arange(program.steps) < until
        still = jax.eval_shape(step, state, jax.tree.map(lambda b: b[0], batches))[1]

        def some(state: Any, batch: Any) -> Any:
            def stay(state: Any, _: Any) -> Any:
                return state, jax.tree.map(lambda v: jnp.zeros(v.shape, v.dtype), still)

            return jax.lax.cond(batch[0], step, stay, state, batch[1])

        state, (loss, alpha, largest, norms) = jax.lax.scan(some, state, (here, batches))
        present = present & here[:, None]
    wrong = ~(loss <= LARGEST_LOSS)  # NaN is not below anything
    fine = jnp.stack([jnp.all(jnp.isfinite(w)) for w in jax.tree.leaves(state["weights"])])
    last = jnp.where(jnp.all(fine), -1, state["step"])
    first = begun + jnp.argmax(wrong)
    return state, {
        "loss": _over_inputs(loss, present),
        "alpha": _over_inputs(alpha, present)
        if train.truth is None
        else jnp.sum(alpha[0]) / jnp.sum(alpha[1]),
        "largest_score": jnp.max(largest),
        **jax.tree.map(jnp.mean, norms),
        "bad": jnp.where(jnp.any(wrong), first, last),
    }


def _over_inputs(means: Any, present: Any) -> Any:
    """Mean over the inputs of an epoch, from the means of its steps, of which some are short."""
    counts = jnp.sum(present, axis=1).astype(jnp.float32)
    return jnp.sum(means * counts) / jnp.sum(counts)
