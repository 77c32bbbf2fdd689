"""Inputs of unequal length: which are padded to the same length, and in what order batches come.

All inputs of a set lie in one array of m places. A bucket is a length and the inputs that fit into
it, and what is computed of them takes the first so many places alone. A batch comes from one
bucket. Which bucket a step takes follows from the task and the epoch, not from the seed of a run:
so runs trained at once take the same bucket at the same step, and compute one length alone.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from attnflow.train.tasks.task import Mosaics, Task

if TYPE_CHECKING:
    from attnflow.train.program import Engine


class Bucket(NamedTuple):
    """Inputs that are padded to the same length.

    Attributes:
        length: how many places count.
        members: indices of the inputs, ascending.
    """

    length: int
    members: Int[np.ndarray, " k"]


def buckets_of(task: Task, inputs: Mosaics, least: int = 1) -> tuple[Bucket, ...]:
    """The buckets of a set, in order of length.

    Args:
        task: says which lengths there are.
        inputs: the set, on the host.
        least: a bucket of fewer inputs joins the next longer one, the longest the one before it.
    """
    count, places = inputs.segments.shape
    if not task.lengths or inputs.mask is None:
        return (Bucket(places, np.arange(count)),)
    mask = np.asarray(inputs.mask)
    needed = places - np.argmax(mask[:, ::-1], axis=1)
    lengths = [length for length in task.lengths if length < places] + [places]
    fits = np.searchsorted(lengths, needed)
    found: list[Bucket] = []
    waiting = np.zeros(0, np.int64)
    for k, length in enumerate(lengths):
        waiting = np.concatenate([waiting, np.flatnonzero(fits == k)])
        if len(waiting) >= least:
            found.append(Bucket(length, np.sort(waiting)))
            waiting = np.zeros(0, np.int64)
    if len(waiting):
        last = found.pop().members if found else np.zeros(0, np.int64)
        found.append(Bucket(int(needed.max()), np.sort(np.concatenate([last, waiting]))))
    # no longer than the longest input in it
    return tuple(Bucket(min(b.length, int(needed[b.members].max())), b.members) for b in found)


def steps_of(buckets: tuple[Bucket, ...], batch: int) -> list[int]:
    """Steps that one pass takes over each bucket."""
    return [-(-len(bucket.members) // batch) for bucket in buckets]


def order(
    engine: "Engine", key: Array, epoch: Any
) -> tuple[Int[Array, "steps batch"], Bool[Array, "steps batch"], Int[Array, " steps"]]:
    """Indices of each step of an epoch, which of them are present, and the bucket of each step.

    Args:
        engine: knows buckets and batch.
        key: of this run and epoch; decides which inputs share a batch.
        epoch: decides, with the task's seed, in which order the buckets come.
    """
    batch, passes = engine.batch, engine.run.passes or 1
    steps = steps_of(engine.buckets, batch)
    spare = [n * batch - len(b.members) for n, b in zip(steps, engine.buckets, strict=True)]

    def batches(number: Any) -> Any:
        one = jax.random.fold_in(key, number)
        shuffled = [
            jnp.pad(jax.random.permutation(jax.random.fold_in(one, k), jnp.asarray(b.members)), p)
            for k, (b, p) in enumerate(
                zip(engine.buckets, ((0, more) for more in spare), strict=True)
            )
        ]
        return jnp.concatenate(shuffled).astype(jnp.int32).reshape(-1, batch)

    def turns(number: Any) -> Any:
        shared = jax.random.fold_in(jax.random.key(engine.run.data_seed), epoch * passes + number)
        return jax.random.permutation(shared, sum(steps))

    present = np.concatenate(
        [np.arange(n * batch) < len(b.members) for n, b in zip(steps, engine.buckets, strict=True)]
    ).reshape(-1, batch)
    which = np.repeat(np.arange(len(steps), dtype=np.int32), steps)
    numbers = jnp.arange(passes)
    index = jax.lax.map(batches, numbers)
    turn = jax.lax.map(turns, numbers)
    index = jnp.take_along_axis(index, turn[:, :, None], axis=1).reshape(-1, batch)
    turn = turn.reshape(-1)
    return index, jnp.asarray(present)[turn], jnp.asarray(which)[turn]
