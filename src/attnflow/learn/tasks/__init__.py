"""What is learned: tasks as base items and lists of indices; readers and fetching of data."""

from collections.abc import Callable
from typing import Any

from attnflow.errors import SettingError
from attnflow.learn.tasks.task import Mosaics as Mosaics
from attnflow.learn.tasks.task import Task as Task


def _orthogonal(**options: Any) -> Task:
    from attnflow.learn.tasks.orthogonal import orthogonal

    return orthogonal(**options)


def _digits(**options: Any) -> Task:
    from attnflow.learn.tasks.digits import digits

    return digits(**options)


def _cifar10(**options: Any) -> Task:
    from attnflow.learn.tasks.cifar import cifar10

    return cifar10(**options)


def _cifar100(**options: Any) -> Task:
    from attnflow.learn.tasks.cifar import cifar100

    return cifar100(**options)


def _hatexplain(**options: Any) -> Task:
    from attnflow.learn.tasks.hatexplain import hatexplain

    return hatexplain(**options)


TASKS: dict[str, Callable[..., Task]] = {
    "digits": _digits,
    "orthogonal": _orthogonal,
    "cifar10": _cifar10,
    "cifar100": _cifar100,
    "hatexplain": _hatexplain,
}
"""Name -> maker of the task, whose options are those of the function of that name."""


def task(name: str, **options: Any) -> Task:
    """The task of that name.

    Raises:
        SettingError: the name or an option is not known.
        MissingPart: its data, or the library that brings them, is not here.
        DataError: its data are damaged.
    """
    if name not in TASKS:
        raise SettingError(f"task must be one of {', '.join(TASKS)}, got {name!r}")
    return TASKS[name](**{key: value for key, value in options.items() if value is not None})
