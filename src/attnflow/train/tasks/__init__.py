"""What is learned: tasks as base items and lists of indices; readers and fetching of data."""

import inspect
from collections.abc import Callable
from importlib import import_module
from typing import Any

from attnflow.errors import SettingError
from attnflow.files import from_file, in_file, told
from attnflow.train.tasks.task import Mosaics as Mosaics
from attnflow.train.tasks.task import Task as Task


def _maker(name: str, module: str | None = None) -> Callable[..., Task]:
    """The function of that name, whose module is loaded when it is called."""

    def make(**options: Any) -> Task:
        return getattr(import_module(f"{__name__}.{module or name}"), name)(**options)

    return make


TASKS: dict[str, Callable[..., Task]] = {
    "digits": _maker("digits"),
    "orthogonal": _maker("orthogonal"),
    "cifar10": _maker("cifar10", "cifar"),
    "cifar100": _maker("cifar100", "cifar"),
    "hatexplain": _maker("hatexplain"),
}
"""Name -> maker of the task, whose options are those of the function of that name."""


def task(name: str, **options: Any) -> Task:
    """The task of that name, or that a function of one's own named FILE.py:NAME makes.

    Such a function is called with the options that the user gives, and with ``seed`` if it has an
    argument of that name.

    Raises:
        SettingError: the name or an option is not known.
        MissingPart: its data, or the library that brings them, is not here.
        DataError: its data are damaged.
    """
    given = {key: value for key, value in options.items() if value is not None}
    if name in TASKS:
        return TASKS[name](**given)
    if not in_file(name):
        raise SettingError(f"task must be one of {', '.join(TASKS)}, or FILE.py:NAME, got {name!r}")
    maker = from_file(name)
    taken = inspect.signature(maker).parameters
    if not any(one.kind is one.VAR_KEYWORD for one in taken.values()):
        if "seed" not in taken:
            given.pop("seed", None)
        for key, value in given.items():
            if key not in taken:
                raise SettingError(f"task {name!r} has no option {key}, got {value!r}")
    try:
        made = maker(**given)
    except SettingError:
        raise
    except Exception as error:  # whatever a user's function may raise
        raise SettingError(f"task {name!r} cannot be made: {told(error)}") from error
    if not isinstance(made, Task):
        raise SettingError(f"task {name!r} must return a Task, got {type(made).__name__}")
    return made
