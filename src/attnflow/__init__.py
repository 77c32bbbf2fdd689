"""attnflow: the learning dynamics of soft, hard and latent-variable attention.

Public names are loaded on first use, so that importing the package (and asking the command line
for help) does not import JAX or sympy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from attnflow.numeric.closed_form import solve as solve
    from attnflow.numeric.trajectory import Trajectory as Trajectory
    from attnflow.settings import Schedule as Schedule
    from attnflow.settings import Setting as Setting
    from attnflow.symbolic.paradigm import Paradigm as Paradigm
    from attnflow.symbolic.paradigm import averaging as averaging

_HOMES = {
    "Setting": "settings",
    "Schedule": "settings",
    "Paradigm": "symbolic.paradigm",
    "averaging": "symbolic.paradigm",
    "power_mean": "symbolic.catalogue",
    "derive": "symbolic.derivation.derived",
    "Trajectory": "numeric.trajectory",
    "solve": "numeric.closed_form",
    "simulate": "numeric.simulate",
    "descend": "numeric.descend",
    "compare": "numeric.compare",
    "best_switch": "numeric.best_schedule",
    "best_schedule": "numeric.best_schedule",
    "crossings": "numeric.crossings",
    "time_to_focus": "numeric.events",
}
"""Public name -> the module it lives in."""

__all__ = [*_HOMES]


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("attnflow")
    except PackageNotFoundError:  # a checkout that was never installed
        return "0+unknown"


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _version()
    if name in _HOMES:
        return getattr(import_module(f"attnflow.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'attnflow' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
