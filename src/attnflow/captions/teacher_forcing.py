"""The decoder over whole captions: what is looked at at every word, and what the words cost.

First ``unroll`` runs the recurrence with the true words (teacher forcing) and keeps, for every
word, the LSTM's output and the focus. The paradigm decides what the recurrence takes as context:
the cell that was drawn, where one is drawn, else the weighted mean. Then ``word_losses`` computes
losses word by word, each again in the backward pass, so that no more logits than one word's (and,
for sums over cells, some cells') are ever in memory.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from attnflow.captions.decoder import Carry, Decoder
from attnflow.captions.vocabulary import PAD, START
from attnflow.numeric.pooling import average
from attnflow.train import losses
from attnflow.train.objective import Objective

LOGITS_AT_ONCE = {"cpu": 1 << 22, "other": 1 << 27}
"""Logits of cells held at once, by platform: 16 MiB fit a processor's cache, 512 MiB a GPU."""


class Unrolled(NamedTuple):
    """What every word sees; leading axis T.

    Attributes:
        embedded: the words before, [T, B, K, E].
        hidden: the LSTM's output, [T, B, K, H].
        log_weights: of the focus, [T, B, K, L].
        seen: ``from_context`` of the gated context, [T, B, K, Q].
        opening: of the gate, [T, B, K, 1].
        score: log-weight of the cell that was drawn, or 0, [T, B, K].
    """

    embedded: Any
    hidden: Any
    log_weights: Any
    seen: Any
    opening: Any
    score: Any


def before(words: Int[Array, "B K T"]) -> Int[Array, "B K T"]:
    """The word before each word."""
    return jnp.concatenate([jnp.full_like(words[..., :1], START), words[..., :-1]], axis=-1)


def look(
    decoder: Decoder,
    grid: Any,
    keys: Any,
    carry: Carry,
    words: Int[Array, "B K"],
    noise: Any,
    draws: bool,
) -> tuple[Carry, tuple[Any, ...]]:
    """One word: read, attend, choose the context; the next carry and the parts of ``Unrolled``.

    Args:
        decoder: the weights.
        grid: [B, L, D].
        keys: ``decoder.keys(grid)``.
        carry: of the last word.
        words: the last words.
        noise: Gumbel noise [B, K, L] for a draw, zeros for the largest weight; unused otherwise.
        draws: whether one cell is the context, or the weighted mean.
    """
    carry, embedded = decoder.read(carry, words)
    # the [B, K, L, A] inside is the largest array of a word: computed again, not kept
    log_weights = jax.checkpoint(decoder.log_weights)(keys, carry.hidden)
    if draws:
        drawn = jnp.argmax(log_weights + noise, axis=-1)
        context = jnp.take_along_axis(grid, drawn[..., None], axis=1)
        score = jnp.take_along_axis(log_weights, drawn[..., None], axis=-1)[..., 0]
    else:
        context = jax.vmap(losses.weighted_input, in_axes=(1, None), out_axes=1)(log_weights, grid)
        score = jnp.zeros(log_weights.shape[:-1])
    opening = decoder.open(carry.hidden)
    context = context * opening
    seen = decoder.from_context(context)
    found = (embedded, carry.hidden, log_weights, seen, opening, score)
    return Carry(carry.memory, carry.hidden, context), found


def unroll(
    decoder: Decoder,
    grid: Float[Array, "B L D"],
    words: Int[Array, "B K T"],
    noise: Any,
    draws: bool,
) -> Unrolled:
    """The recurrence over captions with the true words.

    Args:
        decoder: the weights.
        grid: of features.
        words: with ``END``, padded.
        noise: Gumbel noise [T, B, K, L], or None for the largest weight, where cells are chosen.
        draws: whether one cell is the context.
    """
    keys = decoder.keys(grid)
    zero = jnp.zeros((), jnp.float32)

    def one(carry: Carry, given: Any) -> Any:
        last, drawn_by = given
        return look(decoder, grid, keys, carry, last, zero if noise is None else drawn_by, draws)

    time_first = jnp.moveaxis(before(words), -1, 0)
    steps = len(time_first)
    given = time_first, jnp.zeros(steps) if noise is None else noise
    _, found = jax.lax.scan(one, decoder.begin(grid, words.shape[1]), given)
    return Unrolled(*found)


def cells_at_once(count: int, rows: int, words: int) -> int:
    """How many cells' logits are computed at once."""
    platform = "cpu" if jax.default_backend() == "cpu" else "other"
    return max(1, min(count, LOGITS_AT_ONCE[platform] // max(1, rows * words)))


def over_cells(function: Any, seen_cells: Any, log_weights: Any, vocabulary: int) -> Any:
    """``function(seen [B, K, l, Q], log-weights [B, K, l])`` for some cells at a time.

    Args:
        function: what to compute of some cells.
        seen_cells: ``from_context`` of every cell, [B, L, Q].
        log_weights: [B, K, L].
        vocabulary: V.

    Returns:
        The results, with a leading axis of pieces, and the number of cells that were added to
        fill the last piece (their log-weight is -inf).
    """
    rows, each, cells = log_weights.shape
    some = cells_at_once(cells, rows * each, vocabulary)
    pieces = -(-cells // some)
    spare = pieces * some - cells
    seen = jnp.pad(seen_cells, ((0, 0), (0, spare), (0, 0)))
    weights = jnp.pad(log_weights, ((0, 0), (0, 0), (0, spare)), constant_values=-jnp.inf)
    seen = jnp.moveaxis(seen.reshape(rows, pieces, some, -1), 1, 0)
    weights = jnp.moveaxis(weights.reshape(rows, each, pieces, some), 2, 0)

    def one(piece: Any) -> Any:
        those, their = piece
        wide = jnp.broadcast_to(those[:, None], (rows, each, *those.shape[1:]))
        return function(wide, their)

    return jax.lax.map(jax.checkpoint(one), (seen, weights)), spare


def cell_logits(decoder: Decoder, parts: Any, kept: Any, seen: Any) -> Any:
    """Logits [B, K, l, V], float32, if each of the cells were the context."""
    embedded, hidden, opening = parts
    given = embedded[:, :, None], hidden[:, :, None], seen * opening[:, :, None]
    return decoder.logits(*given, None if kept is None else kept[:, :, None]).astype(jnp.float32)


def word_losses(
    decoder: Decoder,
    objective: Objective,
    grid: Float[Array, "B L D"],
    words: Int[Array, "B K T"],
    found: Unrolled,
    dropped: Any,
) -> Float[Array, "T B K"]:
    """The paradigm's loss of every word, 0 where the caption is over.

    For sampled hard attention this is the cross entropy of the cells that were drawn; what the
    draw itself is taught by is added elsewhere, as it needs the words that follow.

    Args:
        decoder: the weights.
        objective: the paradigm, or a custom loss, which needs the logits of all cells at once.
        grid: of features.
        words: with ``END``, padded.
        found: by ``unroll``.
        dropped: from the number of a word to dropout's factors [B, K, X], or None.
    """
    labels = jnp.moveaxis(words, -1, 0)
    by_context = objective.averages_input or objective.draws
    seen_cells = None if by_context else decoder.from_context(grid)
    vocabulary = decoder.embed[...].shape[0]
    custom = objective.paradigm is None
    how = None if by_context or custom else average(objective.paradigm, vocabulary)

    def one(given: tuple[Any, ...]) -> Any:
        number, embedded, hidden, log_weights, seen, opening, label = given
        kept = None if dropped is None else dropped(number)
        if by_context:
            logits = decoder.logits(embedded, hidden, seen, kept).astype(jnp.float32)
            each = losses.soft(logits, label)
        else:
            parts = embedded, hidden, opening

            def of_cells(some: Any, _: Any) -> Any:
                logits = cell_logits(decoder, parts, kept, some)
                return logits if how is None else how.of_segments(logits, label)

            pieces, _ = over_cells(of_cells, seen_cells, log_weights, vocabulary)
            count = log_weights.shape[-1]
            cells = jnp.moveaxis(pieces, 0, 2)
            cells = cells.reshape(*label.shape, -1, *cells.shape[4:])[:, :, :count]
            if how is None:
                each = objective.of_logits(log_weights, cells, label)
            else:
                each = how.loss(log_weights, cells)
        return jnp.where(label == PAD, 0.0, each)

    given = jnp.arange(len(labels)), *found[:5], labels
    return jax.lax.map(jax.checkpoint(one), given)


def costs_to_come(each: Float[Array, "T B K"]) -> Float[Array, "T B K"]:
    """For every word the sum of its loss and of those after it: all that its draw can change."""
    return jax.lax.cumsum(each, axis=0, reverse=True)


def taught_by(
    credit: str, cost: Float[Array, "T B K"], words: Int[Array, "B K T"], baseline: Any
) -> tuple[Any, Any, Any]:
    """What the draw of every word is judged by, compared with what, and at which words.

    Args:
        credit: as in the config. "published" is the estimator of the paper's code, which is no
            gradient of the expected loss: the draw of a caption's last word alone is judged, by
            half of the loss of the whole caption plus the baseline, not less it.
        cost: of every word.
        words: with ``END``, padded.
        baseline: running mean of what draws are judged by, at every place, [T].

    Returns:
        (costs, baseline, where), each of or against [T, B, K].
    """
    present = jnp.moveaxis(words, -1, 0) != PAD
    compared = baseline[:, None, None]
    if credit == "published":
        last = present & ~jnp.concatenate([present[1:], jnp.zeros_like(present[:1])])
        whole = jnp.broadcast_to(jnp.sum(cost, axis=0), cost.shape)
        return whole / 2, -compared[:1], last
    return (costs_to_come(cost) if credit == "caption" else cost), compared, present


def dropout_of(key: Any, rate: float, shape: tuple[int, ...], kind: Any) -> Any:
    """Dropout's factors for each word: its number -> [B, *shape], from one key an image [B]."""

    def factors(number: Any) -> Any:
        draw = partial(_kept, number=number, rate=rate, shape=shape)
        return jax.vmap(draw)(key).astype(kind)

    return factors


def _kept(key: Any, *, number: Any, rate: float, shape: tuple[int, ...]) -> Any:
    chosen = jax.random.bernoulli(jax.random.fold_in(key, number), 1 - rate, shape)
    return chosen.astype(jnp.float32) / (1 - rate)
