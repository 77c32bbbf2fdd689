"""Valid convolution and the block "convolve, pool 2 x 2, ReLU", in the two ways that are fast.

``direct`` calls the platform's convolution: right on a GPU. XLA's convolution inside a compiled
loop on a CPU is some thirty times slower than a matrix product, so there ``products`` turns
everything into products, with images in the last axis so that rows are long. A 3 x 3 kernel over
many channels takes a quarter of the multiplications by ``winograd``. Over few channels 2 x 2
neighbourhoods are folded into channels first: one window of (k + 1)/2 blocks then yields all four
outputs that the pool compares. Everything else gathers plain windows. All ways compute the same
sums; the tests compare them.

An array is in a way's own layout between ``enter`` and ``leave``: [n, h, w, c] for ``direct``,
[c, h, w, n] for ``products``.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from attnflow.train.networks.kernels import winograd
from attnflow.train.networks.kernels.products import product

METHODS = ("direct", "products")
FEW_CHANNELS = 8
"""Up to so many input channels the folded form gains more than its padded kernel costs."""


def method_here() -> str:
    """The faster method on JAX's default device."""
    return "products" if jax.default_backend() == "cpu" else "direct"


def enter(images: Float[Array, "n h w c"], method: str) -> Float[Array, "..."]:
    """Images in the layout of a method."""
    return images if method == "direct" else images.transpose(3, 1, 2, 0)


def leave(values: Float[Array, "..."], method: str) -> Float[Array, "n h w c"]:
    """Images again."""
    return values if method == "direct" else values.transpose(3, 1, 2, 0)


def convolve(
    values: Float[Array, "..."],
    kernel: Float[Array, "k k c d"],
    bias: Float[Array, " d"] | None,
    method: str,
) -> Float[Array, "..."]:
    """Convolution without padding, h2 = h - k + 1, plus bias; in the layout of the method."""
    if method == "direct":
        return _biased(_direct(values, kernel), bias, 3)
    size, outputs = kernel.shape[0], kernel.shape[-1]
    sides = [extent - size + 1 for extent in values.shape[1:3]]
    if (tiles := winograd.tiling(sides, kernel)) is not None:
        out = winograd.convolve_tiles(values, kernel, tiles, pooled=False)  # [4, 4, d, t, t, n]
        out = out.transpose(2, 3, 0, 4, 1, 5).reshape(outputs, *sides, -1)
    else:
        out = _by_windows(values, kernel)
    return _biased(out, bias, 0)


def convolve_pool(
    values: Float[Array, "..."],
    kernel: Float[Array, "k k c d"],
    bias: Float[Array, " d"] | None,
    method: str,
) -> Float[Array, "..."]:
    """ReLU of the 2 x 2 maximum of the convolution plus bias, h2 = (h - k + 1) // 2."""
    size, outputs = kernel.shape[0], kernel.shape[-1]
    height, width = ((extent - size + 1) // 2 for extent in values.shape[1:3])
    if method == "products" and (t := winograd.tiling([2 * height, 2 * width], kernel)) is not None:
        tiles = winograd.convolve_tiles(values, kernel, t, pooled=True)
        top: Any = relu_of_max(_biased(tiles, bias, 4), (0, 2))  # [2, 2, d, t, t, n]
        return top.transpose(2, 3, 0, 4, 1, 5).reshape(outputs, height, width, -1)
    # a last odd row or column is not pooled, so it need not be computed
    used = values[:, : 2 * height + size - 1, : 2 * width + size - 1]
    if method == "direct":
        out = _biased(_direct(used, kernel), bias, 3)
        return relu_of_max_by_place(out.reshape(-1, height, 2, width, 2, outputs), (2, 4))
    if kernel.shape[2] <= FEW_CHANNELS and size % 2:
        return relu_of_max(_biased(_folded(used, kernel), bias, 2), (0, 1))
    out = _biased(_by_windows(used, kernel), bias, 0)
    return relu_of_max(out.reshape(outputs, height, 2, width, 2, -1), (2, 4))


def _biased(values: Any, bias: Any, axis: int) -> Any:
    """Plus the bias along an axis."""
    if bias is None:
        return values
    return values + jnp.expand_dims(bias, [i for i in range(values.ndim) if i != axis])


def _direct(image: Any, kernel: Any) -> Any:
    return jax.lax.conv_general_dilated(
        image, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def _windows(image: Any, size: int) -> Any:
    """Every size x size window in the order of a kernel: [size size c, h2, w2, n]."""
    height, width = (extent - size + 1 for extent in image.shape[1:3])
    parts = [image[:, a : a + height, b : b + width] for a in range(size) for b in range(size)]
    return jnp.concatenate(parts)


def _by_windows(image: Any, kernel: Any) -> Any:
    windows = _windows(image, kernel.shape[0])
    out = product(kernel.reshape(-1, kernel.shape[-1]), windows.reshape(len(windows), -1))
    return out.reshape(-1, *windows.shape[1:])


def _folded(image: Any, kernel: Any) -> Any:
    """The outputs by place under the 2 x 2 pool, [2, 2, d, h2, w2, n]; extents are even."""
    channels, height, width, count = image.shape
    size, outputs = kernel.shape[0], kernel.shape[-1]
    folded = image.reshape(channels, height // 2, 2, width // 2, 2, count)
    folded = folded.transpose(2, 4, 0, 1, 3, 5).reshape(-1, height // 2, width // 2, count)
    shifted = [
        jnp.pad(kernel, ((a, 1 - a), (b, 1 - b), (0, 0), (0, 0))) for a in (0, 1) for b in (0, 1)
    ]
    blocks = (size + 1) // 2
    wide = jnp.stack(shifted, axis=3).reshape(blocks, 2, blocks, 2, channels, 4 * outputs)
    wide = wide.transpose(0, 2, 1, 3, 4, 5).reshape(blocks, blocks, 4 * channels, 4 * outputs)
    out = _by_windows(folded, wide)
    return out.reshape(2, 2, outputs, *out.shape[1:])


def _largest(values: Float[Array, "..."], axes: tuple[int, int]) -> Float[Array, "..."]:
    parts = _four(values, axes)
    return jnp.maximum(jnp.maximum(parts[0], parts[1]), jnp.maximum(jnp.maximum(*parts[2:]), 0))


def _four(values: Any, axes: tuple[int, int]) -> list[Any]:
    first, second = axes
    return [
        jax.lax.index_in_dim(
            jax.lax.index_in_dim(values, b, second, keepdims=False), a, first, keepdims=False
        )
        for a in (0, 1)
        for b in (0, 1)
    ]


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def relu_of_max(values: Float[Array, "..."], axes: tuple[int, int]) -> Float[Array, "..."]:
    """The maximum over two axes of extent 2, and 0.

    The gradient goes to the first of the equal ones, and to none where the result is 0.
    """
    return _largest(values, axes)


def _forward(values: Any, axes: tuple[int, int]) -> Any:
    top = _largest(values, axes)
    return top, (values, top)


def _backward(axes: tuple[int, int], saved: Any, gradient: Any) -> Any:
    values, top = saved
    free = top > 0
    gradients = []
    for part in _four(values, axes):
        chosen = free & (part == top)
        gradients.append(jnp.where(chosen, gradient, 0))
        free = free & ~chosen
    first, second = axes
    halves = [jnp.stack(gradients[a : a + 2], axis=second - 1) for a in (0, 2)]
    return (jnp.stack(halves, axis=first),)


relu_of_max.defvjp(_forward, _backward)

NONE = 4
"""Number of the place where the result is 0."""


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def relu_of_max_by_place(values: Float[Array, "..."], axes: tuple[int, int]) -> Float[Array, "..."]:
    """``relu_of_max``, its gradient from a byte that names the place of each maximum.

    So nothing is scattered and no values are kept for the way back: for a GPU, which its memory
    limits; a CPU takes longer over it.
    """
    return _largest(values, axes)


def _forward_by_place(values: Any, axes: tuple[int, int]) -> Any:
    top, place = _largest(values, axes), jnp.uint8(NONE)
    for number, part in reversed([*enumerate(_four(values, axes))]):
        place = jnp.where(part == top, jnp.uint8(number), place)
    return top, jnp.where(top > 0, place, jnp.uint8(NONE))


def _backward_by_place(axes: tuple[int, int], place: Any, gradient: Any) -> Any:
    extents = [2 if axis in axes else 1 for axis in range(gradient.ndim + 2)]
    numbers = jnp.arange(4, dtype=jnp.uint8).reshape(extents)
    here = jnp.expand_dims(place, axes) == numbers
    return (jnp.where(here, jnp.expand_dims(gradient, axes), 0),)


relu_of_max_by_place.defvjp(_forward_by_place, _backward_by_place)
