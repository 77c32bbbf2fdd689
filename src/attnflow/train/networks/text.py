"""Networks for words: an embedding that focus and classifier share, with or without context.

``text``: embedding 100, focus 100-200-1, classifier 100-200-C; every word stands for itself.
``text-transformer``: the same on words in context, by sinusoidal positions and one layer of
self-attention with two heads of 50, added to its input.

``text-published`` and ``text-transformer-published`` are the networks of the paper's code: every
dense layer drawn as PyTorch does, and with a bias, but queries, keys and values; in context the
focus is 100-50-1, a share of 0.1 of the vectors is dropped, and scores are divided by the root of
the whole width. (There some heads of a batch see the mask of another post; here each sees its own.)
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from attnflow.errors import SettingError
from attnflow.train.networks.dense import TwoLayer, pytorch_layer

WIDTH, HIDDEN, HEADS = 100, 200, 2
NARROW, DROPPED = 50, 0.1
"""Hidden units of the published focus in context, and the share of its vectors that is dropped."""
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
        published: whether the layer is as in the paper's code.
    """

    contextual = True
    reads_words = True

    def __init__(
        self,
        words: int,
        rngs: nnx.Rngs,
        width: int = WIDTH,
        heads: int = HEADS,
        *,
        published: bool = False,
    ) -> None:
        """Draw the table and the kernels."""
        self.embedding = Embedding(words, rngs, width)
        self.dropout = nnx.Dropout(DROPPED, rngs=rngs) if published else None
        made: Any = PublishedHeads if published else partial(nnx.MultiHeadAttention, decode=False)
        self.heads = made(heads, width, rngs=rngs)

    def __call__(self, words: Int[Array, "B m"], mask: Bool[Array, "B m"]) -> Float[Array, "B m d"]:
        """The vector of each word in its context; padding is not attended to."""
        vectors = self.embedding(words, mask)
        where = positions(*vectors.shape[1:]).astype(vectors.dtype)
        vectors = vectors + where[None]
        if self.dropout is not None:
            vectors = self.dropout(vectors)
        keys = jnp.broadcast_to(mask[:, None, None, :], (len(mask), 1, *2 * mask.shape[1:]))
        return vectors + self.heads(vectors, mask=keys)


class PublishedHeads(nnx.Module):
    """Self-attention of the paper's code: no bias but the last, scores over the root of the width.

    Args:
        heads: how many.
        width: of a vector.
        rngs: random numbers for the start.
    """

    def __init__(self, heads: int, width: int, rngs: nnx.Rngs) -> None:
        """Draw the kernels."""
        self.count, self.scale = heads, width**-0.5
        self.query, self.key, self.value = (
            pytorch_layer(width, width, False, rngs) for _ in range(3)
        )
        self.out = pytorch_layer(width, width, True, rngs)

    def __call__(self, vectors: Float[Array, "B m d"], mask: Any) -> Float[Array, "B m d"]:
        """What the heads find of the words that the mask [B, 1, m, m] lets them see."""
        parts = (
            layer(vectors).reshape(*vectors.shape[:-1], self.count, -1)
            for layer in (self.query, self.key, self.value)
        )
        found = jax.nn.dot_product_attention(*parts, mask=mask, scale=self.scale)
        return self.out(found.reshape(vectors.shape))


def positions(count: int, width: int) -> Float[Array, "count width"]:
    """Sines (even places) and cosines (odd places) of the position, wavelengths 2 pi to 2e4 pi."""
    rates = LONGEST_WAVE ** -(jnp.arange(0, width, 2, dtype=jnp.float32) / width)
    angles = jnp.arange(count, dtype=jnp.float32)[:, None] * rates[None]
    return jnp.stack([jnp.sin(angles), jnp.cos(angles)], axis=-1).reshape(count, -1)[:, :width]


def words(*, context: bool = False, published: bool = False) -> Callable[..., Any]:
    """A maker of focus, classifier and the encoder that both read.

    Args:
        context: whether words are put into their context.
        published: whether the networks are those of the paper's code.
    """
    start = "pytorch" if published else "xavier"
    hidden = NARROW if published and context else HIDDEN

    def make(
        shape: tuple[int, ...], classes: int, rngs: nnx.Rngs
    ) -> tuple[nnx.Module, nnx.Module, nnx.Module]:
        if len(shape) != 1:
            raise SettingError(f"this network needs words, got segments {shape}")
        if context:
            encoder: nnx.Module = SelfAttention(shape[0], rngs, published=published)
        else:
            encoder = Embedding(shape[0], rngs)
        focus = TwoLayer((WIDTH,), None, rngs, hidden, start)
        return focus, TwoLayer((WIDTH,), classes, rngs, HIDDEN, start), encoder

    return make
