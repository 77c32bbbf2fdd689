"""What the sets of a task show of the weights, measured once an epoch inside one compiled call."""

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from attnflow.learn import losses
from attnflow.learn.config import Lane
from attnflow.learn.objective import Objective
from attnflow.learn.scoring import looked_up, score_base
from attnflow.learn.step import batch_gradient, noise_of
from attnflow.learn.tasks.task import Mosaics

if TYPE_CHECKING:
    from attnflow.learn.engine import Engine


def measure_sets(
    engine: "Engine",
    objective: Objective,
    state: Any,
    lane: Lane,
    number: Any,
    base: Any,
    inputs: dict[str, Mosaics],
) -> dict[str, dict[str, Any]]:
    """Of each set: focus, class and the simple setting's coordinates.

    alpha: mean weight on the true segment; beta: mean probability of the class there;
    focus_true: share of inputs whose largest weight is there; accuracy: by the largest weight's
    segment; mu: mean log-odds of the class there against the mean of the others' logits; nu: mean
    score there above the mean of the others.
    """
    scores, logits = score_base(engine, state["weights"], base)
    found = {}
    for name, part in inputs.items():
        log_weights, each, raw = looked_up(engine, scores, logits, part, lane)
        rows = jnp.arange(len(part))
        place = jnp.maximum(part.true, 0)
        chosen = jnp.argmax(log_weights, axis=1)
        present = jnp.ones(raw.shape, bool) if part.mask is None else part.mask
        others = present & (jnp.arange(raw.shape[1])[None] != place[:, None])
        outputs = logits[part.segments[rows, place]]
        label = outputs[rows, part.labels]
        rest = (jnp.sum(outputs, axis=1) - label) / (engine.task.classes - 1)
        top = jnp.argmax(logits, axis=1).astype(part.labels.dtype)[part.segments[rows, chosen]]
        found[name] = {
            "alpha": jnp.mean(jnp.exp(log_weights[rows, place])),
            "beta": jnp.mean(jnp.exp(each[rows, place])),
            "focus_true": jnp.mean((chosen.astype(place.dtype) == place).astype(jnp.float32)),
            "accuracy": jnp.mean((top == part.labels).astype(jnp.float32)),
            "mu": jnp.mean(label - rest),
            "nu": jnp.mean(raw[rows, place] - jnp.mean(raw, axis=1, where=others)),
        }
    if engine.task.full_batch:
        # the loss at these weights, not before the step that led to them
        train = inputs["train"]
        everything = jnp.arange(engine.batch, dtype=jnp.int32)
        present = everything >= 0
        share = None
        if objective.needs_responsibilities:
            share = losses.responsibilities(*looked_up(engine, scores, logits, train, lane)[:2])
        noise = noise_of(engine, objective, jax.random.key(lane.seed))
        loss, _, _ = batch_gradient(
            engine, objective, state, lane, base, train, everything, present, noise, share
        )
        found["train"]["loss"] = loss
    return found
