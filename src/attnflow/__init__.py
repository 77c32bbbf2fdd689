"""attnflow: the learning dynamics of soft, hard and latent-variable attention.

Public names are loaded on first use, so that importing the package (and asking the command line
for help) does not import JAX or sympy. Training is in ``attnflow.train``, captions in
``attnflow.captions``.
"""

from typing import TYPE_CHECKING

__all__ = [
    "Paradigm",
    "Schedule",
    "Setting",
    "Trajectory",
    "__version__",
    "advise",
    "averaging",
    "best_schedule",
    "best_switch",
    "compare",
    "crossings",
    "derive",
    "descend",
    "max_learning_rate",
    "normalised_flow",
    "power_mean",
    "simulate",
    "solve",
    "time_to_focus",
    "timed",
]

if TYPE_CHECKING:
    from attnflow.numeric.advise import advise as advise
    from attnflow.numeric.best_schedule import best_schedule as best_schedule
    from attnflow.numeric.best_schedule import best_switch as best_switch
    from attnflow.numeric.best_schedule import timed as timed
    from attnflow.numeric.closed_form import solve as solve
    from attnflow.numeric.compare import compare as compare
    from attnflow.numeric.crossings import crossings as crossings
    from attnflow.numeric.descend import descend as descend
    from attnflow.numeric.events import time_to_focus as time_to_focus
    from attnflow.numeric.normalised import normalised_flow as normalised_flow
    from attnflow.numeric.simulate import simulate as simulate
    from attnflow.numeric.stability import max_learning_rate as max_learning_rate
    from attnflow.numeric.trajectory import Trajectory as Trajectory
    from attnflow.schedule import Schedule as Schedule
    from attnflow.settings import Setting as Setting
    from attnflow.symbolic.catalogue import power_mean as power_mean
    from attnflow.symbolic.derivation.derived import derive as derive
    from attnflow.symbolic.paradigm import Paradigm as Paradigm
    from attnflow.symbolic.paradigm import averaging as averaging

    __version__: str
else:
    _HOMES = {
        "Setting": "settings",
        "Schedule": "schedule",
        "Paradigm": "symbolic.paradigm",
        "averaging": "symbolic.paradigm",
        "power_mean": "symbolic.catalogue",
        "derive": "symbolic.derivation.derived",
        "Trajectory": "numeric.trajectory",
        "advise": "numeric.advise",
        "solve": "numeric.closed_form",
        "simulate": "numeric.simulate",
        "descend": "numeric.descend",
        "max_learning_rate": "numeric.stability",
        "normalised_flow": "numeric.normalised",
        "compare": "numeric.compare",
        "best_switch": "numeric.best_schedule",
        "best_schedule": "numeric.best_schedule",
        "timed": "numeric.best_schedule",
        "crossings": "numeric.crossings",
        "time_to_focus": "numeric.events",
    }
    """Public name -> the module it lives in."""

    def _version():
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("attnflow")
        except PackageNotFoundError:  # a checkout that was never installed
            return "0+unknown"

    def __getattr__(name):
        if name == "__version__":
            return _version()
        if name in _HOMES:
            from importlib import import_module

            return getattr(import_module(f"attnflow.{_HOMES[name]}"), name)
        raise AttributeError(f"module 'attnflow' has no attribute {name!r}")

    def __dir__():
        return sorted([*globals(), *_HOMES])
