"""What a result was computed with, and what this machine has: versions, devices, optional parts.

Only ``device``, ``devices`` and ``x64`` import JAX; the rest reads package metadata and the search
path, so that a command can report a missing part without loading anything.
"""

import importlib
import os
import platform as _platform
import shutil
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from attnflow.errors import MissingPart

PACKAGES = (
    "attnflow",
    "jax",
    "jaxlib",
    "sympy",
    "diffrax",
    "numpy",
    "scipy",
    "xarray",
    "matplotlib",
    "flax",
    "optax",
    "scikit-learn",
    "pillow",
)
"""The packages whose versions may change a number or a figure."""

TYPESETTERS = ("latexmk", "pdflatex", "tectonic")
"""Programs that turn LaTeX into PDF; any one is enough."""

_GPU_PLUGINS = ("jax-cuda13-plugin", "jax-cuda12-plugin", "jax-rocm7-plugin", "jax-rocm60-plugin")


@dataclass(frozen=True)
class Part:
    """An optional part of the installation.

    Attributes:
        name: what it is.
        present: whether it was found.
        found: which one was found (a path or a version), empty if none.
        needed_for: what works with it only.
        how_to_get: what to do where it is missing.
    """

    name: str
    present: bool
    found: str
    needed_for: str
    how_to_get: str


def _installed(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def versions() -> dict[str, str]:
    """Versions of Python and of every package in ``PACKAGES`` that is installed."""
    found = {name: _installed(name) for name in PACKAGES}
    return {
        "python": _platform.python_version(),
        **{name: number for name, number in found.items() if number is not None},
    }


def platform() -> str:
    """Operating system and machine architecture, "Linux x86_64"."""
    return f"{_platform.system()} {_platform.machine()}"


def processor() -> str:
    """The processor's model name, or its architecture where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == "model name" and value.strip():
            return value.strip()
    return _platform.processor() or _platform.machine()


def cores() -> int:
    """Number of processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def devices() -> list[str]:
    """Every device JAX sees, as "platform: kind"; the first is the one computed on."""
    import jax

    return [_describe(d) for d in jax.devices()]


def device() -> str:
    """The device JAX computes on by default, "cpu: Intel ..." or "gpu: NVIDIA H200"."""
    import jax

    # where a new array goes, which follows the user's jax_default_device
    return _describe(next(iter(jax.numpy.zeros(()).devices())))


def _describe(one: Any) -> str:
    kind = processor() if one.platform == "cpu" else one.device_kind
    return f"{one.platform}: {kind}"


def x64() -> bool:
    """Whether JAX's 64-bit mode is on globally; attnflow computes in float64 either way."""
    import jax

    return bool(jax.config.read("jax_enable_x64"))


def typesetter() -> str | None:
    """Path of the first LaTeX program found, or None."""
    return next((found for name in TYPESETTERS if (found := shutil.which(name))), None)


_LIBRARIES = (
    ("training", "flax", "attnflow train", "train"),
    ("optimisers", "optax", "attnflow train", "train"),
    ("locks of runs", "filelock", "attnflow train", "train"),
    ("configs of runs", "tomli-w", "attnflow train", "train"),
    ("images", "pillow", "tasks and captions with images", "train"),
    ("digits and scores", "scikit-learn", "attnflow train, attnflow evaluate", "train"),
    ("TensorBoard logs", "tensorboardX", "attnflow train --tensorboard", "tensorboard"),
    ("Hugging Face data sets", "datasets", "HateXplain from the hub", "data"),
    ("parquet files", "pyarrow", "HateXplain in Hugging Face's version", "data"),
    ("caption data", "grain", "attnflow train --task coco", "captions"),
    ("BLEU", "sacrebleu", "attnflow train --task coco", "captions"),
    ("caption scores", "pycocoevalcap", "ROUGE-L and CIDEr of captions", "scores"),
    ("tests", "pytest", "running the tests", "test"),
)
"""Name, distribution, what needs it, and the extra that brings it."""

_MODULES = {"PIL": "pillow", "sklearn": "scikit-learn", "tomli_w": "tomli-w"}
"""Module -> the distribution that brings it, where their names differ."""


def how_to_get(extra: str) -> str:
    """The command that brings an extra, to be run in the folder of attnflow's source."""
    return f"pip install '.[{extra}]'"


def missing(error: ModuleNotFoundError, needed_by: str = "this needs") -> MissingPart | None:
    """What to say where the import of an optional library failed.

    Args:
        error: the failed import.
        needed_by: subject and verb of the message, such as "captions need".

    Returns:
        The error to raise instead; None if the library is none of the optional ones.
    """
    module = (error.name or "").partition(".")[0]
    distribution = _MODULES.get(module, module)
    extra = next((extra for _, name, _, extra in _LIBRARIES if name == distribution), None)
    if extra is None:
        return None
    return MissingPart(
        f"{needed_by} the library {distribution}, which is not installed: "
        f"{how_to_get(extra)} in the folder of attnflow's source"
    )


def library(module: str, needed_by: str) -> Any:
    """An optional library, imported.

    Args:
        module: the name it is imported by.
        needed_by: subject and verb of the message, such as "captions need".

    Raises:
        MissingPart: it is not installed; the message says how to get it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise missing(error, needed_by) or error from error


def optional_parts() -> list[Part]:
    """The optional parts, present or missing, each with what it is for and how to get it."""
    plugin = next((f"{p} {v}" for p in _GPU_PLUGINS if (v := _installed(p))), "")
    tex = typesetter() or ""
    return [
        Part(
            "LaTeX",
            bool(tex),
            tex,
            "attnflow export --format pdf",
            "install latexmk with TeX Live, or tectonic",
        ),
        Part(
            "JAX GPU plugin",
            bool(plugin),
            plugin,
            "computing on a GPU",
            how_to_get("gpu"),
        ),
        *(
            Part(
                name,
                (version := _installed(package)) is not None,
                f"{package} {version}" if version else "",
                needed_for,
                how_to_get(extra),
            )
            for name, package, needed_for, extra in _LIBRARIES
        ),
    ]


def report() -> dict[str, Any]:
    """All of the above as plain values, for ``attnflow doctor`` and its JSON."""
    return {
        "versions": versions(),
        "platform": platform(),
        "processor": processor(),
        "cores": cores(),
        "device": device(),
        "devices": devices(),
        "x64": x64(),
        "optional": [asdict(part) for part in optional_parts()],
    }
