"""Inputs of unequal length: which are padded to the same length, and in what order batches come.

All inputs of a set lie in one array of m places. A bucket is a length and the inputs that fit into
it, and what is computed of them takes the first so many places alone. A batch comes from one
bucket. Which bucket a step takes follows from the task and the epoch, not from the seed of a run:
so runs trained at once take the same bucket at the same step, and compute one length alone.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from attnflow.train.tasks.task import Mosaics, Task


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
