"""Minimal filtering: a 3 x 3 convolution by tiles of 4 x 4 outputs, with 36 products for 144.

Winograd's algorithm F(4 x 4, 3 x 3) evaluates a tile of 6 x 6 inputs and the kernel, both taken as
polynomials, at five points and infinity in each direction, multiplies there, and reads the outputs
off the products (Lavin and Gray, CVPR 2016, arXiv 1509.09308). In float32 the result differs from
the plain sum by some 1e-6 of its size. Images lie last, [channels, height, width, images], so that
every product is over long contiguous rows.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from attnflow.train.networks.kernels.products import product

TILE, SIZE = 4, 3
READ = TILE + SIZE - 1
"""Side of the patch that a tile of outputs reads."""
POINTS = (0, 1, -1, 2, -2)
LEAST_CHANNELS = 16


def transforms() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Matrices of inputs [6, 6], kernel [6, 3] and outputs [4, 6], after Cook and Toom.

    ``outputs @ ((kernel @ g) * (inputs @ d))`` is the correlation of d (6 values) with g (3).
    """
    inputs, kernel = np.zeros((READ, READ)), np.zeros((READ, SIZE))
    outputs = np.zeros((TILE, READ))
    for row, point in enumerate(POINTS):
        others = [float(p) for p in POINTS if p != point]
        inputs[row, : len(POINTS)] = np.poly(others)[::-1]
        kernel[row] = float(point) ** np.arange(SIZE) / np.prod([point - p for p in others])
        outputs[:, row] = float(point) ** np.arange(TILE)
    inputs[-1] = np.poly(POINTS)[::-1]
    kernel[-1, -1] = outputs[-1, -1] = 1  # infinity: the leading coefficients
    return inputs, kernel, outputs


INPUTS, KERNEL, OUTPUTS = (matrix.astype(np.float32) for matrix in transforms())
BY_PARITY = np.concatenate([OUTPUTS[0::2], OUTPUTS[1::2]])
"""Outputs of even place first, so that those that are pooled together lie in equal halves."""


def tiling(sides: Sequence[int], kernel: Float[Array, "k k c d"]) -> int | None:
    """How many tiles cover each side of the outputs; None where they do not fit or do not gain.

    Few channels leave no products to save, and lower precisions than float32 lose too much.
    """
    height, width = sides
    if kernel.shape[:2] != (SIZE, SIZE) or kernel.shape[2] < LEAST_CHANNELS:
        return None
    if height != width or height % TILE or kernel.dtype != np.float32:
        return None
    return height // TILE


def convolve_tiles(
    image: Float[Array, "c h w n"], kernel: Float[Array, "3 3 c d"], tiles: int, pooled: bool
) -> Float[Array, "..."]:
    """The convolution's outputs by tiles.

    Args:
        image: what is convolved; rows and columns beyond those that the tiles read are ignored.
        kernel: by which.
        tiles: t, along each side.
        pooled: whether a 2 x 2 pool follows.

    Returns:
        [4, 4, d, t, t, n] by place within the tile and tile; for ``pooled``
        [2, 2, 2, 2, d, t, t, n] by parity of the row, row of the pool, and the same for columns.
    """
    channels, outputs = kernel.shape[2:]
    read = _twice(INPUTS, _patches(image, tiles)).reshape(READ**2, channels, -1)
    out = product(_twice(KERNEL, kernel).reshape(READ**2, channels, outputs), read)
    out = out.reshape(READ, READ, outputs, tiles, tiles, -1)
    if not pooled:
        return _twice(OUTPUTS, out)
    out = _twice(BY_PARITY, out)
    return out.reshape(2, 2, 2, 2, *out.shape[2:])


def _twice(matrix: np.ndarray, values: Any) -> Any:
    """The matrix applied along the first axis and along the second."""
    after, before = matrix.shape
    first = jnp.asarray(matrix) @ values.reshape(before, -1)
    rows = first.reshape(after, before, -1)
    every = jnp.broadcast_to(matrix, (after, *matrix.shape))
    return jnp.matmul(every, rows).reshape(after, after, *values.shape[2:])


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def _patches(image: Any, tiles: int) -> Any:
    """Overlapping patches that the tiles read: [6, 6, c, t, t, n]."""
    end = TILE * tiles - TILE + 1
    rows = [image[:, start : start + end : TILE] for start in range(READ)]
    return jnp.stack(
        [jnp.stack([row[:, :, s : s + end : TILE] for s in range(READ)]) for row in rows]
    )


def _patches_forward(image: Any, tiles: int) -> Any:
    return _patches(image, tiles), jnp.empty((0, *image.shape[1:3]))  # remembers the extents


def _patches_backward(tiles: int, extents: Any, gradient: Any) -> Any:
    _, height, width = extents.shape
    columns = [_overlap([row[s] for s in range(READ)], 2, width) for row in gradient]
    return (_overlap(columns, 1, height),)


def _overlap(parts: Sequence[Any], axis: int, extent: int) -> Any:
    """Adds the patches up where they overlap, along one axis, to an image of that extent."""

    def pad(values: Any, before: int) -> Any:
        return jnp.pad(values, [(before, 1 - before) if i == axis else (0, 0)
                                for i in range(values.ndim)])  # fmt: skip

    places = [pad(parts[r], 0) for r in range(TILE)]
    for r in range(READ - TILE):
        places[r] = places[r] + pad(parts[TILE + r], 1)
    joined = jnp.stack(places, axis + 1)
    count = joined.shape[axis] * TILE
    joined = joined.reshape(*joined.shape[:axis], count, *joined.shape[axis + 2 :])
    if extent <= count:  # what was not read has gradient 0, and so have the last places here
        return jax.lax.slice_in_dim(joined, 0, extent, axis=axis)
    return jnp.pad(joined, [(0, extent - count) if i == axis else (0, 0)
                            for i in range(joined.ndim)])  # fmt: skip


_patches.defvjp(_patches_forward, _patches_backward)
