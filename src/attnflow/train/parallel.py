"""Data-parallel training: the inputs of a step spread over devices and processes, weights on all.

Each device takes its share of a batch and the gradients are summed once a step, so a run on many
devices takes the steps of a run on one, to rounding. Over several processes, which JAX's own
runtime connects, every process runs the same program and only the first one reads and writes the
run's folder.
"""

import contextlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from attnflow import environment, errors
from attnflow.errors import SettingError

AXIS = "data"
CORES, NOT_SAID = "jax_num_cpu_devices", -1
WHOLE, SPLIT = PartitionSpec(), PartitionSpec(AXIS)


@dataclass(frozen=True)
class Devices:
    """The devices that share the work; without a mesh JAX's default device does all of it.

    Attributes:
        mesh: all of them in a row, or None for one.
    """

    mesh: Mesh | None = None

    @property
    def count(self) -> int:
        """How many."""
        return 1 if self.mesh is None else self.mesh.size

    def put(self, tree: Any) -> Any:
        """Arrays known to every process, whole on every device."""
        if self.mesh is None:
            return jax.device_put(tree)
        everywhere = NamedSharding(self.mesh, WHOLE)

        def one(leaf: Any) -> Any:
            values = np.asarray(leaf)
            # unlike device_put this needs no talk between processes
            return jax.make_array_from_callback(values.shape, everywhere, lambda i: values[i])

        return jax.tree.map(one, tree)

    def compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """``jax.jit``, with results whole on every device."""
        if self.mesh is None:
            return jax.jit(function)
        return jax.jit(function, out_shardings=NamedSharding(self.mesh, WHOLE))

    def total(self, function: Callable[..., Any], rows: Any, *shared: Any) -> Any:
        """``function(share of the rows, *shared)``, added over devices as by ``added``.

        Args:
            function: a pure function to a pytree.
            rows: pytree of arrays whose leading axis, a multiple of ``count``, is shared out.
            *shared: pytrees that every device gets whole.
        """
        if self.mesh is None:
            return function(rows, *shared)

        def local(rows: Any, *shared: Any) -> Any:
            return _each(
                lambda value: jax.lax.pmax(value, AXIS),
                lambda value: jax.lax.psum(value, AXIS),
                function(rows, *shared),
            )

        return self._spread(local, rows, shared)

    def rows(self, function: Callable[..., Any], count: int, *shared: Any) -> Any:
        """``function(row numbers, *shared)`` for rows 0 to count - 1, each on one device.

        Args:
            function: from numbers [k] to a pytree of arrays with leading axis k.
            count: how many rows.
            *shared: pytrees that every device gets whole.
        """
        if self.mesh is None:
            return function(jnp.arange(count), *shared)
        padded = -(-count // self.count) * self.count
        numbers = jnp.minimum(jnp.arange(padded), count - 1)

        def local(numbers: Any, *shared: Any) -> Any:
            return jax.lax.all_gather(function(numbers, *shared), AXIS, tiled=True)

        found = self._spread(local, numbers, shared)
        return jax.tree.map(lambda a: a[:count], found)

    def _spread(self, local: Callable[..., Any], rows: Any, shared: tuple[Any, ...]) -> Any:
        specs = (SPLIT, *(WHOLE for _ in shared))
        # gradients are taken within one device's share, so there is nothing to check across them
        spread = jax.shard_map(
            local, mesh=self.mesh, in_specs=specs, out_specs=WHOLE, check_vma=False
        )
        return spread(rows, *shared)


class Largest(NamedTuple):
    """Of several such numbers the largest counts, where others are added."""

    value: Any


def added(*trees: Any) -> Any:
    """Sums of the leaves of pytrees, the largest of each ``Largest``."""
    return _each(lambda *values: jnp.maximum(*values), lambda *values: jnp.add(*values), *trees)


def _each(largest: Callable[..., Any], other: Callable[..., Any], *trees: Any) -> Any:
    def one(*leaves: Any) -> Any:
        if isinstance(leaves[0], Largest):
            return Largest(largest(*(leaf.value for leaf in leaves)))
        return other(*leaves)

    return jax.tree.map(one, *trees, is_leaf=lambda leaf: isinstance(leaf, Largest))


def devices(count: int | None = None) -> Devices:
    """All devices of all processes, or the first few of this one.

    Args:
        count: how many; None for all.

    Raises:
        SettingError: there are not so many, or several processes are not to use all.
    """
    there = jax.device_count()
    if count is not None and not 1 <= count <= there:
        raise SettingError(f"devices must be a whole number from 1 to {there}, got {count}")
    if count not in (None, there) and jax.process_count() > 1:
        raise SettingError(f"several processes use all {there} devices, got devices = {count}")
    used = there if count is None else count
    if used == 1 and jax.process_count() == 1:
        return Devices()
    chosen = jax.devices()[:used]
    return Devices(jax.make_mesh((used,), (AXIS,), (AxisType.Auto,), devices=chosen))


def use_cores() -> None:
    """Have each core be a device of its own, where JAX computes on the processor.

    XLA runs most products of the convolutions on one core; a device a core keeps all of them
    busy. This sets JAX's option ``jax_num_cpu_devices``, for this process, unless it or
    XLA_FLAGS say something else or several processes are joined. It must come before JAX computes
    anything, else nothing is changed.
    """
    said = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if said or getattr(jax.config, CORES) != NOT_SAID or jax.distributed.is_initialized():
        return
    with contextlib.suppress(RuntimeError):  # JAX has computed already
        jax.config.update(CORES, environment.cores())


def first() -> bool:
    """Whether this process is the first, the only one that writes."""
    return jax.process_index() == 0


def once(function: Callable[[], Any]) -> Any:
    """What ``function`` gives in the first process, in every process; so is an error of ours.

    Args:
        function: from nothing to something that JSON can hold.
    """
    if jax.process_count() == 1:
        return function()
    said: dict[str, Any] = {}
    if first():
        try:
            said = {"value": function()}
        except ValueError as error:
            if type(error).__module__ != errors.__name__:
                raise
            said = {"error": type(error).__name__, "message": str(error)}
    text = np.frombuffer(json.dumps(said).encode(), np.uint8)
    length = int(spread_from_first(np.array(len(text))))
    held = text if first() else np.zeros(length, np.uint8)
    said = json.loads(np.asarray(spread_from_first(held)).tobytes())
    if "error" in said:
        raise getattr(errors, said["error"])(said["message"])
    return said["value"]


def spread_from_first(tree: Any) -> Any:
    """The first process's arrays, on the host, in every process; shapes must agree."""
    from jax.experimental.multihost_utils import broadcast_one_to_all

    if jax.process_count() == 1:
        return tree
    return jax.tree.map(np.asarray, broadcast_one_to_all(tree))


COLLECTIVES = "jax_cpu_collectives_implementation"
COORDINATOR = "JAX_COORDINATOR_ADDRESS"
"""Variable of the environment that says where the first process listens."""


def asked_for() -> bool:
    """Whether the environment asks for several processes without more words."""
    return COORDINATOR in os.environ


def join(
    coordinator: str | None = None, processes: int | None = None, process: int | None = None
) -> None:
    """Connect this process with the others of the run; to be called before JAX computes.

    What is None is taken from JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID, else
    from MASTER_ADDR, MASTER_PORT, WORLD_SIZE and RANK, else from what JAX finds out itself (Slurm,
    Open MPI, Kubernetes).

    Args:
        coordinator: HOST:PORT where the first process listens.
        processes: how many there are.
        process: the number of this one, from 0.

    Raises:
        SettingError: something is missing or does not fit.
    """
    place = whereabouts(coordinator, processes, process)
    if not getattr(jax.config, COLLECTIVES, None):
        jax.config.update(COLLECTIVES, "gloo")
    try:
        jax.distributed.initialize(*place)
    except (ValueError, RuntimeError) as error:
        raise SettingError(
            "several processes need a coordinator HOST:PORT, the number of processes and of this "
            f"one, from options or the environment: {str(error).splitlines()[0]}"
        ) from error


def whereabouts(
    coordinator: str | None = None, processes: int | None = None, process: int | None = None
) -> tuple[str | None, int | None, int | None]:
    """What ``join`` will be told, checked: given, or found in the environment, or None."""
    env = os.environ
    if coordinator is None and COORDINATOR not in env and {"MASTER_ADDR", "MASTER_PORT"} <= {*env}:
        coordinator = f"{env['MASTER_ADDR']}:{env['MASTER_PORT']}"
    coordinator = coordinator or env.get(COORDINATOR)
    processes = _given("processes", processes, "JAX_NUM_PROCESSES", "WORLD_SIZE")
    process = _given("process-id", process, "JAX_PROCESS_ID", "RANK")
    if coordinator is not None and not coordinator.rpartition(":")[2].isdigit():
        raise SettingError(f"coordinator must read HOST:PORT, got {coordinator!r}")
    if processes is not None and processes < 1:
        raise SettingError(f"processes must be a whole number of at least 1, got {processes}")
    if processes is not None and process is not None and not 0 <= process < processes:
        raise SettingError(f"process-id must be from 0 to {processes - 1}, got {process}")
    return coordinator, processes, process


def _given(name: str, value: int | None, *variables: str) -> int | None:
    for variable in variables:
        if value is None and variable in os.environ:
            text = os.environ[variable]
            if not text.isdigit():
                raise SettingError(f"{name} must be a whole number, got {variable}={text!r}")
            value = int(text)
    return value
