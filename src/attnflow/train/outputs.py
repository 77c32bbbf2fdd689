"""Scores and logits of every segment of a set: by look-up where a segment's do not hang together.

A network that sees one segment at a time scores every base item once, and inputs are read off:
thirty times less than composing them. Where an encoder reads a whole input (``contextual``), each
input is composed and scored by itself.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from attnflow.train import losses
from attnflow.train.known_truth import fixed_weights
from attnflow.train.length_buckets import Bucket
from attnflow.train.networks.contract import Networks
from attnflow.train.program import Program
from attnflow.train.tasks.task import Mosaics

SCORED_AT_ONCE = 64
MIXED_AT_ONCE = 1024


def modules_of(program: Program, weights: Any, key: Any = None) -> Networks:
    """The networks with these weights (of one run), as they are measured.

    With a key they are as they learn, and what they drop follows from it.
    """
    keys = [key] * 3 if key is None else jax.random.split(key, 3)
    divided = zip(program.divided.items(), keys, strict=False)
    return Networks(**{name: one.merged(weights[name], k) for (name, one), k in divided})


def working(program: Program, weights: Any, key: Any = None) -> Networks:
    """The same with the weights in the type that the run computes in."""
    kind = jnp.dtype(program.run.dtype)
    return modules_of(program, jax.tree.map(lambda w: w.astype(kind), weights), key)


def compose(program: Program, networks: Networks, base: Any, inputs: Mosaics) -> Any:
    """The segments of a batch as focus and classifier take them, [B, m, *features]."""
    items = program.task.gather(base, inputs.segments)
    mask = jnp.ones(inputs.segments.shape, bool) if inputs.mask is None else inputs.mask
    return encoded(program, networks, items, mask)


def encoded(program: Program, networks: Networks, items: Any, mask: Any) -> Any:
    """Items as the encoder, where there is one, makes them out."""
    if not program.task.tokens:
        items = items.astype(jnp.dtype(program.run.dtype))
    return items if networks.encoder is None else networks.encoder(items, mask)


def score_base(program: Program, weights: Any, base: Any) -> tuple[Any, Any]:
    """Focus score and logits of every base item, each scored once: [n] and [n, C]."""

    def items(rows: Any, weights: Any, base: Any) -> tuple[Any, Any]:
        networks = working(program, weights)
        items = program.task.present(base[rows])[:, None]
        items = encoded(program, networks, items, jnp.ones((len(rows), 1), bool))
        scores, logits = networks.focus(items)[:, 0], networks.classifier(items)[:, 0]
        return scores.astype(jnp.float32), logits.astype(jnp.float32)

    return in_pieces(program, items, SCORED_AT_ONCE, len(program.task.base), weights, base)


def in_pieces(
    program: Program, function: Callable[..., Any], most: int, count: int, *shared: Any
) -> Any:
    """``function(rows, *shared)`` for rows 0 to count - 1, so many at once on each device."""

    def local(rows: Any, *shared: Any) -> Any:
        size = min(most, len(rows))
        pieces = -(-len(rows) // size)
        places = jnp.minimum(jnp.arange(pieces * size), len(rows) - 1).reshape(pieces, size)
        found = jax.lax.map(lambda place: function(rows[place], *shared), places)
        return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:])[: len(rows)], found)

    return program.devices.rows(local, count, *shared)


def in_buckets(
    program: Program,
    function: Callable[..., Any],
    most: int,
    buckets: Sequence[Bucket],
    *shared: Any,
) -> Any:
    """``function(rows, length, *shared)`` for all rows of the buckets, in the order of the rows."""
    if len(buckets) == 1:

        def every(rows: Any, *shared: Any) -> Any:
            return function(rows, buckets[0].length, *shared)

        return in_pieces(program, every, most, len(buckets[0].members), *shared)

    def some(length: int, rows: Any, members: Any, *shared: Any) -> Any:
        return function(members[rows], length, *shared)

    parts = [
        in_pieces(
            program, partial(some, b.length), most, len(b.members), jnp.asarray(b.members), *shared
        )
        for b in buckets
    ]
    back = np.argsort(np.concatenate([b.members for b in buckets]))
    return jax.tree.map(lambda *part: jnp.concatenate(part)[back], *parts)


@dataclass(frozen=True)
class Outputs:
    """What the networks say of the segments of a set.

    Attributes:
        inputs: the set.
        scores: of the focus, for each base item [n], or for each segment [N, m].
        logits: of the classifier, [n, C] or [N, m, C].
        log_weights: of the focus, or those that are held, [N, m].
    """

    inputs: Mosaics
    scores: Any
    logits: Any
    log_weights: Any

    @property
    def looked_up(self) -> bool:
        """Whether scores and logits are those of base items."""
        return self.scores.ndim == 1

    @property
    def raw(self) -> Float[Array, "N m"]:
        """Score of each segment."""
        return self.scores[self.inputs.segments] if self.looked_up else self.scores

    def of_label(self, values: Float[Array, "... C"]) -> Float[Array, "N m"]:
        """Of values that stand for the classes of each item or segment, that of the label."""
        labels = self.inputs.labels[:, None]
        if self.looked_up:
            return values[self.inputs.segments, labels]
        return jnp.take_along_axis(values, labels[..., None], axis=-1)[..., 0]

    @property
    def each(self) -> Float[Array, "N m"]:
        """Log-probability of the label on each segment."""
        return self.of_label(jax.nn.log_softmax(self.logits))

    def at(self, rows: Int[Array, " k"], places: Int[Array, " k"]) -> Float[Array, "k C"]:
        """Logits of one segment of each of these inputs."""
        if self.looked_up:
            return self.logits[self.inputs.segments[rows, places]]
        return self.logits[rows, places]

    def best_at(self, rows: Int[Array, " k"], places: Int[Array, " k"]) -> Int[Array, " k"]:
        """The class of largest logit of one segment of each of these inputs."""
        best = jnp.argmax(self.logits, axis=-1)
        return best[self.inputs.segments[rows, places]] if self.looked_up else best[rows, places]

    @property
    def mixture(self) -> Float[Array, "N C"]:
        """Log-probability of each class, of the segments' added by weight."""
        table = jax.nn.log_softmax(self.logits)

        def mixed(row: tuple[Any, Any]) -> Any:
            weight, which = row
            one = table[which] if self.looked_up else which
            return jax.nn.logsumexp(weight[:, None] + one, axis=0)

        rows = self.inputs.segments if self.looked_up else table
        return jax.lax.map(mixed, (self.log_weights, rows), batch_size=MIXED_AT_ONCE)


def table_of(program: Program, weights: Any, base: Any) -> tuple[Any, Any] | None:
    """``score_base`` where segments can be looked up, None where inputs must be composed."""
    return None if program.contextual else score_base(program, weights, base)


def read(
    program: Program,
    weights: Any,
    base: Any,
    inputs: Mosaics,
    replica: Any,
    table: tuple[Any, Any] | None,
    buckets: Sequence[Bucket] | None = None,
) -> Outputs:
    """What the networks say of a set.

    Args:
        program: the program.
        weights: of one run.
        base: the base items on the device.
        inputs: the set.
        replica: the run; may hold its focus.
        table: of ``table_of``.
        buckets: of the set; None for one of all.
    """
    if table is None:
        table = _composed(program, weights, base, inputs, buckets)
    scores, logits = table
    if replica.focus is not None:
        return Outputs(inputs, scores, logits, fixed_weights(replica.focus, inputs))
    raw = Outputs(inputs, scores, logits, None).raw
    return Outputs(inputs, scores, logits, losses.log_weights(raw, inputs.mask))


def _composed(
    program: Program, weights: Any, base: Any, inputs: Mosaics, buckets: Sequence[Bucket] | None
) -> tuple[Any, Any]:
    """Focus score and logits of every segment: [N, m] and [N, m, C]."""
    places = inputs.segments.shape[1]
    buckets = buckets or (Bucket(places, np.arange(len(inputs))),)

    def some(rows: Any, length: int, weights: Any, base: Any, inputs: Mosaics) -> Any:
        networks = working(program, weights)
        segments = compose(program, networks, base, inputs.at(rows, length))
        scores, logits = networks.focus(segments), networks.classifier(segments)
        rest = (0, 0), (0, places - length)
        return (
            jnp.pad(scores.astype(jnp.float32), rest),
            jnp.pad(logits.astype(jnp.float32), (*rest, (0, 0))),
        )

    return in_buckets(program, some, SCORED_AT_ONCE, buckets, weights, base, inputs)
