"""What the sets of a task show of the weights, measured once an epoch inside one compiled call."""

from typing import Any

import jax
import jax.numpy as jnp

from attnflow.numeric.pooling import margin, margins
from attnflow.train import losses
from attnflow.train.config import Replica
from attnflow.train.epoch import Arrays, Rows, batch_gradient, noise_of
from attnflow.train.known_truth import (
    RISE,
    any_known,
    class_on_true,
    fixed_weights,
    is_true,
    mean_known,
    place,
    weight_on_true,
)
from attnflow.train.objective import Objective
from attnflow.train.outputs import (
    SCORED_AT_ONCE,
    Outputs,
    compose,
    in_buckets,
    read,
    table_of,
    working,
)
from attnflow.train.program import Program
from attnflow.train.tasks.task import Mosaics


def measure_sets(
    program: Program,
    objective: Objective,
    state: Any,
    replica: Replica,
    number: Any,
    base: Any,
    inputs: dict[str, Mosaics],
) -> dict[str, dict[str, Any]]:
    """Of each set: focus, class and the simple setting's coordinates.

    alpha: mean weight on the true segment; beta: mean probability of the class there;
    focus_true: share of inputs whose largest weight is there; accuracy: by the largest weight's
    segment; mu: mean margin of the class there (numeric/pooling.py); nu: mean
    score there above the mean of the others. Where several segments may be true: macro_f1 too (of
    the same rule as accuracy), and all but these two over the inputs of known truth; these two
    alone where there is none. Under a held focus also, of the training set, gain: by how much the
    loss of the same classifier is lower at a focus weight higher by ``RISE``, or at 1.
    """
    table = table_of(program, state["weights"], base)
    found = {}
    for name, part in inputs.items():
        out = read(program, state["weights"], base, part, replica, table, program.groups[name])
        rows = jnp.arange(len(part))
        chosen = jnp.argmax(out.log_weights, axis=1).astype(part.labels.dtype)
        top = out.best_at(rows, chosen).astype(part.labels.dtype)
        right = is_true(part, chosen).astype(jnp.float32)
        found[name] = {
            "accuracy": jnp.mean((top == part.labels).astype(jnp.float32)),
        }
        if any_known(program.task.sets[name]):
            found[name] |= {
                "alpha": mean_known(weight_on_true(part, out.log_weights), part),
                "beta": mean_known(class_on_true(part, out.log_weights, out.each), part),
                "focus_true": mean_known(right, part),
                **_coordinates(out, part),
            }
        if part.truth is not None:
            found[name]["macro_f1"] = macro_f1(part.labels, top, program.task.classes)
    if program.task.full_batch:
        # the loss at these weights, not before the step that led to them
        train = inputs["train"]
        everything = jnp.arange(program.batch, dtype=jnp.int32)
        share = None
        if objective.needs_responsibilities:
            out = read(
                program, state["weights"], base, train, replica, table, program.groups["train"]
            )
            share = losses.responsibilities(out.log_weights, out.each)
        noise = noise_of(program, objective, jax.random.key(replica.seed))
        weights, baseline = state["weights"], state["baseline"]
        arrays = Arrays(weights, baseline, replica, base, train, share)
        rows = Rows(everything, everything >= 0, noise)
        loss, *_ = batch_gradient(program, objective, arrays, rows)
        found["train"]["loss"] = loss
    if replica.focus is not None:
        given = state["weights"], base, inputs["train"], replica.focus
        found["train"]["gain"] = _gain(program, objective.exact, *given)
    return found


def _gain(
    program: Program, objective: Objective, weights: Any, base: Any, inputs: Mosaics, focus: Any
) -> Any:
    """Mean over the inputs of the loss at a held focus weight less that at a higher one."""

    def some(rows: Any, length: int, weights: Any, base: Any, inputs: Mosaics, focus: Any) -> Any:
        networks, part = working(program, weights), inputs.at(rows, length)
        segments = compose(program, networks, base, part)
        here, above = (
            objective.losses(networks.classifier, segments, fixed_weights(alpha, part), part.labels)
            for alpha in (focus, jnp.minimum(focus + RISE, 1.0))
        )
        return here - above

    groups = program.groups["train"]
    return jnp.mean(in_buckets(program, some, SCORED_AT_ONCE, groups, weights, base, inputs, focus))


def _coordinates(out: Outputs, part: Mosaics) -> dict[str, Any]:
    """The simple setting's mu and nu as networks of any kind show them."""
    raw = out.raw
    present = jnp.ones(raw.shape, bool) if part.mask is None else part.mask
    if part.truth is None:
        rows, there = jnp.arange(len(part)), place(part)
        others = present & (jnp.arange(raw.shape[1])[None] != there[:, None])
        mu = jnp.mean(margin(out.at(rows, there), part.labels))
        above = raw[rows, there] - _mean(raw, others)
        return {"mu": mu, "nu": _mean(above, others.any(axis=1))}
    of_label = out.of_label(margins(out.logits))
    others = present & ~part.truth
    both = part.truth.any(axis=1) & others.any(axis=1)
    above = _mean(raw, part.truth) - _mean(raw, others)
    return {"mu": mean_known(_mean(of_label, part.truth), part), "nu": _mean(above, both)}


def _mean(values: Any, where: Any) -> Any:
    """Mean along the last axis of those that count; 0 of none."""
    count = jnp.maximum(jnp.sum(where, axis=-1), 1).astype(jnp.float32)
    return jnp.sum(jnp.where(where, values, 0.0), axis=-1) / count


def macro_f1(labels: Any, predicted: Any, classes: int) -> Any:
    """Mean over the classes, those that occur in either, of the harmonic mean F1."""
    kinds = jnp.arange(classes, dtype=labels.dtype)[None]
    truly, said = labels[:, None] == kinds, predicted[:, None] == kinds
    hits = jnp.sum(truly & said, axis=0).astype(jnp.float32)
    occur = (jnp.sum(truly, axis=0) + jnp.sum(said, axis=0)).astype(jnp.float32)
    return jnp.mean(2 * hits / jnp.maximum(occur, 1.0), where=occur > 0)
