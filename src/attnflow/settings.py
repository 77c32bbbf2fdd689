"""What a user chooses: the setting of the simple problem, and the checks of numbers."""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from attnflow.errors import SettingError
from attnflow.tabled import Tabled

if TYPE_CHECKING:
    import pandas as pd


class _Array(Protocol):
    """An array of NumPy or JAX, or a tracer."""

    def __array__(self) -> np.ndarray: ...


Numbers = float | Sequence[float] | np.ndarray | _Array
"""A number, or an array of them (a sweep), which may be a tracer; JAX is not imported for it."""

BACKGROUNDS = ("shared", "distinct")

MOST_COUNT = 2**32 - 1
"""Of what is counted or numbered, and of seeds, where nothing says less."""

MOST_SHOWN = 6
"""Entries of an array that are printed one by one."""

FURTHEST = 300.0
"""How far from 0 a start may be: e^(2 mu), which paces hold, is a float64 up to 354."""


def concrete(value: Any) -> np.ndarray | None:
    """The value as a float array if it is concrete (NaN if it is no number), None for tracers."""
    if type(value) is float or (type(value) is np.ndarray and value.dtype == np.float64):
        return np.asarray(value)
    if isinstance(value, bool | str) or value is None:
        return np.asarray(np.nan)
    jax = sys.modules.get("jax")
    if jax and any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(value)):
        return None  # its value is not known yet
    try:
        given = np.asarray(value)
        if given.dtype.kind in "SUbcMm" or (
            given.dtype == object and any(isinstance(v, str | bytes | bool) for v in given.flat)
        ):
            return np.asarray(np.nan)
        return given.astype(np.float64)
    except OverflowError:  # a whole number beyond float64
        return np.asarray(np.inf)
    except (TypeError, ValueError):
        return np.asarray(np.nan)


def check(name: str, value: Any, allowed: str, holds: Any) -> None:
    """Raise SettingError unless ``holds`` is true of every entry of a concrete ``value``.

    Args:
        name: how the user knows the argument.
        value: a number, an array or list of them, or a tracer (let through).
        allowed: the end of the sentence, "a whole number of at least 2".
        holds: a predicate on float arrays, elementwise.

    Raises:
        SettingError: naming argument, value and what is allowed.
    """
    numbers = concrete(value)
    if numbers is None:
        return
    with np.errstate(invalid="ignore"):
        good = np.asarray(holds(numbers)) & ~np.isnan(numbers)
    if not np.all(good):
        shown = value if numbers.ndim == 0 else numbers[~good].flat[0]
        if numbers.ndim == 0 and np.isposinf(numbers) and shown != np.inf:
            shown = "a number beyond float64"
        raise SettingError(f"{name} must be {allowed}, got {shown!s}")


def check_number(name: str, value: Any, allowed: str, holds: Any) -> Any:
    """``check`` for what is one number and no array: the number as a float, a tracer as it is.

    Raises:
        SettingError: naming argument, value and what is allowed.
    """
    numbers = concrete(value)
    if numbers is not None and numbers.ndim:
        raise SettingError(f"{name} must be one number, {allowed}, got {value!s}")
    check(name, value, allowed, holds)
    return value if numbers is None else float(numbers)


def listed(name: str, values: Any, of: str) -> list[Any]:
    """The entries of what must be a sequence.

    Raises:
        SettingError: it is a text, or nothing that can be listed.
    """
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise SettingError(f"{name} must be a sequence of {of}, got {values!r}")
    return list(values)


def whole(least: int):
    """Predicate: whole numbers of at least ``least``."""
    return lambda v: (v >= least) & (v == np.floor(v)) & np.isfinite(v)


def check_count(name: str, value: Any, least: int = 1) -> int:
    """A value as the whole number that a loop or a seed can take.

    Args:
        name: how the user knows the argument.
        value: a number.
        least: that is allowed; the most is ``MOST_COUNT``.

    Raises:
        SettingError: naming argument, value and what is allowed.
    """
    check_number(name, value, f"a whole number of at least {least}", whole(least))
    check(name, value, f"a whole number of at most {MOST_COUNT}", lambda v: v <= MOST_COUNT)
    return int(value)


def shown(value: Any) -> str:
    """A number as Python writes it; an array of more than a few by its shape and its range."""
    numbers = concrete(value)
    if numbers is None or numbers.size <= MOST_SHOWN:
        return " ".join(repr(value).split())
    return f"<{numbers.shape} from {numbers.min():g} to {numbers.max():g}>"


def positive(v: np.ndarray) -> Any:
    """Predicate: finite and above zero."""
    return (v > 0) & np.isfinite(v)


def nonnegative(v: np.ndarray) -> Any:
    """Predicate: finite and at least zero."""
    return (v >= 0) & np.isfinite(v)


def check_start(initial: Any) -> tuple[Any, Any]:
    """The pair (mu0, nu0), every concrete entry at most FURTHEST in size.

    Raises:
        SettingError: it is no pair, or an entry is outside the range; the message names it.
    """
    try:
        mu0, nu0 = initial
    except (TypeError, ValueError):
        raise SettingError(f"initial must be a pair (mu0, nu0), got {initial!r}") from None
    allowed = f"a number from -{FURTHEST:g} to {FURTHEST:g}"
    for name, value in (("mu (mu0)", mu0), ("nu (nu0)", nu0)):
        check(f"initial {name}", value, allowed, lambda v: np.abs(v) <= FURTHEST)
    return mu0, nu0


@dataclass(frozen=True)
class Setting(Tabled):
    """The simple setting: m segments, C classes, linear focus and classifier.

    A JAX pytree: every number may also be an array (a sweep) or a tracer, and gradients flow
    through all of them. Concrete values are checked when the setting is built.

    Args:
        segments: m, number of segments in an input, whole, at least 2.
        classes: C, number of classes, whole, at least 2.
        foreground_segments: k, how many segments carry the class, whole, 1 to m - 1.
        foreground_norm: r, norm of a foreground vector, above 0. ``mu`` is the margin of the
            classifier's output on a foreground segment (r times the margin of its weights).
        background_norm: s, norm of a background vector, at least 0.
        background: "shared" (all background segments hold one vector) or "distinct" (each its
            own, orthogonal to the others).
        focus_rate: learning rate of the focus model relative to the step, above 0.
        classifier_rate: the same for the classification model.
        decay: weight decay, at least 0: adds (decay/2)(|W|^2 + |w|^2) to every loss, which the two
            learning rates scale as they do the loss.

    Raises:
        SettingError: a value is outside its range.

    Source: Vashisht and Ramaswamy (2023), section 3; generalised in derivations of the reduction.
    """

    segments: Numbers
    classes: Numbers
    foreground_segments: Numbers = 1
    foreground_norm: Numbers = 1.0
    background_norm: Numbers = 0.0
    background: str = "shared"
    focus_rate: Numbers = 1.0
    classifier_rate: Numbers = 1.0
    decay: Numbers = 0.0

    def __post_init__(self) -> None:
        check("segments (m)", self.segments, "a whole number of at least 2", whole(2))
        check("classes (C)", self.classes, "a whole number of at least 2", whole(2))
        check(
            "foreground_segments",
            self.foreground_segments,
            "a whole number of at least 1",
            whole(1),
        )
        total, carrying = (concrete(v) for v in (self.segments, self.foreground_segments))
        if total is not None and carrying is not None and np.any(carrying >= total):
            raise SettingError(
                f"foreground_segments must be less than segments (m = {shown(self.segments)}), "
                f"got {shown(self.foreground_segments)}"
            )
        check("foreground_norm", self.foreground_norm, "a finite number above 0", positive)
        check("background_norm", self.background_norm, "a finite number of at least 0", nonnegative)
        check("focus_rate", self.focus_rate, "a finite number above 0", positive)
        check("classifier_rate", self.classifier_rate, "a finite number above 0", positive)
        check("decay", self.decay, "a finite number of at least 0", nonnegative)
        if not isinstance(self.background, str) or self.background not in BACKGROUNDS:
            raise SettingError(
                f"background must be one of {', '.join(BACKGROUNDS)}, got {self.background!r}"
            )

    def __repr__(self) -> str:
        """The fields that differ from the plain setting."""
        given = ((f, getattr(self, f.name)) for f in fields(self))
        said = (
            f"{f.name}={shown(value)}"
            for f, value in given
            if value is not f.default and not (type(value) in (int, float) and value == f.default)
        )
        return f"Setting({', '.join(said)})"

    def to_pandas(self) -> "pd.DataFrame":
        """A row for each setting of a sweep (one for plain numbers), a column for each number."""
        import pandas as pd

        numbers = self.numbers()
        columns = map(np.ravel, np.broadcast_arrays(*numbers.values()))
        return pd.DataFrame(dict(zip(numbers, columns, strict=True))).assign(
            background=self.background
        )

    def _preview(self) -> "pd.DataFrame | None":
        known = all(concrete(value) is not None for value in self.numbers().values())
        return self.to_pandas() if known else None

    @property
    def decays(self) -> bool:
        """Whether weights decay; for all that is known, they do by an array and by a tracer."""
        if type(self.decay) in (int, float):
            return self.decay != 0
        known = concrete(self.decay)
        return known is None or known.ndim > 0 or bool(known != 0)

    def numbers(self) -> dict[str, Any]:
        """The numeric fields by name, in order: not ``background``, nor a ``decay`` of 0."""
        absent = ("background",) if self.decays else ("background", "decay")
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in absent}

    def as_dict(self) -> dict[str, Any]:
        """All fields (a ``decay`` of 0 apart) as plain Python values, for records and JSON."""
        plain = {name: np.asarray(v).tolist() for name, v in self.numbers().items()}
        return {**plain, "background": self.background}


def check_setting(setting: Any, called: str) -> None:
    """Refuse what is no setting of numbers.

    Args:
        setting: what the user gave.
        called: what takes it.

    Raises:
        SettingError: it is no Setting, or holds arrays.
    """
    if not isinstance(setting, Setting):
        raise SettingError(f"setting must be a Setting, got {setting!r}")
    for name, value in setting.numbers().items():
        if np.ndim(value) > 0:
            raise SettingError(
                f"{called} takes one setting, got an array of shape {np.shape(value)} for {name}"
            )
