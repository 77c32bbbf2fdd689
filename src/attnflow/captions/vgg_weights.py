"""Weights of VGG19 from a file: torchvision's ``.pth``, ``.safetensors`` or ``.npz``.

A file of any kind holds torchvision's names, ``features.0.weight`` [64, 3, 3, 3] and so on
(out, in, height, width), perhaps behind a prefix ("module.", "model.") or within "state_dict", as
training scripts write it; the classifier's entries are left out. A ``.pth`` is read by PyTorch
with ``weights_only=True``, which executes nothing that the file holds.
"""

import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from attnflow.captions.encoder import VGG19, VGG19_BLOCKS
from attnflow.errors import DataError, MissingPart
from attnflow.reading import check_zip

NAME = re.compile(r"(?:^|\.)features\.(?:module\.)?(\d+\.(?:weight|bias))$")
"""An entry of a convolution, whatever wraps the network."""


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
    read = _READERS.get(path.suffix.lower())
    if read is None:
        known = ", ".join(_READERS)
        raise DataError(f"encoder weights must end in one of {known}, got {str(path)!r}")
    try:
        found = _features(read(check_zip(path)), path)
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


def _features(entries: dict[str, Any], path: Path) -> dict[str, Any]:
    """The convolutions' entries under torchvision's names."""
    found: dict[str, Any] = {}
    for name in entries:
        if match := NAME.search(name):
            plain = f"features.{match[1]}"
            if plain in found:
                raise DataError(f"encoder weights {str(path)!r} have {plain!r} more than once")
            found[plain] = entries[name]
    lacking = [
        name
        for layer in torchvision_names()
        for name in (f"{layer}.weight", f"{layer}.bias")
        if name not in found
    ]
    if lacking:
        some = ", ".join(list(entries)[:6]) + (", ..." if len(entries) > 6 else "")
        raise DataError(
            f"encoder weights {str(path)!r} have no entry {lacking[0]!r}; their {len(entries)} "
            f"entries are {some}"
        )
    return found


def _entry(found: dict[str, Any], name: str, shape: tuple[int, ...], path: Path) -> np.ndarray:
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
    found = found.get("state_dict", found)
    tensors = ((name, values) for name, values in found.items() if torch.is_tensor(values))
    return {name: values.detach().float().numpy() for name, values in tensors}


def _safetensors(path: Path) -> dict[str, np.ndarray]:
    try:
        from safetensors.numpy import load_file
    except ImportError as error:
        raise MissingPart(
            f"{str(path)!r} needs safetensors, which is not installed: pip install safetensors"
        ) from error
    return load_file(path)


def _npz(path: Path) -> dict[str, np.ndarray]:
    if not zipfile.is_zipfile(path):  # which NumPy would take for a pickle
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
