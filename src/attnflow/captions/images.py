"""An image as the encoder sees it: decoded, resized, cut to a square; and where its parts come to.

``crop`` brings the shorter side to the wanted size and cuts the middle out of the longer one, as
Show, Attend and Tell does; ``square`` squeezes the whole image, so that nothing is lost and shapes
are distorted.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, UInt8

from attnflow.reading import open_image


@dataclass(frozen=True)
class Frame:
    """Pixel (x, y) of an image comes to (scale_x x - left, scale_y y - top).

    Attributes:
        scale_x: horizontal factor.
        scale_y: vertical factor.
        left: pixels cut off on the left, after scaling.
        top: pixels cut off at the top.
    """

    scale_x: float
    scale_y: float
    left: float
    top: float


def frame(width: int, height: int, size: int, resize: str) -> Frame:
    """How an image of that width and height is brought to size x size."""
    if resize == "square":
        return Frame(size / width, size / height, 0.0, 0.0)
    scaled_width, scaled_height = _scaled(width, height, size)
    left, top = (scaled_width - size) // 2, (scaled_height - size) // 2
    return Frame(scaled_width / width, scaled_height / height, float(left), float(top))


def _scaled(width: int, height: int, size: int) -> tuple[int, int]:
    shorter = min(width, height)
    return max(size, round(width * size / shorter)), max(size, round(height * size / shorter))


def load_image(path: str | Path, size: int, resize: str) -> UInt8[np.ndarray, "size size 3"]:
    """Decode an image and bring it to size x size.

    Pixels are averaged (bilinear with the support that the reduction needs).

    Raises:
        DataError: as ``reading.open_image``.
    """
    from PIL import Image

    image = open_image(Path(path), f"image {str(path)!r}", at_least=size)
    if resize == "square":
        target = size, size
    else:
        target = _scaled(*image.size, size)
    if image.size != target:
        image = image.resize(target, Image.Resampling.BILINEAR)
    left, top = (target[0] - size) // 2, (target[1] - size) // 2
    return np.asarray(image)[top : top + size, left : left + size]


def cells_within(
    boxes: Float[np.ndarray, "... 4"], placed: Frame, size: int, grid: tuple[int, int]
) -> Bool[np.ndarray, "... L"]:
    """Which cells of a grid a box holds: those that it covers by at least half.

    Where the box covers no cell by half, the one that it covers most.

    Args:
        boxes: (x, y, width, height) in pixels of the original image; NaN where there is none.
        placed: how the original came into the square.
        size: of the square.
        grid: rows and columns of cells.
    """
    rows, columns = grid
    x, y, width, height = np.moveaxis(np.asarray(boxes, np.float64), -1, 0)
    left, top = placed.scale_x * x - placed.left, placed.scale_y * y - placed.top
    right, bottom = left + placed.scale_x * width, top + placed.scale_y * height

    def covered(low: np.ndarray, high: np.ndarray, count: int) -> np.ndarray:
        edges = np.arange(count + 1) * (size / count)
        inside = np.minimum(high[..., None], edges[1:]) - np.maximum(low[..., None], edges[:-1])
        return np.maximum(inside, 0) / (size / count)

    share = covered(top, bottom, rows)[..., :, None] * covered(left, right, columns)[..., None, :]
    share = np.nan_to_num(share.reshape(*share.shape[:-2], rows * columns))
    most = share.max(axis=-1, keepdims=True)
    return (share > 0) & (share >= np.minimum(0.5, most))
