"""Training of real networks under every paradigm: tasks, networks, losses, runs, their evaluation.

Names are loaded on first use. All of it needs the extra ``train`` (flax, optax, orbax and others).

Example:
    >>> from attnflow.train import Training, evaluate, train
    >>> trained = train(Training(task="digits", paradigm="lvml", epochs=5))
    >>> evaluate(trained)["test"]["argmax"]["accuracy"]
"""

from typing import TYPE_CHECKING

__all__ = [
    "Fit",
    "Mosaics",
    "Networks",
    "Practice",
    "Task",
    "Trained",
    "Training",
    "compare_runs",
    "evaluate",
    "fit_run",
    "from_arrays",
    "from_dataset",
    "load",
    "losses",
    "parallel",
    "predict",
    "signature",
    "task",
    "theory_over_practice",
    "train",
]

if TYPE_CHECKING:
    from attnflow.train import losses as losses
    from attnflow.train import parallel as parallel
    from attnflow.train.config import Training as Training
    from attnflow.train.evaluation import evaluate as evaluate
    from attnflow.train.evaluation import load as load
    from attnflow.train.evaluation import predict as predict
    from attnflow.train.evaluation import signature as signature
    from attnflow.train.loop import train as train
    from attnflow.train.networks.contract import Networks as Networks
    from attnflow.train.report.compare_runs import compare_runs as compare_runs
    from attnflow.train.tasks import task as task
    from attnflow.train.tasks.arrays import from_arrays as from_arrays
    from attnflow.train.tasks.arrays import from_dataset as from_dataset
    from attnflow.train.tasks.task import Mosaics as Mosaics
    from attnflow.train.tasks.task import Task as Task
    from attnflow.train.theory import Fit as Fit
    from attnflow.train.theory import Practice as Practice
    from attnflow.train.theory import fit_run as fit_run
    from attnflow.train.theory import theory_over_practice as theory_over_practice
    from attnflow.train.trained import Trained as Trained
else:
    _HOMES = {
        "Fit": "theory",
        "Mosaics": "tasks.task",
        "Networks": "networks.contract",
        "Practice": "theory",
        "Task": "tasks.task",
        "Trained": "trained",
        "Training": "config",
        "compare_runs": "report.compare_runs",
        "evaluate": "evaluation",
        "fit_run": "theory",
        "from_arrays": "tasks.arrays",
        "from_dataset": "tasks.arrays",
        "load": "evaluation",
        "predict": "evaluation",
        "signature": "evaluation",
        "task": "tasks",
        "theory_over_practice": "theory",
        "train": "loop",
    }
    """Public name -> the module it lives in; losses and parallel are modules."""

    def __getattr__(name):
        from importlib import import_module

        from attnflow.environment import missing

        try:
            if name in ("losses", "parallel"):
                return import_module(f"attnflow.train.{name}")
            if name in _HOMES:
                return getattr(import_module(f"attnflow.train.{_HOMES[name]}"), name)
        except ModuleNotFoundError as error:
            raise missing(error, "training needs") or error from error
        raise AttributeError(f"module 'attnflow.train' has no attribute {name!r}")

    def __dir__():
        return sorted({*globals(), *__all__})
