"""What a training run is made of, as the functions of an epoch see it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax

from attnflow.train.config import Training
from attnflow.train.descent import Descent
from attnflow.train.length_buckets import Bucket
from attnflow.train.networks.contract import Divided
from attnflow.train.networks.named import Pair
from attnflow.train.parallel import Devices
from attnflow.train.tasks.task import Mosaics, Task


@dataclass(frozen=True)
class Program(Descent):
    """What a run is made of: a task, networks without their weights, batches, devices; all static.

    Attributes:
        task: the Task.
        run: the resolved Training.
        divided: the modules without their weights, by name.
        contextual: whether inputs are composed to be scored.
        steps: optimiser steps an epoch takes.
        batch: inputs a step.
        chunk: inputs whose gradient a device takes at once.
        devices: what shares the work.
        buckets: of the training inputs, from which batches are drawn.
        groups: of each set, in which it is measured.
        base: the base items on the device.
        inputs: the sets on the device.
        pair: what makes the networks.
        compiled: functions by name.
    """

    task: Task
    run: Training
    divided: dict[str, Divided]
    contextual: bool
    steps: int
    batch: int
    chunk: int
    devices: Devices
    buckets: tuple[Bucket, ...]
    groups: dict[str, tuple[Bucket, ...]]
    base: Any
    inputs: dict[str, Mosaics]
    pair: Pair | str
    compiled: dict[Any, Callable[..., Any]]

    @property
    def drops(self) -> bool:
        """Whether a network draws random numbers as it learns."""
        return any(divided.draws for divided in self.divided.values())

    @property
    def exact(self) -> bool:
        """Whether steps go down the gradient in the simple setting: theory has curves of them."""
        run = self.run
        linear = self.task.setting is not None and run.networks == "linear-zero"
        return linear and run.optimizer == "sgd"

    def optimizer(self, weights: Any) -> Any:
        """The optimiser's state before its first step, for each run."""
        return jax.vmap(self.transform().init)(weights)
