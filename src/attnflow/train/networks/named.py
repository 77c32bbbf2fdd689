"""Focus and classification networks as Flax modules, and the contract for one's own.

A pair is two ``nnx.Module`` objects, called on arrays with any leading axes::

    scores = focus(segments)        # [B, m, *shape] -> [B, m]
    logits = classifier(segments)   # [B, m, *shape] -> [B, m, C], and [B, *shape] -> [B, C]

where ``shape`` is that of one segment: ``(d,)`` for vectors, ``(height, width, 3)`` for images.
A third module may come before both, and must where segments are words, given by their numbers::

    segments = encoder(items, mask) # [B, m, *shape], or words [B, m], and mask [B, m] -> [B, m, d]

It may look at the whole input, where the mask says that there is a segment; one that looks at each
item alone says so by an attribute ``contextual = False`` and is evaluated faster.

What a module may be and hold is told in ``modules``. It may use ``nnx.Conv``, which is fast on a
GPU; inside compiled epochs on a CPU ``Convolution`` below is much faster.
"""

from collections.abc import Callable
from typing import Any

import flax.linen
import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from attnflow.errors import SettingError
from attnflow.train.networks.dense import XAVIER, Linear, TwoLayer, flat, xavier_layer
from attnflow.train.networks.kernels.convolution import (
    METHODS,
    convolve,
    convolve_pool,
    enter,
    leave,
    method_here,
)
from attnflow.train.networks.text import words


class Convolution(nnx.Module):
    """A valid convolution, or the block with 2 x 2 pool and ReLU.

    Args:
        size: side of the window.
        inputs: channels of the image.
        outputs: channels of the result.
        rngs: random numbers for the start.
        bias: whether a bias is added.
        pool: whether maximum and ReLU follow.
        method: "direct", "products", or None for the faster one on this machine.
    """

    def __init__(
        self,
        size: int,
        inputs: int,
        outputs: int,
        rngs: nnx.Rngs,
        *,
        bias: bool,
        pool: bool,
        method: str | None = None,
    ) -> None:
        """Draw the kernel."""
        if method is not None and method not in METHODS:
            raise SettingError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
        self.kernel = nnx.Param(XAVIER(rngs.params(), (size, size, inputs, outputs)))
        self.bias = nnx.Param(jnp.zeros(outputs)) if bias else None
        self.pool, self.method = pool, method or method_here()

    def __call__(self, image: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 d"]:
        """The image, convolved."""
        return convolved(image, self)

    def within(self, values: Float[Array, "..."]) -> Float[Array, "..."]:
        """The same in the layout of the method."""
        function = convolve_pool if self.pool else convolve
        bias = None if self.bias is None else self.bias[...]
        return function(values, self.kernel[...], bias, self.method)


def convolved(image: Float[Array, "n h w c"], *layers: Convolution) -> Float[Array, "n h2 w2 d"]:
    """The image through several layers of one method, which keep its layout between them."""
    height, width = (_used(extent, layers) for extent in image.shape[1:3])
    values = enter(image[:, :height, :width], layers[0].method)
    for layer in layers:
        values = layer.within(values)
    return leave(values, layers[0].method)


def _used(extent: int, layers: tuple[Convolution, ...]) -> int:
    """How many rows of the image the result depends on: pools leave out a last odd row."""
    grown = [(layer.kernel.shape[0] - 1, 2 if layer.pool else 1) for layer in layers]
    for more, pooled in grown:
        extent = (extent - more) // pooled
    for more, pooled in reversed(grown):
        extent = pooled * extent + more
    return extent


class ConvolutionalFocus(nnx.Module):
    """The focus of the paper's CIFAR experiments: convolutions 32-64-64 of 3 x 3, dense, no bias.

    Args:
        shape: (height, width, channels) of a segment.
        rngs: random numbers for the start.
        dense: widths of the dense layers before the score, (512, 64, 10) or, wider, (512, 64).
        method: see ``Convolution``.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        rngs: nnx.Rngs,
        dense: tuple[int, ...] = (512, 64, 10),
        method: str | None = None,
    ) -> None:
        """Draw the kernels."""
        plain = {"rngs": rngs, "bias": False, "method": method}
        self.first = Convolution(3, shape[-1], 32, pool=True, **plain)
        self.second = Convolution(3, 32, 64, pool=True, **plain)
        self.third = Convolution(3, 64, 64, pool=False, **plain)
        side = [((extent - 2) // 2 - 2) // 2 - 2 for extent in shape[:2]]
        if min(side) < 1:
            raise SettingError(f"images must be at least 18 x 18 for this network, got {shape}")
        widths = (side[0] * side[1] * 64, *dense, 1)
        self.dense = nnx.Sequential(
            *(xavier_layer(a, b, False, rngs) for a, b in zip(widths, widths[1:], strict=False))
        )

    def __call__(self, segments: Float[Array, "*lead h w c"]) -> Float[Array, "*lead"]:
        """The score of each segment."""
        layers = self.first, self.second, self.third
        hidden = jax.nn.relu(convolved(flat(segments, 3), *layers))
        return _chain(self.dense, hidden.reshape(hidden.shape[0], -1)).reshape(segments.shape[:-3])


class ConvolutionalClassifier(nnx.Module):
    """The classifier of the paper's CIFAR experiments: two 5 x 5 convolutions, then dense layers.

    Args:
        shape: (height, width, channels) of a segment.
        classes: C.
        rngs: random numbers for the start.
        channels: of the convolutions, (6, 16) or, wider, (16, 32).
        dense: widths before the logits: (120, 84), as published (120, 84, 10) or, wider, (120,).
        method: see ``Convolution``.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        classes: int,
        rngs: nnx.Rngs,
        channels: tuple[int, int] = (6, 16),
        dense: tuple[int, ...] = (120, 84),
        method: str | None = None,
    ) -> None:
        """Draw the kernels."""
        plain = {"rngs": rngs, "bias": True, "method": method, "pool": True}
        self.first = Convolution(5, shape[-1], channels[0], **plain)
        self.second = Convolution(5, *channels, **plain)
        side = [((extent - 4) // 2 - 4) // 2 for extent in shape[:2]]
        if min(side) < 1:
            raise SettingError(f"images must be at least 16 x 16 for this network, got {shape}")
        widths = (side[0] * side[1] * channels[1], *dense, classes)
        self.dense = nnx.Sequential(
            *(xavier_layer(a, b, True, rngs) for a, b in zip(widths, widths[1:], strict=False))
        )

    def __call__(self, segments: Float[Array, "*lead h w c"]) -> Float[Array, "*lead C"]:
        """The logits of each segment."""
        hidden = convolved(flat(segments, 3), self.first, self.second)
        out = _chain(self.dense, hidden.reshape(hidden.shape[0], -1))
        return out.reshape(*segments.shape[:-3], out.shape[-1])


def _chain(layers: nnx.Sequential, hidden: Any) -> Any:
    """Dense layers with ReLU between them."""
    *inner, last = layers.layers
    for layer in inner:
        hidden = jax.nn.relu(layer(hidden))
    return last(hidden)


Module = nnx.Module | flax.linen.Module

Pair = Callable[
    [tuple[int, ...], int, nnx.Rngs], tuple[Module, Module] | tuple[Module, Module, Module]
]
"""(shape of a segment, number of classes, random numbers) -> (focus, classifier[, encoder]).

The shape of words is (number of words,): a word stands for a vector with a one in its place.
"""


def _dense(start: str = "xavier", *, hidden: bool = False, bias: bool = False) -> Pair:
    """A maker of a linear classifier and a focus that may have a hidden layer."""

    def make(shape: Any, classes: int, rngs: nnx.Rngs) -> tuple[nnx.Module, nnx.Module]:
        focus = TwoLayer(shape, None, rngs) if hidden else Linear(shape, None, rngs, start)
        return focus, Linear(shape, classes, rngs, start, bias=bias)

    return make


def _images(
    focus: tuple[int, ...] = (512, 64, 10), *, classifier_first: bool = False, **classifier: Any
) -> Pair:
    """A maker of the convolutional pair, whose start is drawn one network after the other."""

    def make(shape: Any, classes: int, rngs: nnx.Rngs) -> tuple[nnx.Module, nnx.Module]:
        if len(shape) != 3:
            raise SettingError(
                f"this network needs segments (height, width, channels), got {shape}"
            )

        def classify() -> nnx.Module:
            return ConvolutionalClassifier(shape, classes, rngs, **classifier)

        early = classify() if classifier_first else None
        return ConvolutionalFocus(shape, rngs, focus), early or classify()

    return make


NETWORKS: dict[str, Pair] = {
    "linear": _dense(),
    "linear-zero": _dense("zero"),
    "linear-published": _dense("pytorch", bias=True),
    "two-layer": _dense(hidden=True),
    "cifar": _images(),
    "cifar-wide": _images((512, 64), classifier_first=True, channels=(16, 32), dense=(120,)),
    "cifar-published": _images(dense=(120, 84, 10)),
    "text": words(),
    "text-transformer": words(context=True),
    "text-published": words(published=True),
    "text-transformer-published": words(context=True, published=True),
}
"""Name -> maker of a pair: linear, from zero (the simple setting), two-layer focus, the CNNs; and
for words, with an encoder."""

OWN = "own"
"""What a config calls networks that are given as a function."""
