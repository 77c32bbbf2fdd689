"""Pixels as Pillow reads them, of whatever depth."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image


def eight_bits(image: "Image") -> "Image":
    """A grey image of 16 bits by its upper 8, where Pillow would cut; others as they are."""
    from PIL.Image import fromarray

    if not image.mode.startswith("I"):
        return image
    upper = np.clip(np.asarray(image).astype(np.int64) >> 8, 0, 255)
    return fromarray(upper.astype(np.uint8))
