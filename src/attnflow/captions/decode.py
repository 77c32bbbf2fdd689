"""Writes captions with a trained decoder: greedily, or by beam search; batched, compiled whole.

How the next word's probabilities come from the cells follows from what was trained: soft attention
asks the output layer about the weighted mean, hard attention about the cell of largest weight, and
LVML (with all others, and custom losses) adds the cells' probabilities by their weights.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from attnflow.captions.decoder import Carry, Decoder
from attnflow.captions.teacher_forcing import (
    Unrolled,
    cell_logits,
    look,
    over_cells,
    word_losses,
)
from attnflow.captions.vocabulary import END, PAD, START, UNKNOWN
from attnflow.numeric.pooling import Average, average
from attnflow.train.objective import Objective, objective

NEVER = (PAD, START, UNKNOWN)
"""Words that are never written."""


@dataclass(frozen=True)
class Rule:
    """How words come from cells.

    Attributes:
        draws: whether the recurrence takes the cell of largest weight, or the weighted mean.
        output: what the output layer is asked about: "context" (what the recurrence takes),
            "largest" (the cell of largest weight) or "mixture" (every cell, probabilities added).
    """

    draws: bool
    output: str


def rule_of(trained: Objective, written_by: str = "paradigm") -> Rule:
    """How captions are written after training an objective; ``written_by`` as in the config."""
    if written_by == "soft":
        return Rule(False, "context")
    if trained.averages_input or trained.draws:
        return Rule(trained.draws, "context")
    paradigm = trained.paradigm
    expected = paradigm is not None and average(paradigm, 2) == Average(False, 0.0)
    return Rule(False, "largest" if expected else "mixture")


def losses_by(
    decoder: Decoder, rule: Rule, grid: Any, words: Any, found: Unrolled
) -> Float[Array, "T B K"]:
    """Minus the log-probability of every word by a rule, 0 where the caption is over."""
    if rule.output == "largest":
        chosen = jnp.moveaxis(jnp.argmax(found.log_weights, axis=-1), 1, 0)
        seen = jax.vmap(lambda cells, which: cells[which])(decoder.from_context(grid), chosen)
        found = found._replace(seen=jnp.moveaxis(seen, 0, 1) * found.opening)
    goal = objective("lvml" if rule.output == "mixture" else "soft")
    return word_losses(decoder, goal, grid, words, found, None)


class Written(NamedTuple):
    """Captions of a batch.

    Attributes:
        words: numbers, with ``END`` and then ``PAD``, [B, T].
        weights: of the cells at every word, [B, T, L].
        score: log-probability of the whole caption, [B].
    """

    words: Any
    weights: Any
    score: Any


def next_word(
    decoder: Decoder, rule: Rule, given: tuple[Any, Any, Any], carry: Carry, last: Any
) -> tuple[Carry, Float[Array, "B K V"], Float[Array, "B K L"]]:
    """Log-probabilities of the next word, and the log-weights of the cells.

    Args:
        decoder: the weights.
        rule: how words come from cells.
        given: grid [B, L, D], ``decoder.keys`` of it, ``decoder.from_context`` of it.
        carry: after the last word.
        last: the last word, [B, K].
    """
    grid, keys, seen_cells = given
    zero = jnp.zeros((), jnp.float32)
    carry, found = look(decoder, grid, keys, carry, last, zero, rule.draws)
    embedded, hidden, log_weights, seen, opening, _ = found
    if rule.output == "mixture":
        parts = embedded, hidden, opening

        def of_cells(some: Any, weights: Any) -> Any:
            each = jax.nn.log_softmax(cell_logits(decoder, parts, None, some))
            return jax.nn.logsumexp(weights[..., None] + each, axis=-2)

        vocabulary = decoder.embed[...].shape[0]
        pieces, _ = over_cells(of_cells, seen_cells, log_weights, vocabulary)
        return carry, jax.nn.logsumexp(pieces, axis=0), log_weights
    if rule.output == "largest":
        chosen = jnp.argmax(log_weights, axis=-1)
        seen = jnp.take_along_axis(seen_cells, chosen[..., None], axis=1) * opening
    logits = decoder.logits(embedded, hidden, seen).astype(jnp.float32)
    return carry, jax.nn.log_softmax(logits), log_weights


def _prepared(decoder: Decoder, grid: Any) -> tuple[Any, Any, Any]:
    return grid, decoder.keys(grid), decoder.from_context(grid)


def _written(log_probabilities: Any) -> Any:
    """Log-probabilities without the words that are never written."""
    never = jnp.zeros(log_probabilities.shape[-1], bool).at[jnp.asarray(NEVER)].set(True)
    return jnp.where(never[None, None], -jnp.inf, log_probabilities)


def greedy(decoder: Decoder, rule: Rule, grid: Float[Array, "B L D"], length: int) -> Written:
    """The most probable word at every step."""
    given = _prepared(decoder, grid)
    rows = len(grid)

    def one(state: Any, _: Any) -> Any:
        carry, last, score = state
        carry, found, log_weights = next_word(decoder, rule, given, carry, last)
        found = _written(found)
        over = (last == END) | (last == PAD)
        word = jnp.where(over, PAD, jnp.argmax(found, axis=-1)).astype(jnp.int32)
        gained = jnp.where(over, 0.0, jnp.max(found, axis=-1))
        return (carry, word, score + gained), (word[:, 0], jnp.exp(log_weights[:, 0]))

    start = decoder.begin(grid, 1), jnp.full((rows, 1), START, jnp.int32), jnp.zeros((rows, 1))
    (_, _, score), (words, weights) = jax.lax.scan(one, start, None, length=length)
    return Written(jnp.moveaxis(words, 0, 1), jnp.moveaxis(weights, 0, 1), score[:, 0])


def beam(
    decoder: Decoder,
    rule: Rule,
    grid: Float[Array, "B L D"],
    length: int,
    width: int,
    penalty: float = 0.0,
) -> Written:
    """The best caption that a beam of so many finds.

    Args:
        decoder: the weights.
        rule: how words come from cells.
        grid: of features.
        length: words at most, ``END`` included.
        width: captions that are followed at once.
        penalty: captions are compared by log-probability / length^penalty; 0 for the most
            probable caption.
    """
    given = _prepared(decoder, grid)
    rows, cells = grid.shape[:2]
    lone = jnp.where(jnp.arange(width) == 0, 0.0, -jnp.inf)  # at first all would be the same

    def one(state: Any, number: Any) -> Any:
        carry, last, score, words, weights = state
        carry, found, log_weights = next_word(decoder, rule, given, carry, last)
        over = (last == END) | (last == PAD)
        vocabulary = found.shape[-1]
        nothing = jnp.where(jnp.arange(vocabulary) == PAD, 0.0, -jnp.inf)
        found = jnp.where(over[..., None], nothing[None, None], _written(found))
        total = (score[..., None] + found).reshape(rows, width * vocabulary)
        score, chosen = jax.lax.top_k(total, width)
        parent, word = chosen // vocabulary, (chosen % vocabulary).astype(jnp.int32)
        carry, words, weights, looked = jax.tree.map(
            lambda a: _of(a, parent), (carry, words, weights, jnp.exp(log_weights))
        )
        words = words.at[:, :, number].set(word)
        weights = weights.at[:, :, number].set(looked)
        return (carry, word, score, words, weights), None

    start = (
        decoder.begin(grid, width),
        jnp.full((rows, width), START, jnp.int32),
        jnp.broadcast_to(lone[None], (rows, width)),
        jnp.full((rows, width, length), PAD, jnp.int32),
        jnp.zeros((rows, width, length, cells)),
    )
    (_, _, score, words, weights), _ = jax.lax.scan(one, start, jnp.arange(length))
    size = jnp.sum(words != PAD, axis=-1).astype(jnp.float32)
    best = jnp.argmax(score / jnp.maximum(size, 1.0) ** penalty, axis=-1)[:, None]
    words, weights, score = (_of(a, best)[:, 0] for a in (words, weights, score))
    return Written(words, weights, score)


def _of(values: Any, parent: Int[Array, "B k"]) -> Any:
    """The rows of each caption's parent."""
    index = parent.reshape(*parent.shape, *(1,) * (values.ndim - 2))
    return jnp.take_along_axis(values, index, axis=1)
