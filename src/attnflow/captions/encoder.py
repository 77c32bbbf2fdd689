"""From an image to a grid of feature vectors: a small convolutional network, or VGG19.

A grid is [B, L, D]: L = rows x columns cells, row by row, each with D numbers. At full size both
encoders give 196 x 512 for 224 x 224 pixels.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, UInt8

from attnflow.captions.config import ENCODERS
from attnflow.errors import SettingError
from attnflow.train.networks.contract import drawn_at_once

HE = nnx.initializers.he_normal()
"""Keeps the size of features through layers with ReLU."""


VGG19_BLOCKS = (2, 2, 4, 4, 4)
VGG19_CHANNELS = (64, 128, 256, 512, 512)
IMAGE_MEAN, IMAGE_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's pixels in [0, 1], by which torchvision's weights expect images normalised."""


class Layer(nnx.Module):
    """A 3 x 3 convolution with bias, the image padded by zeros, and ReLU."""

    def __init__(self, inputs: int, outputs: int, rngs: nnx.Rngs) -> None:
        """Draw the kernel."""
        self.kernel = nnx.Param(HE(rngs.params(), (3, 3, inputs, outputs)))
        self.bias = nnx.Param(jnp.zeros(outputs))

    def __call__(self, image: Float[Array, "n h w c"]) -> Float[Array, "n h w d"]:
        """The image, convolved."""
        out = jax.lax.conv_general_dilated(
            image, self.kernel[...], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return jax.nn.relu(out + self.bias[...][None, None, None])


def pool(image: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 c"]:
    """The maximum of every 2 x 2 pixels; a last odd row or column is left out."""
    count, height, width, channels = image.shape
    even = image[:, : height // 2 * 2, : width // 2 * 2]
    blocks = even.reshape(count, height // 2, 2, width // 2, 2, channels)
    return jnp.max(blocks, axis=(2, 4))


class Convolutional(nnx.Module):
    """Blocks of a 3 x 3 convolution and a 2 x 2 pool, each with twice the channels of the last.

    Two channels tell every place its coordinates, from -1 to 1, so that a cell's features can say
    where it is. With the default of 4 blocks and width 64, 224 x 224 pixels become 14 x 14 x 512.

    Args:
        rngs: random numbers for the start.
        width: channels of the first block.
        blocks: how many.
    """

    def __init__(self, rngs: nnx.Rngs, width: int = 64, blocks: int = 4) -> None:
        """Draw the kernels."""
        widths = (5, *(width * 2**i for i in range(blocks)))
        pairs = zip(widths, widths[1:], strict=False)
        self.layers = nnx.List([Layer(a, b, rngs) for a, b in pairs])

    def __call__(self, pixels: UInt8[Array, "B size size 3"]) -> Float[Array, "B L D"]:
        """The grid of features."""
        kind = self.layers[0].bias[...].dtype
        image = pixels.astype(kind) * jnp.asarray(2 / 255, kind) - jnp.asarray(1, kind)
        across = jnp.linspace(-1.0, 1.0, image.shape[1], dtype=kind)
        places = jnp.stack(jnp.meshgrid(across, across), axis=-1)[None]
        shape = (*image.shape[:3], 2)
        hidden = jnp.concatenate([image, jnp.broadcast_to(places, shape)], axis=-1)
        for layer in self.layers:
            hidden = pool(layer(hidden))
        return hidden.reshape(hidden.shape[0], -1, hidden.shape[-1])


class VGG19(nnx.Module):
    """The convolutions of VGG19 up to conv5_4, before the last pool: [B, 196, 512] at 224 x 224.

    Source: Simonyan and Zisserman, "Very deep convolutional networks", ICLR 2015, table 1, E.

    Args:
        rngs: random numbers for the start.
        channels: of the five blocks; only tests take others.
    """

    def __init__(self, rngs: nnx.Rngs, channels: tuple[int, ...] = VGG19_CHANNELS) -> None:
        """Draw the kernels."""
        inputs, layers = 3, []
        for count, outputs in zip(VGG19_BLOCKS, channels, strict=True):
            for _ in range(count):
                layers.append(Layer(inputs, outputs, rngs))
                inputs = outputs
        self.layers = nnx.List(layers)

    def __call__(self, pixels: UInt8[Array, "B size size 3"]) -> Float[Array, "B L D"]:
        """The grid of features."""
        kind = self.layers[0].bias[...].dtype
        mean, deviation = (jnp.asarray(v, kind) for v in (IMAGE_MEAN, IMAGE_DEVIATION))
        hidden = pixels.astype(kind) * jnp.asarray(1 / 255, kind)
        hidden = (hidden - mean[None, None, None]) / deviation[None, None, None]
        done = 0
        for block, count in enumerate(VGG19_BLOCKS):
            if block:
                hidden = pool(hidden)
            for layer in list(self.layers)[done : done + count]:
                hidden = layer(hidden)
            done += count
        return hidden.reshape(hidden.shape[0], -1, hidden.shape[-1])


def make_encoder(name: str, seed: int, size: int, width: int, blocks: int) -> nnx.Module:
    """An encoder by name, with the random start of that seed.

    Args:
        name: "conv" or "vgg19".
        seed: of the start.
        size: side of the images.
        width: channels of the first block of "conv".
        blocks: of "conv".

    Raises:
        SettingError: the name is not known, or images are too small for it.
    """
    if name not in ENCODERS:
        raise SettingError(f"encoder must be one of {', '.join(ENCODERS)}, got {name!r}")
    halvings = blocks if name == "conv" else len(VGG19_BLOCKS) - 1
    if size < 2**halvings:
        raise SettingError(
            f"image_size must be at least {2**halvings} for encoder {name} with {halvings} "
            f"halvings, got {size}"
        )
    kind = VGG19 if name == "vgg19" else partial(Convolutional, width=width, blocks=blocks)
    return drawn_at_once(lambda: kind(nnx.Rngs(seed)))


def grid_of(cells: int) -> tuple[int, int]:
    """Rows and columns of a square grid of so many cells.

    Raises:
        SettingError: the number is no square.
    """
    side = round(np.sqrt(cells))
    if side * side != cells:
        raise SettingError(f"features must be of a square grid of cells, got {cells} cells")
    return side, side


def parameters(module: nnx.Module) -> Any:
    """The weights of a module, as a pytree."""
    return nnx.split(module)[1]
