"""Networks for words: an embedding that focus and classifier share, with or without context.

``text``: embedding 100, focus 100-200-1, classifier 100-200-C; every word stands for itself.
``text-transformer``: the same on words in context, by sinusoidal positions and one layer of
self-attention with two heads of 50, added to its input. Both follow the paper's experiments, where
focus and classifier also read one table of word vectors; there the focus after self-attention is
100-50-1 and the layer has a dropout of 0.1, here it is 100-200-1 without dropout.
"""

from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from attnflow.errors import SettingError
from attnflow.train.networks.dense import TwoLayer

WIDTH, HIDDEN, HEADS = 100, 200, 2
LONGEST_WAVE = 1e4


class Embedding(nnx.Module):
    """A vector for each word, drawn from the standard normal distribution.

    Args:
        words: how many words there are.
        rngs: random numbers for the start.
        width: of a vector.
    """

    contextual = False
    reads_words = True

    def __init__(self, words: int, rngs: nnx.Rngs, width: int = WIDTH) -> None:
        """Draw the table."""
        self.table = nnx.Embed(words, width, embedding_init=nnx.initializers.normal(1.0), rngs=rngs)

    def __call__(self, words: Int[Array, "*lead"], mask: Any) -> Float[Array, "*lead d"]:
        """The vector of each word."""
        return self.table(words)


class SelfAttention(nnx.Module):
    """Words in context: positions added to their vectors, then what two heads find of the others.

    Args:
        words: how many words there are.
        rngs: random numbers for the start.
        width: of a vector; a multiple of twice the heads.
        heads: how many.
    """

    contextual = True
    reads_words = True

    def __init__(self, words: int, rngs: nnx.Rngs, width: int = WIDTH, heads: int = HEADS) -> None:
        """Draw the table and the kernels."""
        self.embedding = Embedding(words, rngs, width)
        self.heads = nnx.MultiHeadAttention(heads, width, decode=False, rngs=rngs)

    def __call__(self, words: Int[Array, "B m"], mask: Bool[Array, "B m"]) -> Float[Array, "B m d"]:
        """The vector of each word in its context; padding is not attended to."""
        vectors = self.embedding(words, mask)
        where = positions(*vectors.shape[1:]).astype(vectors.dtype)
        vectors = vectors + where[None]
        keys = jnp.broadcast_to(mask[:, None, None, :], (len(mask), 1, *2 * mask.shape[1:]))
        return vectors + self.heads(vectors, mask=keys)


def positions(count: int, width: int) -> Float[Array, "count width"]:
    """Sines (even places) and cosines (odd places) of the position, wavelengths 2 pi to 2e4 pi."""
    rates = LONGEST_WAVE ** -(jnp.arange(0, width, 2, dtype=jnp.float32) / width)
    angles = jnp.arange(count, dtype=jnp.float32)[:, None] * rates[None]
    return jnp.stack([jnp.sin(angles), jnp.cos(angles)], axis=-1).reshape(count, -1)[:, :width]


def text(
    shape: tuple[int, ...], classes: int, rngs: nnx.Rngs
) -> tuple[nnx.Module, nnx.Module, nnx.Module]:
    """Focus, classifier and the embedding that both read."""
    return _with(Embedding(_words(shape), rngs), classes, rngs)


def text_transformer(
    shape: tuple[int, ...], classes: int, rngs: nnx.Rngs
) -> tuple[nnx.Module, nnx.Module, nnx.Module]:
    """Focus, classifier and the words in context that both read."""
    return _with(SelfAttention(_words(shape), rngs), classes, rngs)


def _with(encoder: nnx.Module, classes: int, rngs: nnx.Rngs) -> Any:
    focus = TwoLayer((WIDTH,), None, rngs, HIDDEN)
    return focus, TwoLayer((WIDTH,), classes, rngs, HIDDEN), encoder


def _words(shape: tuple[int, ...]) -> int:
    if len(shape) != 1:
        raise SettingError(f"this network needs words, got segments {shape}")
    return shape[0]
