"""The compiled core of training: a whole epoch is one call; several runs are one vmapped call.

The state is a plain pytree (weights, optimiser, step, baseline). Randomness is a function of
(seed, epoch, step) alone, so there is no random state to lose, and an interrupted run that is
resumed takes exactly the steps of an unbroken one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from attnflow.learn.config import Training
from attnflow.learn.measure import measure_sets
from attnflow.learn.networks import Pair, networks
from attnflow.learn.objective import Objective
from attnflow.learn.scoring import NAMES, modules_of, score_base
from attnflow.learn.step import run_epoch
from attnflow.learn.tasks.task import Mosaics, Task

CPU_CHUNK = 16
"""Images of so many inputs at once keep the windows of a convolution in the processor's cache."""


@dataclass(frozen=True)
class Engine:
    """Compiled functions for one task, pair of networks and training record.

    Attributes:
        task: the Task.
        run: the resolved Training.
        graphs: static halves of the two modules.
        steps: optimiser steps an epoch takes.
        batch: inputs a step.
        chunk: inputs whose gradient is taken at once.
        base: the base items on the device.
        inputs: the sets on the device.
    """

    task: Task
    run: Training
    graphs: tuple[Any, Any]
    steps: int
    batch: int
    chunk: int
    base: Any
    inputs: dict[str, Mosaics]
    compiled: dict[Any, Callable[..., Any]]

    def start(self, pair: Pair) -> dict[str, Any]:
        """The state before the first step, each leaf with a leading axis of runs."""
        states = []
        for seed, _ in self.run.lanes:
            modules = networks(pair, self.task.shape, self.task.classes, seed)
            states.append({n: _weights(m) for n, m in zip(NAMES, modules, strict=True)})
        weights = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
        count = len(states)
        return {
            "weights": weights,
            "optimizer": jax.vmap(self.transform().init)(weights),
            "step": jnp.zeros(count, jnp.int32),
            "baseline": jnp.full(count, np.log(self.task.classes), jnp.float32),
        }

    def transform(self) -> optax.GradientTransformation:
        """The optimiser, without its learning rate."""
        if self.run.optimizer == "adam":
            return optax.scale_by_adam()
        return optax.trace(decay=self.run.momentum) if self.run.momentum else optax.identity()

    def epoch(self, objective: Objective, state: Any, number: int) -> tuple[Any, dict[str, Any]]:
        """One epoch for every run: (new state, metrics with a leading axis of runs).

        Metrics: ``loss`` (mean over the epoch's inputs, before each step), ``alpha`` (mean weight
        on the true segment), ``bad`` (first step whose loss was not finite or too large, or -1).
        """
        function = self._compile(("epoch", objective), lambda: partial(run_epoch, self, objective))
        return function(state, *self._lanes(), jnp.int32(number), self.base, self.inputs["train"])

    def measure(self, state: Any, objective: Objective) -> dict[str, dict[str, Any]]:
        """What each set shows of the weights: see ``measure_sets``; leading axis of runs."""
        function = self._compile(
            ("measure", objective), lambda: partial(measure_sets, self, objective)
        )
        return function(state, *self._lanes(), jnp.int32(0), self.base, self.inputs)

    def score(self, state: Any) -> tuple[Any, Any]:
        """Focus score and logits of every base item: [runs, n] and [runs, n, C]."""

        def function(state: Any, seed: Any, rate: Any, number: Any, base: Any, _: Any) -> Any:
            return score_base(self, state["weights"], base)

        compiled = self._compile("score", lambda: function)
        return compiled(state, *self._lanes(), jnp.int32(0), self.base, None)

    def modules(self, weights: Any) -> tuple[nnx.Module, nnx.Module]:
        """The networks with these weights (of one run)."""
        return modules_of(self, weights)

    def _lanes(self) -> tuple[Any, Any]:
        seeds, rates = zip(*self.run.lanes, strict=True)
        return jnp.array(seeds, jnp.uint32), jnp.array(rates, jnp.float32)

    def _compile(self, key: Any, make: Callable[[], Callable[..., Any]]) -> Callable[..., Any]:
        if key not in self.compiled:
            function = make()
            if len(self.run.lanes) == 1:
                # batched kernels are slower than plain ones: one run goes without the axis
                def single(state: Any, seed: Any, rate: Any, *rest: Any) -> Any:
                    one = jax.tree.map(lambda a: a[0], (state, seed, rate))
                    return jax.tree.map(lambda a: a[None], function(*one, *rest))

                self.compiled[key] = jax.jit(single)
            else:
                self.compiled[key] = jax.jit(
                    jax.vmap(function, in_axes=(0, 0, 0, None, None, None))
                )
        return self.compiled[key]


def _weights(module: nnx.Module) -> Any:
    return nnx.split(module)[1]


def build(task: Task, run: Training, pair: Pair | str) -> Engine:
    """The engine of a run; ``pair`` makes the networks."""
    modules = networks(pair, task.shape, task.classes, 0)
    count = len(task.sets["train"])
    batch = count if run.batch is None else min(run.batch, count)
    many = len(task.shape) == 3 and task.shape[0] >= 16
    chunk = run.chunk or (CPU_CHUNK if many and jax.default_backend() == "cpu" else batch)
    return Engine(
        task,
        run,
        tuple(nnx.split(m)[0] for m in modules),  # pyright: ignore[reportArgumentType]
        (run.passes or 1) * -(-count // batch),
        batch,
        min(chunk, batch),
        jax.device_put(task.base),
        {name: jax.device_put(part) for name, part in task.sets.items()},  # in their order
        {},
    )
