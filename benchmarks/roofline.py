"""What a compiled epoch asks of a GPU, a step: kernels and memory traffic, from XLA's own text."""

import re
from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp

FREE = ("parameter", "get-tuple-element", "tuple", "bitcast", "constant")
"""Instructions that launch nothing."""
NAMES = {"pred": "bool", "s": "int", "u": "uint", "f": "float", "bf": "bfloat"}
INSTRUCTION = re.compile(r"\s*(?:ROOT )?(%[\w.\-]+) = (\(.*?\)|\S+) ([\w\-]+)\((.*)")


@dataclass(frozen=True)
class Gpu:
    """A GPU by its datasheet.

    Attributes:
        bandwidth: of its memory, bytes a second.
        peak: dense operations a second by number type; float32 as TF32, XLA's default there.
    """

    bandwidth: float
    peak: dict[str, float]


GPUS = {
    "NVIDIA H200": Gpu(4.8e12, {"float32": 494e12, "bfloat16": 989e12}),
    "NVIDIA H100 80GB HBM3": Gpu(3.35e12, {"float32": 494e12, "bfloat16": 989e12}),
    "NVIDIA A100-SXM4-80GB": Gpu(2.04e12, {"float32": 156e12, "bfloat16": 312e12}),
    "NVIDIA A100-SXM4-40GB": Gpu(1.56e12, {"float32": 156e12, "bfloat16": 312e12}),
}
"""By the name that JAX gives them."""


class Step(NamedTuple):
    """A pass of the busiest loop of a compiled program.

    Attributes:
        kernels: how many are launched.
        traffic: bytes, if each kernel reads its operands and writes its results once; an operand
            of which a kernel reads a few rows only counts in full.
    """

    kernels: int
    traffic: int


def size_of(shape: str) -> int:
    """Bytes of a shape as XLA writes it: "f32[256,5]{1,0}", or a tuple of such.

    Raises:
        TypeError: a number type that NumPy does not know.
    """
    total = 0
    for letters, bits, extents in re.findall(r"\b(pred|s|u|f|bf)(\d*)\[([\d,]*)\]", shape):
        count = 1
        for extent in filter(None, extents.split(",")):
            count *= int(extent)
        total += count * jnp.dtype(NAMES[letters] + bits).itemsize
    return total


def busiest_loop(text: str) -> Step:
    """The loop body with most kernels in a program's text: a step of an epoch.

    Raises:
        ValueError: there is no loop.
    """
    bodies = set(re.findall(r" while\(.*?body=(%[\w.\-]+)", text))
    found = []
    for block in re.split(r"\n(?=%|ENTRY )", text):
        head = re.match(r"(%\S+)", block)
        if head and head[1] in bodies:
            found.append(_body(block.splitlines()[1:]))
    if not found:
        raise ValueError("the program has no loop")
    return max(found)


def _body(lines: list[str]) -> Step:
    shapes: dict[str, str] = {}
    kernels = traffic = 0
    for line in lines:
        found = INSTRUCTION.match(line)
        if not found:
            continue
        name, shape, kind, rest = found.groups()
        shapes[name] = shape
        if kind not in FREE:
            read = re.findall(r"%[\w.\-]+", rest.split("), ")[0])
            kernels += 1
            traffic += size_of(shape) + sum(size_of(shapes.get(one, "")) for one in read)
    return Step(kernels, traffic)
