"""Figures of captions: where attention lay at every word."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, UInt8

from attnflow.plots.style import literal, new_figure, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ACROSS = 6
"""Panels in a row."""


def upsampled(weights: Float[np.ndarray, "rows columns"], size: int) -> Float[np.ndarray, "n n"]:
    """A grid of weights over an image of that size, bilinear between the middles of cells."""
    found = np.asarray(weights, np.float64)
    for axis in (0, 1):
        count = found.shape[axis]
        places = (np.arange(size) + 0.5) * count / size - 0.5
        low = np.clip(np.floor(places).astype(int), 0, count - 1)
        high = np.minimum(low + 1, count - 1)
        share = np.clip(places - low, 0, 1)
        share = share[:, None] if axis == 0 else share[None, :]
        lower, upper = np.take(found, low, axis), np.take(found, high, axis)
        found = (1 - share) * lower + share * upper
    return found


def attention(
    image: UInt8[np.ndarray, "n n 3"] | None,
    words: Sequence[str],
    weights: Float[np.ndarray, "T rows columns"],
) -> "Figure":
    """An image, and over it the focus at each word: the brighter, the more weight.

    Args:
        image: as the encoder saw it; None draws the weights alone.
        words: of the caption.
        weights: of the cells at every word; those at the end of the caption are left out.
    """
    panels = len(words) + 1
    rows = -(-panels // ACROSS)
    with style():
        figure = new_figure(2, 1.25 * rows)
        grid = figure.subplots(rows, ACROSS, squeeze=False).ravel()
        size = 96 if image is None else len(image)
        for axes in grid:
            axes.set_axis_off()
        if image is not None:
            grid[0].imshow(image)
        grid[0].set_title("seen", pad=2)
        for axes, word, weight in zip(grid[1:], words, weights, strict=False):
            over = upsampled(weight, size)
            top = float(over.max()) or 1.0
            if image is not None:
                axes.imshow(image.mean(axis=-1), cmap="gray", vmin=0, vmax=255)
            axes.imshow(over / top, cmap="viridis", vmin=0, vmax=1, alpha=0.65)
            axes.set_title(f"{literal(word)}  {weight.max():.2f}", pad=2)
    return figure
