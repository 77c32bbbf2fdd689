"""What solve, simulate and descend are asked: their shared arguments, checked once and made plain.

``normalise`` refuses bad arguments by name and turns good ones into a Problem, a JAX pytree that
can go straight into a jitted function. It computes nothing and casts no tracer, so it may run
outside 64-bit mode.
"""

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from attnflow.errors import SettingError
from attnflow.numeric.namespace import pytree
from attnflow.numeric.padding import lengthened
from attnflow.numeric.precision import traced
from attnflow.schedule import Schedule
from attnflow.settings import Setting, check, check_start, nonnegative
from attnflow.symbolic.catalogue import paradigm as find_paradigm
from attnflow.symbolic.paradigm import Paradigm

FREEZES = (None, "focus", "classifier")
"""Which part is held: none, alpha (that is, nu), or mu."""


@pytree
@dataclass(frozen=True)
class Problem:
    """The arguments of solve, simulate and descend in one form.

    Concrete numbers are NumPy float64 arrays; tracers are as they came (``cast`` makes float64
    JAX arrays of all).

    Attributes:
        setting: the Setting; entries that are arrays broadcast to ``batch_shape``.
        times: asked times, finite, at least 0, any shape and order.
        mu0: initial mu, broadcasts to ``batch_shape``.
        nu0: initial nu, likewise.
        ends: time at which each part of the schedule ends, shape (parts,), the last infinite.
        paradigms: one for each part (static).
        freeze: None, "focus" or "classifier" (static).
        batch_shape: joint shape of the setting's entries and the start (static). Results have
            shape ``batch_shape + times.shape``.
    """

    setting: Setting
    times: Any
    mu0: Any
    nu0: Any
    ends: Any
    paradigms: tuple[Paradigm, ...] = field(metadata={"static": True})
    freeze: str | None = field(metadata={"static": True})
    batch_shape: tuple[int, ...] = field(metadata={"static": True})

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the result: batch axes, then the axes of the times."""
        return self.batch_shape + np.shape(self.times)

    @property
    def name(self) -> str:
        """The paradigm's name, or the schedule as a text."""
        return str(Schedule(list(zip(self.paradigms, [*self.ends[:-1], None], strict=True))))

    def padded(self) -> "Problem":
        """The same with flat times of one of few lengths; as it is in a transformation or batch."""
        if traced(self) or self.batch_shape:
            return self
        return replace(self, times=lengthened(self.times))

    def cast(self) -> "Problem":
        """The same with every number a float64 JAX array; to be called in 64-bit mode."""
        import jax
        import jax.numpy as jnp

        return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), self)

    def batched_times(self) -> Any:
        """The times, broadcast to the result's shape."""
        xp = self.namespace
        return xp.broadcast_to(xp.asarray(self.times, np.float64), self.shape)

    def stage(self) -> Any:
        """Index of the part active at each time, the result's shape; at a switch the later part."""
        xp = self.namespace
        times, index = xp.asarray(self.times), xp.zeros(np.shape(self.times), np.int64)
        for end in xp.asarray(self.ends)[:-1]:
            index = index + xp.asarray(times >= end, np.int64)
        return xp.broadcast_to(index, self.shape)

    def singles(self) -> "Iterator[Problem]":
        """Each setting and start of a concrete batch, one after the other, as plain numbers."""
        values = {**self.setting.numbers(), "mu0": self.mu0, "nu0": self.nu0}
        table = {name: np.broadcast_to(v, self.batch_shape).ravel() for name, v in values.items()}
        for row in range(math.prod(self.batch_shape)):
            numbers = {name: column[row].item() for name, column in table.items()}
            mu0, nu0 = numbers.pop("mu0"), numbers.pop("nu0")
            setting = replace(self.setting, **numbers)
            yield replace(self, setting=setting, mu0=mu0, nu0=nu0, batch_shape=())

    @property
    def namespace(self) -> Any:
        """NumPy for concrete numbers, where JAX would compile each operation for each shape."""
        return _namespace(self)


def normalise(
    paradigm: Any, setting: Any, times: Any, initial: Any = (0.0, 0.0), freeze: str | None = None
) -> Problem:
    """Check the shared arguments and bring them to one form.

    Args:
        paradigm: name, Paradigm or Schedule.
        setting: Setting, whose entries may be arrays.
        times: number or array, t = step x learning rate, finite and at least 0, in any order.
        initial: (mu0, nu0), numbers or arrays from -300 to 300.
        freeze: None, "focus" (alpha held) or "classifier" (mu held).

    Returns:
        The Problem.

    Raises:
        SettingError: an argument is not what is allowed; the message names it.
        ParadigmError: no such paradigm.
    """
    parts = paradigm.parts if isinstance(paradigm, Schedule) else ((paradigm, np.inf),)
    if not isinstance(setting, Setting):
        raise SettingError(
            f"setting must be an attnflow.Setting(segments, classes), got {setting!r}"
        )
    if not isinstance(freeze, str | None) or freeze not in FREEZES:
        raise SettingError(f"freeze must be None, 'focus' or 'classifier', got {freeze!r}")
    check("times", times, "finite and at least 0", nonnegative)
    start = check_start(initial)

    entries = {name: _plain(v) for name, v in setting.numbers().items()}
    mu0, nu0 = (_plain(v) for v in start)
    shapes = [np.shape(v) for v in (*entries.values(), mu0, nu0)]
    try:
        batch_shape = np.broadcast_shapes(*shapes)
    except ValueError:
        raise SettingError(
            "the arrays in setting and initial must broadcast together, got shapes "
            + ", ".join(str(s) for s in dict.fromkeys(shapes) if s)
        ) from None
    return Problem(
        setting=_aligned(setting, entries, batch_shape),
        times=_plain(times),
        mu0=mu0,
        nu0=nu0,
        ends=_stacked([end for _, end in parts]),
        paradigms=tuple(find_paradigm(p) for p, _ in parts),
        freeze=freeze,
        batch_shape=batch_shape,
    )


def _namespace(*values: Any) -> Any:
    return sys.modules["jax"].numpy if traced(*values) else np


def _plain(value: Any) -> Any:
    """What holds a tracer as a JAX array of its type, anything else as a NumPy float64 array."""
    xp = _namespace(value)
    return np.asarray(value, dtype=np.float64) if xp is np else xp.asarray(value)


def _stacked(ends: list[Any]) -> Any:
    xp = _namespace(ends)
    return np.asarray(ends, dtype=np.float64) if xp is np else xp.stack(ends)


def _aligned(setting: Setting, entries: dict[str, Any], batch_shape: tuple[int, ...]) -> Setting:
    """The setting with its array entries broadcast to the batch, so that no axis is mistaken."""
    arrays = {name: v for name, v in entries.items() if np.ndim(v)}
    if all(np.shape(v) == batch_shape for v in arrays.values()):
        return setting
    full = {name: _namespace(v).broadcast_to(v, batch_shape) for name, v in arrays.items()}
    return replace(setting, **full)
