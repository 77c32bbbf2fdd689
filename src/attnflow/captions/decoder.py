"""The decoder of Show, Attend and Tell: an LSTM that looks at a grid of features at every word.

At word t, with grid a_1 .. a_L, last word y_{t-1} and last context z_{t-1} (0 at the start):

    h_t = LSTM([E y_{t-1}, z_{t-1}], h_{t-1})          h_0, c_0 from the mean of the grid
    e_ti = v' tanh(W_a a_i + W_h h_t)                  additive attention (Bahdanau)
    weights = softmax(e_t)                             the focus, over the L cells
    z = beta_t a_i or beta_t sum_i weights_i a_i       beta_t = sigmoid(w' h_t), the gate
    p(y_t | z) = softmax(L_o tanh(E y_{t-1} + L_h h_t + L_z z))        deep output

Unlike the paper's, the LSTM reads the last word before attention looks, so where it looks may
depend on the word just said, and p(y_t | cell i) costs an output layer a cell, not an LSTM a cell.
That makes the sum over all cells, which hard attention and LVML ask for, exact for a word.

Source: Xu et al., "Show, Attend and Tell", ICML 2015, section 3.1.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from attnflow.train import losses
from attnflow.train.networks.dense import XAVIER


class Carry(NamedTuple):
    """What goes from word to word.

    Attributes:
        memory: the LSTM's cell, [B, K, H].
        hidden: its output, [B, K, H].
        context: what was looked at last, [B, K, D].
    """

    memory: Any
    hidden: Any
    context: Any


def _dense(inputs: int, outputs: int, bias: bool, rngs: nnx.Rngs) -> nnx.Linear:
    return nnx.Linear(inputs, outputs, use_bias=bias, kernel_init=XAVIER, rngs=rngs)


class Decoder(nnx.Module):
    """The decoder's weights, and one function for each part of a word.

    Args:
        words: of the vocabulary.
        features: D.
        rngs: random numbers for the start.
        hidden: of the LSTM.
        attention: width of the additive attention.
        embedding: of a word.
        gate: whether the context is gated.
        output: "deep", as above, or "linear": softmax(L_h h_t + L_z z).
        start: h_0 and c_0 from the "mean" of the grid, or "zero".
    """

    def __init__(
        self,
        words: int,
        features: int,
        rngs: nnx.Rngs,
        *,
        hidden: int = 512,
        attention: int = 256,
        embedding: int = 512,
        gate: bool = True,
        output: str = "deep",
        start: str = "mean",
    ) -> None:
        """Draw the weights."""
        self.deep, self.size = output == "deep", hidden
        spread = nnx.initializers.normal(embedding**-0.5)
        self.embed = nnx.Param(spread(rngs.params(), (words, embedding)))
        self.cell = nnx.OptimizedLSTMCell(embedding + features, hidden, rngs=rngs)
        self.keys = _dense(features, attention, True, rngs)
        self.query = _dense(hidden, attention, False, rngs)
        self.score = _dense(attention, 1, False, rngs)
        mean = start == "mean"
        self.first_memory = _dense(features, hidden, True, rngs) if mean else None
        self.first_hidden = _dense(features, hidden, True, rngs) if mean else None
        self.gate = _dense(hidden, 1, True, rngs) if gate else None
        inner = embedding if self.deep else words
        self.from_hidden = _dense(hidden, inner, True, rngs)
        self.from_context = _dense(features, inner, False, rngs)
        self.out = _dense(embedding, words, True, rngs) if self.deep else None

    def begin(self, grid: Float[Array, "B L D"], each: int) -> Carry:
        """What the first word is said from, for ``each`` captions of every image."""
        mean = jnp.mean(grid, axis=1)
        many = (len(grid), each)
        zero = jnp.zeros((*many, self.size), grid.dtype)
        memory = hidden = zero
        if self.first_memory is not None and self.first_hidden is not None:
            memory, hidden = (
                jnp.broadcast_to(jnp.tanh(layer(mean))[:, None], zero.shape)
                for layer in (self.first_memory, self.first_hidden)
            )
        return Carry(memory, hidden, jnp.zeros((*many, grid.shape[-1]), grid.dtype))

    def read(self, carry: Carry, words: Int[Array, "B K"]) -> tuple[Carry, Float[Array, "B K E"]]:
        """The LSTM's step: it reads the last words and contexts."""
        embedded = self.embed[...][words]
        inputs = jnp.concatenate([embedded, carry.context], axis=-1)
        (memory, hidden), _ = self.cell((carry.memory, carry.hidden), inputs)
        return Carry(memory, hidden, carry.context), embedded

    def log_weights(
        self, keys: Float[Array, "B L A"], hidden: Float[Array, "B K H"]
    ) -> Float[Array, "B K L"]:
        """Log-weights of the cells, float32; ``keys`` are ``self.keys(grid)``."""
        together = jnp.tanh(keys[:, None] + self.query(hidden)[:, :, None])
        return losses.log_weights(self.score(together)[..., 0].astype(jnp.float32))

    def open(self, hidden: Float[Array, "*lead H"]) -> Float[Array, "*lead 1"]:
        """How far the gate is open, 0 to 1; 1 where there is none."""
        if self.gate is None:
            return jnp.ones((*hidden.shape[:-1], 1), hidden.dtype)
        return jax.nn.sigmoid(self.gate(hidden))

    def logits(
        self,
        embedded: Float[Array, "*lead E"],
        hidden: Float[Array, "*lead H"],
        seen: Float[Array, "*lead Q"],
        kept: Any = None,
    ) -> Float[Array, "*lead V"]:
        """Logits of the next word.

        Args:
            embedded: the last word.
            hidden: the LSTM's output.
            seen: the gated context, ``self.from_context`` of it.
            kept: dropout's factors, of the shape of the deep output's hidden layer, or of
                ``hidden`` where the output is linear; None for none.
        """
        if self.out is None:
            dropped = hidden if kept is None else hidden * kept
            return self.from_hidden(dropped) + seen
        inner = jnp.tanh(embedded + self.from_hidden(hidden) + seen)
        return self.out(inner if kept is None else inner * kept)

    @property
    def dropped(self) -> int:
        """Width of what dropout acts on."""
        return self.size if self.out is None else self.embed[...].shape[-1]
