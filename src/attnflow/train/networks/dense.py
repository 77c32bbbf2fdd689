"""Dense networks of a segment: linear, and with one hidden layer."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

XAVIER = nnx.initializers.xavier_normal()


def xavier_layer(inputs: int, outputs: int, bias: bool, rngs: nnx.Rngs) -> nnx.Linear:
    """A dense layer whose kernel is drawn by Xavier's rule."""
    return nnx.Linear(inputs, outputs, use_bias=bias, kernel_init=XAVIER, rngs=rngs)


def pytorch_layer(inputs: int, outputs: int, bias: bool, rngs: nnx.Rngs) -> nnx.Linear:
    """A dense layer drawn as PyTorch does: uniform within 1 / sqrt(inputs), its bias too."""

    def draw(key: Any, shape: Any, dtype: Any = jnp.float32) -> Any:
        return jax.random.uniform(key, shape, dtype, -(inputs**-0.5), inputs**-0.5)

    return nnx.Linear(inputs, outputs, use_bias=bias, kernel_init=draw, bias_init=draw, rngs=rngs)


def flat(segments: Any, rank: int) -> Any:
    """The segments as one batch of arrays of that rank."""
    return segments.reshape(-1, *segments.shape[segments.ndim - rank :])


class Linear(nnx.Module):
    """Outputs W x, or W x + b, of a flattened segment; one output is a focus score.

    Args:
        shape: shape of a segment.
        outputs: None for a focus network, the number of classes for a classifier.
        rngs: random numbers for the start.
        start: "xavier", "pytorch", or "zero", the simple setting's.
        bias: whether b is added.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        outputs: int | None,
        rngs: nnx.Rngs,
        start: str = "xavier",
        *,
        bias: bool = False,
    ) -> None:
        """Draw or zero the kernel."""
        self.rank, self.scalar = len(shape), outputs is None
        layer = pytorch_layer if start == "pytorch" else xavier_layer
        self.layer = layer(math.prod(shape), outputs or 1, bias, rngs)
        if start == "zero":
            self.layer.kernel[...] = jnp.zeros_like(self.layer.kernel[...])

    def __call__(self, segments: Float[Array, "..."]) -> Float[Array, "..."]:
        """Scores or logits, one for each leading index."""
        lead = segments.shape[: segments.ndim - self.rank]
        out = self.layer(segments.reshape(*lead, -1))
        return out[..., 0] if self.scalar else out


class TwoLayer(nnx.Module):
    """One hidden layer of rectified units, then ``outputs`` (None: one focus score).

    Args:
        shape: shape of a segment.
        outputs: as of ``Linear``.
        rngs: random numbers for the start.
        hidden: number of the units.
        start: "xavier", without a last bias, or "pytorch", with one.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        outputs: int | None,
        rngs: nnx.Rngs,
        hidden: int = 64,
        start: str = "xavier",
    ) -> None:
        """Draw the kernels."""
        self.rank, self.scalar = len(shape), outputs is None
        layer = pytorch_layer if start == "pytorch" else xavier_layer
        self.hidden = layer(math.prod(shape), hidden, True, rngs)
        self.out = layer(hidden, outputs or 1, start == "pytorch", rngs)

    def __call__(self, segments: Float[Array, "..."]) -> Float[Array, "..."]:
        """Scores or logits, one for each leading index."""
        lead = segments.shape[: segments.ndim - self.rank]
        out = self.out(jax.nn.relu(self.hidden(segments.reshape(*lead, -1))))
        return out[..., 0] if self.scalar else out
