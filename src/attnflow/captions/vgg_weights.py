"""Weights of VGG19 from a file: torchvision's ``.pth``, ``.safetensors`` or ``.npz``.

A file of any kind holds torchvision's names, ``features.0.weight`` [64, 3, 3, 3] and so on
(out, in, height, width); the classifier's entries are left out. A ``.pth`` is read by PyTorch
with ``weights_only=True``, which executes nothing that the file holds.
"""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from attnflow.captions.encoder import VGG19, VGG19_BLOCKS
from attnflow.errors import DataError, MissingPart


def torchvision_names() -> list[str]:
    """The names of VGG19's convolutions in torchvision, in order: features.0, features.2, ..."""
    names, place = [], 0
    for count in VGG19_BLOCKS:
        for _ in range(count):
            names.append(f"features.{place}")
            place += 2  # the convolution and its ReLU
        place += 1  # the pool
    return names


def load_vgg19(encoder: VGG19, path: str | Path) -> None:
    """Set an encoder's weights from a file.

    Args:
        encoder: whose weights are set.
        path: ``.pth`` or ``.pt``, ``.safetensors``, or ``.npz``.

    Raises:
        MissingPart: there is no such file, or what reads it is not installed.
        DataError: the file is damaged, or an entry is missing or of another shape.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise MissingPart(
            f"no encoder weights at {str(path)!r}: put torchvision's vgg19 (.pth, .safetensors or "
            f".npz with its names) there"
        )
    if path.suffix not in _READERS:
        known = ", ".join(_READERS)
        raise DataError(f"encoder weights must end in one of {known}, got {str(path)!r}")
    try:
        found = _READERS[path.suffix](path)
    except (MissingPart, DataError):
        raise
    except Exception as error:  # every reader raises its own kinds
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"encoder weights {str(path)!r} are damaged: {first}") from error
    pairs = []
    for name, layer in zip(torchvision_names(), encoder.layers, strict=True):
        height, width, inputs, outputs = layer.kernel[...].shape
        kernel = _entry(found, f"{name}.weight", (outputs, inputs, height, width), path)
        bias = _entry(found, f"{name}.bias", (outputs,), path)
        pairs.append((layer, kernel.transpose(2, 3, 1, 0), bias))
    for layer, kernel, bias in pairs:
        layer.kernel[...] = jnp.asarray(kernel, jnp.float32)
        layer.bias[...] = jnp.asarray(bias, jnp.float32)


def _entry(found: Any, name: str, shape: tuple[int, ...], path: Path) -> np.ndarray:
    if name not in found:
        raise DataError(f"encoder weights {str(path)!r} have no entry {name!r}")
    values = np.asarray(found[name])
    if values.shape != shape:
        raise DataError(
            f"entry {name!r} of {str(path)!r} must have shape {shape}, got {values.shape}"
        )
    return values


def _torch(path: Path) -> dict[str, np.ndarray]:
    try:
        import torch  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise MissingPart(
            f"{str(path)!r} is read by PyTorch, which is not installed: pip install torch, or "
            f"convert the file to .safetensors or .npz"
        ) from error
    found = torch.load(path, map_location="cpu", weights_only=True)
    return {name: values.numpy() for name, values in found.items()}


def _safetensors(path: Path) -> dict[str, np.ndarray]:
    try:
        from safetensors.numpy import load_file
    except ImportError as error:
        raise MissingPart(
            f"{str(path)!r} needs safetensors, which is not installed: pip install safetensors"
        ) from error
    return load_file(path)


def _npz(path: Path) -> dict[str, np.ndarray]:
    if not zipfile.is_zipfile(path):
        raise DataError(f"encoder weights {str(path)!r} are damaged: not a zip file")
    with np.load(path, allow_pickle=False) as stored:
        return dict(stored)


_READERS: dict[str, Callable[[Path], dict[str, np.ndarray]]] = {
    ".pth": _torch,
    ".pt": _torch,
    ".safetensors": _safetensors,
    ".npz": _npz,
}


def weights_of(encoder: nnx.Module) -> dict[str, np.ndarray]:
    """An encoder's weights under torchvision's names, as the files hold them."""
    found = {}
    layers: Any = getattr(encoder, "layers", ())
    for name, layer in zip(torchvision_names(), layers, strict=False):
        found[f"{name}.weight"] = np.asarray(layer.kernel[...]).transpose(3, 2, 0, 1)
        found[f"{name}.bias"] = np.asarray(layer.bias[...])
    return found
