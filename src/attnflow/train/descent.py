"""The optimiser of a run, and the time of the flow that its steps take."""

import math
from collections.abc import Collection
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax

from attnflow.errors import SettingError
from attnflow.schedule import Schedule, Stage
from attnflow.train.parallel import Devices


class Descent:
    """What engines share: how weights go down a gradient.

    Attributes:
        run: the config, with ``optimizer``, ``momentum``, ``rate_schedule`` and ``epochs``.
        devices: what shares the work.
        steps: optimiser steps an epoch takes.
    """

    run: Any
    devices: Devices
    steps: int
    clock: ClassVar[str] = "classifier"
    """The network by whose learning rate time is counted."""

    def check_rates(self, schedule: Schedule, networks: Collection[str]) -> None:
        """Refuse a stage's learning rate of a network that there is not.

        Raises:
            SettingError: naming the networks that there are.
        """
        for rate in (rate for stage in schedule.stages for rate in stage.rates):
            network = rate.unit.partition(".")[2]
            if network and network not in networks:
                raise SettingError(
                    f"{rate.unit} of the schedule must be of a network that learns "
                    f"({', '.join(sorted(networks))})"
                )

    def transform(self) -> optax.GradientTransformation:
        """The optimiser, without its learning rate."""
        if self.run.optimizer == "adam":
            return optax.scale_by_adam()
        return optax.trace(decay=self.run.momentum) if self.run.momentum else optax.identity()

    def optimizer(self, weights: Any) -> Any:
        """The optimiser's state before its first step."""
        return self.transform().init(weights)

    def renewed(self, state: dict[str, Any]) -> dict[str, Any]:
        """The same weights with a fresh optimiser."""
        return {**state, "optimizer": self.devices.put(self.optimizer(state["weights"]))}

    @property
    def decay(self) -> optax.Schedule:
        """Step -> the share of the learning rate that it takes, where it falls as a cosine."""
        return optax.cosine_decay_schedule(1.0, self.steps * (self.run.epochs or 1))

    @property
    def rate(self) -> float:
        """The learning rate by which the times of a schedule are counted."""
        return self.run.learning_rates[0]

    def time_after(self, epochs: float, rate: float | None = None) -> float:
        """Continuous time after so many epochs: the sum of learning rates / (1 - momentum)."""
        steps: Any = round(epochs * self.steps)
        if self.run.rate_schedule == "cosine":
            with jax.numpy_dtype_promotion("standard"):
                steps = np.sum(np.asarray(self.decay(jnp.arange(steps))), dtype=np.float64)
        rate = self.rate if rate is None else rate
        return float(steps * rate / (1 - (self.run.momentum or 0.0)))

    def timed(
        self,
        schedule: Schedule,
        stage: Stage,
        rows: list[dict[str, Any]],
        new: list[dict[str, Any]],
    ) -> list[dict[str, Any]]:
        """New rows with their times, where stages have learning rates of their own.

        They are of one epoch, after whole epochs in ``rows``, or of the first steps, after nothing.

        Time is counted by the rate of the classifier (of captions, of the decoder).
        """
        if not any(one.rates for one in schedule.stages):
            return new
        last = rows[-len(new) :] or [{"time": 0.0}] * len(new)
        for row, before in zip(new, last, strict=True):
            base, done = row["learning_rate"], row["epoch"]
            share = stage.rate(self.clock, base) / base
            begun = max(math.ceil(done) - 1, 0)
            passed = self.time_after(done, base) - self.time_after(begun, base)
            row["time"] = before["time"] + passed * share
        return new
