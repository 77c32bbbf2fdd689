"""The compiled core of training: a whole epoch is one call; several runs are one vmapped call.

The state is a plain pytree (weights, optimiser, step, baseline). Randomness is a function of
(seed, epoch, step) alone, so there is no random state to lose, and an interrupted run that is
resumed takes exactly the steps of an unbroken one.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from attnflow.schedule import Stage
from attnflow.train.config import Replica, Training
from attnflow.train.epoch import run_epoch
from attnflow.train.length_buckets import Bucket, buckets_of, steps_of
from attnflow.train.metrics import measure_sets
from attnflow.train.networks.contract import Networks, divide, networks
from attnflow.train.networks.named import Pair
from attnflow.train.objective import Objective
from attnflow.train.outputs import modules_of, score_base
from attnflow.train.parallel import Devices
from attnflow.train.program import Program
from attnflow.train.tasks.task import Mosaics, Task

PLAIN = Stage("")
"""Without learning rates of its own."""
CPU_CHUNK = 16
"""Images of so many inputs at once keep the windows of a convolution in the processor's cache."""


@dataclass(frozen=True)
class Engine(Program):
    """A program with its compiled functions: start, epoch, measure, score."""

    def start(self) -> dict[str, Any]:
        """The state before the first step, each leaf with a leading axis of runs."""
        states = []
        for replica in self.run.replicas:
            made = _networks(self.pair, self.task, replica.seed)
            states.append({n: divide(m)[1] for n, m in made.named.items()})
        weights = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
        count = len(states)
        state = {
            "weights": weights,
            "optimizer": self.optimizer(weights),
            "step": jnp.zeros(count, jnp.int32),
            "baseline": jnp.full(count, np.log(self.task.classes), jnp.float32),
        }
        return self.devices.put(state)

    def epoch(
        self, objective: Objective, state: Any, number: int, stage: Stage = PLAIN
    ) -> tuple[Any, dict[str, Any]]:
        """One epoch for every run, at a stage's rates: (new state, metrics with an axis of runs).

        Metrics: ``loss`` (mean over the epoch's inputs, before each step), ``alpha`` (mean weight
        on the true segments), ``bad`` (first step whose loss was not finite or too large, or -1).
        """
        function = self._compile(
            ("epoch", objective), lambda: partial(run_epoch, self, objective), own=self.run.fresh
        )
        train = self._fresh(number) if self.run.fresh else self.inputs["train"]
        return function(state, *self._which(number, stage), self.base, train)

    def early(
        self, objective: Objective, state: Any, step: int, stage: Stage = PLAIN
    ) -> tuple[Any, dict[str, Any]]:
        """The state after so many steps of the first epoch; their ``loss``, ``alpha``, ``bad``."""

        def some(state: Any, replica: Any, numbers: Any, base: Any, train: Any) -> Any:
            number, until = numbers
            return run_epoch(self, objective, state, replica, number, base, train, until=until)

        function = self._compile(("early", objective), lambda: some, own=self.run.fresh)
        train = self._fresh(0) if self.run.fresh else self.inputs["train"]
        replica, number = self._which(0, stage)
        numbers = number, self.devices.put(np.int32(step))
        after, told = function(state, replica, numbers, self.base, train)
        return after, {name: told[name] for name in ("loss", "alpha", "bad")}

    def _fresh(self, number: int) -> Mosaics:
        """An epoch's training inputs, drawn for each seed; of several runs with a leading axis."""
        replicas, drawn = self.run.replicas, {}
        for seed in self.run.seeds:
            drawn[seed] = self.task.drawn_anew(self.run.data_seed, seed, number)
        if len(replicas) == 1:
            return self.devices.put(drawn[replicas[0].seed])
        each = [drawn[one.seed] for one in replicas]
        return self.devices.put(jax.tree.map(lambda *leaves: np.stack(leaves), *each))

    def measure(self, state: Any, objective: Objective) -> dict[str, dict[str, Any]]:
        """What each set shows of the weights: see ``measure_sets``; leading axis of runs."""
        key = ("measure", objective if self.task.full_batch or self.run.fixed_focus else None)
        function = self._compile(key, lambda: partial(measure_sets, self, objective))
        return function(state, *self._which(0), self.base, self.inputs)

    def score(self, state: Any) -> tuple[Any, Any]:
        """Focus score and logits of every base item: [runs, n] and [runs, n, C]."""

        def function(state: Any, replica: Any, number: Any, base: Any, _: Any) -> Any:
            return score_base(self, state["weights"], base)

        compiled = self._compile("score", lambda: function)
        return compiled(state, *self._which(0), self.base, None)

    def modules(self, weights: Any) -> Networks:
        """The networks with these weights (of one run)."""
        return modules_of(self, weights)

    def _which(self, number: int, stage: Stage = PLAIN) -> tuple[Replica, Any]:
        """The runs trained at once, their learning rates by network, and the epoch's number."""
        seeds, rates, focus = zip(*self.run.replicas, strict=True)
        of_networks = {
            name: np.array([stage.rate(name, rate) for rate in rates], np.float32)
            for name in self.divided
        }
        replicas = Replica(np.array(seeds, np.uint32), of_networks)
        if focus[0] is not None:
            replicas = replicas._replace(focus=np.array(focus, np.float32))
        return self.devices.put((replicas, np.int32(number)))

    def _compile(
        self, key: Any, make: Callable[[], Callable[..., Any]], *, own: bool = False
    ) -> Callable[..., Any]:
        """The function of that key, for all runs; ``own`` where each has inputs of its own."""
        if key not in self.compiled:
            function = make()
            if len(self.run.replicas) == 1:
                # batched kernels are slower than plain ones: one run goes without the axis
                def single(state: Any, replica: Any, *rest: Any) -> Any:
                    one = jax.tree.map(lambda a: a[0], (state, replica))
                    return jax.tree.map(lambda a: a[None], function(*one, *rest))

                self.compiled[key] = self.devices.compile(single)
            else:
                self.compiled[key] = self.devices.compile(
                    jax.vmap(function, in_axes=(0, 0, None, None, 0 if own else None))
                )
        return self.compiled[key]


def _networks(pair: Pair | str, task: Task, seed: int) -> Networks:
    return networks(pair, task.shape, task.classes, seed, tokens=task.tokens)


def _groups(task: Task, part: Mosaics, made: Networks) -> tuple[Bucket, ...]:
    """In which a set is measured; what is looked up needs no cutting to length."""
    return buckets_of(task if made.contextual else replace(task, lengths=()), part)


def build(task: Task, run: Training, pair: Pair | str, devices: Devices) -> Engine:
    """The engine of a run; ``pair`` makes the networks, ``devices`` share the work."""
    made = _networks(pair, task, 0)
    count = len(task.sets["train"])
    batch = count if run.batch is None else min(run.batch, count)
    many = len(task.shape) == 3 and task.shape[0] >= 16
    chunk = run.chunk or (CPU_CHUNK if many and jax.default_backend() == "cpu" else batch)
    buckets = buckets_of(task, task.sets["train"], batch)
    return Engine(
        task,
        run,
        {name: divide(module)[0] for name, module in made.named.items()},
        made.contextual,
        (run.passes or 1) * sum(steps_of(buckets, batch)),
        batch,
        min(chunk, batch),
        devices,
        buckets,
        {name: _groups(task, part, made) for name, part in task.sets.items()},
        devices.put(task.base),
        {name: devices.put(part) for name, part in task.sets.items()},  # in their order
        pair,
        {},
    )
