"""Entries of a run's config, each written once; checks, TOML, options and documentation follow.

Loads neither NumPy nor JAX, so that the command line knows all options at once.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from types import UnionType
from typing import Any, ClassVar, Self, TypeVar, get_args, get_origin

from attnflow.errors import SettingError

Kind = TypeVar("Kind")

MOST = 2**32 - 1
"""The largest whole number of any entry, seeds too."""


@dataclass(frozen=True)
class Range:
    """Which numbers are allowed.

    Attributes:
        words: the end of the sentence, "a whole number of at least 1".
        holds: whether a number is one of them.
    """

    words: str
    holds: Callable[[Any], bool]


def whole(least: int, most: int | None = None) -> Range:
    """Whole numbers from ``least`` on, or to ``most``."""
    words = f"of at least {least}" if most is None else f"from {least} to {most}"
    end = math.inf if most is None else most

    def holds(value: Any) -> bool:
        return least <= value <= end and value < math.inf and value == int(value)

    return Range(f"a whole number {words}", holds)


COUNT = whole(1)
POSITIVE = Range("a finite number above 0", lambda v: 0 < v < math.inf)
NONNEGATIVE = Range("a finite number of at least 0", lambda v: 0 <= v < math.inf)
SHARE = Range("at least 0 and below 1", lambda v: 0 <= v < 1)
WEIGHT = Range("above 0 and at most 1", lambda v: 0 < v <= 1)

_CALLED = {str: "text", bool: "true or false", int: "a number", float: "a number"}


@dataclass(frozen=True)
class Entry:
    """What is known of an entry beside its name, type and default.

    Attributes:
        help: what it says.
        allowed: the numbers, or the texts, that it may hold; None for any.
        follows: what it is where it is None, by task; "" for all others.
        tasks: the tasks that have it; empty for all.
        panel: of the options among which it is shown.
        option: its option where that is not called as it is, and a short one.
        metavar: what stands for its value.
    """

    help: str
    allowed: "Range | tuple[str, ...] | None" = None
    follows: Mapping[str, Any] = field(default_factory=dict[str, Any])
    tasks: tuple[str, ...] = ()
    panel: str = "Learning"
    option: tuple[str, ...] = ()
    metavar: str | None = None


def entry(default: Any, help: str, allowed: Any = None, **more: Any) -> Any:
    """A field of a config: its default and what else an ``Entry`` holds."""
    return field(default=default, metadata={"entry": Entry(help, allowed, **more)})


class Config:
    """A record of entries, checked when it is made.

    Raises:
        SettingError: a value is not of the type of its entry, or not allowed.
    """

    foreign: ClassVar[str] = "not for this run"
    """What is said of an option that another kind of run has."""

    @classmethod
    def again(cls, name: str, default: Any) -> Any:
        """An entry of this config with another default."""
        known = cls.__dataclass_fields__[name]  # type: ignore[attr-defined]
        return field(default=default, metadata=known.metadata)

    def __post_init__(self) -> None:
        for one in fields(self):  # type: ignore[arg-type]
            value = _checked(one, getattr(self, one.name))
            object.__setattr__(self, one.name, value)

    def as_dict(self) -> dict[str, Any]:
        """All entries that are not None."""
        pairs = ((one.name, getattr(self, one.name)) for one in fields(self))  # type: ignore[arg-type]
        return {name: value for name, value in pairs if value is not None}

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Self:
        """A config from plain values.

        Raises:
            SettingError: a name or a value is not allowed.
        """
        known = {one.name for one in fields(cls)}  # type: ignore[arg-type]
        for name in given:
            if name not in known:
                raise SettingError(f"unknown entry {name!r}; known are {', '.join(sorted(known))}")
        return cls(**given)

    @classmethod
    def read(cls, given: Mapping[str, "str | bool"]) -> dict[str, Any]:
        """Entries from the texts of options, by the names of the options.

        Raises:
            SettingError: this kind of run has no such option.
        """
        keys = {key_of(one): one for one in fields(cls)}  # type: ignore[arg-type]
        found: dict[str, Any] = {}
        for key, text in given.items():
            if key not in keys:
                raise SettingError(f"--{key.replace('_', '-')} is {cls.foreign}")
            kind, several = kind_of(keys[key])
            convert = partial(_value, kind)
            found[keys[key].name] = (
                [convert(part) for part in str(text).split(",")] if several else convert(text)
            )
        return found


def key_of(one: Any) -> str:
    """The name of an entry's option, as Python spells it."""
    names = [name for name in one.metadata["entry"].option if name.startswith("--")]
    return names[0].removeprefix("--").replace("-", "_") if names else one.name


def kind_of(one: Any) -> tuple[type, bool]:
    """(type, whether it holds several) of an entry."""
    if isinstance(one.type, str):
        return str, False  # what is held as text, and given as something else, too
    kinds = get_args(one.type) if isinstance(one.type, UnionType) else (one.type,)
    kind = next(k for k in kinds if k is not type(None))
    several = get_origin(kind) is tuple
    return (get_args(kind)[0] if several else kind), several


def _value(kind: type, text: "str | bool") -> Any:
    """The value that a text spells, or the text itself where it spells none."""
    if kind in (str, bool) or isinstance(text, bool):
        return text
    try:
        value = float(text)
    except ValueError:
        return text.strip()
    return int(value) if value.is_integer() and abs(value) < 2.0**53 else value


def _checked(one: Any, value: Any) -> Any:
    """The value of an entry, plain; lists as tuples."""
    if value is None and isinstance(one.type, UnionType):
        return None
    kind, several = kind_of(one)
    if not several:
        return _one(one.name, one, kind, value)
    if not isinstance(value, tuple | list):
        raise SettingError(
            f"{one.name} must be a list of {_CALLED[kind]}s, got {value!r}".replace(
                "a list of a ", "a list of "
            )
        )
    name = key_of(one)
    values = tuple(_one(name, one, kind, each) for each in value)
    if (not values and one.default != ()) or len(set(values)) < len(values):
        what = "texts" if kind is str else "numbers"
        raise SettingError(f"{one.name} must be one or more different {what}, got {values}")
    return values


def _one(name: str, one: Any, kind: type, value: Any) -> Any:
    allowed = one.metadata["entry"].allowed
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        value = value.item()  # a number of NumPy
    numeric = kind in (int, float)
    right = isinstance(value, int | float if numeric else kind)
    right = right and (kind is bool or not isinstance(value, bool))
    if isinstance(allowed, tuple):
        if not right or value not in allowed:
            raise SettingError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")
        return value
    if not right:
        called = "one number" if numeric and isinstance(value, tuple | list) else _CALLED[kind]
        raise SettingError(f"{name} must be {called}, got {value!r}")
    if allowed is not None and not allowed.holds(value):
        raise SettingError(f"{name} must be {allowed.words}, got {value}")
    return _in_range(name, kind, value) if numeric else value


def _in_range(name: str, kind: type, value: Any) -> Any:
    """A number, whole ones not beyond what files and shapes can hold."""
    if (kind is int or isinstance(value, int)) and abs(value) > MOST:
        raise SettingError(f"{name} must be at most {MOST}, got a larger whole number")
    return int(value) if kind is int else value


def told(one: Any) -> str:
    """What an entry says, with its default by task."""
    known: Entry = one.metadata["entry"]
    follows = {str(value): [t for t in known.follows if known.follows[t] == value]
               for value in known.follows.values()}  # fmt: skip
    plain = [f"{v} for {', '.join(tasks)}" for v, tasks in follows.items() if "" not in tasks]
    general = [v for v, tasks in follows.items() if "" in tasks]
    default = ""
    if general or plain:
        default = f" (default: {'; '.join([*general, *plain])})"
    elif one.default is not None and one.default != ():
        value = one.default if not isinstance(one.default, tuple) else one.default[0]
        default = f" (default: {str(value).lower() if isinstance(value, bool) else value})"
    choice = f": {', '.join(known.allowed)}" if isinstance(known.allowed, tuple) else ""
    return f"{known.help}{choice}{default}."


def documented(cls: type[Kind]) -> type[Kind]:
    """A config class whose docstring names its entries."""
    lines = [f"    {one.name}: {told(one)}" for one in fields(cls)]  # type: ignore[arg-type]
    cls.__doc__ = (cls.__doc__ or "").rstrip() + "\n\nArgs:\n" + "\n".join(lines) + "\n"
    return cls
