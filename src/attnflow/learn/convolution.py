"""Valid convolution and the block "convolve, pool 2 x 2, ReLU", in the two ways that are fast.

``direct`` calls the platform's convolution: right on a GPU. XLA's convolution inside a compiled
loop on a CPU is some thirty times slower than a matrix product, so there ``patches`` gathers
windows and multiplies. For few input channels it folds 2 x 2 neighbourhoods into channels
first: one window of (k + 1)/2 blocks then yields all four outputs that the pool compares, and
pooling is a maximum over four channel groups. Both ways compute the same sums; the tests compare
them.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

METHODS = ("direct", "patches")
FEW_CHANNELS = 8
"""Up to so many input channels the folded form gains more than its padded kernel costs."""


def method_here() -> str:
    """The faster method on JAX's default device."""
    return "patches" if jax.default_backend() == "cpu" else "direct"


def convolve(
    image: Float[Array, "n h w c"], kernel: Float[Array, "k k c d"], method: str
) -> Float[Array, "n h2 w2 d"]:
    """Convolution without padding: h2 = h - k + 1."""
    if method == "direct":
        return jax.lax.conv_general_dilated(
            image, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
    size = kernel.shape[0]
    windows = _windows(image, size)
    return windows @ kernel.reshape(-1, kernel.shape[-1])


def convolve_pool(
    image: Float[Array, "n h w c"],
    kernel: Float[Array, "k k c d"],
    bias: Float[Array, " d"] | None,
    method: str,
) -> Float[Array, "n h2 w2 d"]:
    """ReLU of the 2 x 2 maximum of the convolution plus bias: h2 = (h - k + 1) // 2."""
    size = kernel.shape[0]
    height, width = ((extent - size + 1) // 2 for extent in image.shape[1:3])
    # a last odd row or column is not pooled, so it need not be computed
    used = image[:, : 2 * height + size - 1, : 2 * width + size - 1]
    if method == "direct":
        out = convolve(used, kernel, method)
        pooled = jax.lax.reduce_window(
            out, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID"
        )
        return jax.nn.relu(pooled if bias is None else pooled + bias[None, None, None])
    if image.shape[-1] <= FEW_CHANNELS and size % 2:
        four = _folded(used, kernel)
    else:
        out = convolve(used, kernel, method)
        blocks = out.reshape(out.shape[0], height, 2, width, 2, out.shape[-1])
        four = tuple(blocks[:, :, a, :, b] for a in (0, 1) for b in (0, 1))
    if bias is not None:
        four = tuple(part + bias[None, None, None] for part in four)
    return relu_of_max(*four)


def _windows(image: Any, size: int) -> Any:
    """Every size x size window, flattened in the order of a kernel: [n, h2, w2, size size c]."""
    height, width = (extent - size + 1 for extent in image.shape[1:3])
    parts = [image[:, a : a + height, b : b + width] for a in range(size) for b in range(size)]
    return jnp.concatenate(parts, axis=-1)


def _folded(image: Any, kernel: Any) -> Any:
    """The four outputs under each 2 x 2 pool, from an image with even extents."""
    count, height, width, channels = image.shape
    size, outputs = kernel.shape[0], kernel.shape[-1]
    folded = image.reshape(count, height // 2, 2, width // 2, 2, channels)
    folded = folded.transpose(0, 1, 3, 2, 4, 5).reshape(count, height // 2, width // 2, -1)
    shifted = [
        jnp.pad(kernel, ((a, 1 - a), (b, 1 - b), (0, 0), (0, 0))) for a in (0, 1) for b in (0, 1)
    ]
    blocks = (size + 1) // 2
    wide = jnp.stack(shifted, axis=3).reshape(blocks, 2, blocks, 2, channels, 4 * outputs)
    wide = wide.transpose(0, 2, 1, 3, 4, 5).reshape(blocks * blocks * 4 * channels, 4 * outputs)
    return jnp.split(_windows(folded, blocks) @ wide, 4, axis=-1)


@jax.custom_vjp
def relu_of_max(
    a: Float[Array, "..."], b: Float[Array, "..."], c: Float[Array, "..."], d: Float[Array, "..."]
) -> Float[Array, "..."]:
    """max(a, b, c, d, 0); the gradient goes to the first of the equal ones, none where 0."""
    return jnp.maximum(jnp.maximum(jnp.maximum(a, b), jnp.maximum(c, d)), 0)


def _forward(a: Any, b: Any, c: Any, d: Any) -> Any:
    top = relu_of_max(a, b, c, d)
    return top, (a, b, c, d, top)


def _backward(saved: Any, gradient: Any) -> Any:
    *parts, top = saved
    free = top > 0
    gradients = []
    for part in parts:
        chosen = free & (part == top)
        gradients.append(jnp.where(chosen, gradient, 0))
        free = free & ~chosen
    return tuple(gradients)


relu_of_max.defvjp(_forward, _backward)
