"""Batches for the device: images decoded by grain, shuffled by seed, and put there ahead of time.

The order of images and the choice of captions follow from (seed, epoch, image) alone, so a run
that stopped anywhere goes on at its step by random access, and no state of the pipeline is kept.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int

from attnflow.captions.coco import CaptionSet
from attnflow.captions.images import load_image
from attnflow.captions.vocabulary import PAD
from attnflow.environment import cores, library
from attnflow.errors import DataError

AHEAD = 2
"""Batches on the device before they are asked for."""


@dataclass(frozen=True)
class Batch:
    """Images with some of their captions; what is missing to a full batch is zeros and ``PAD``.

    Attributes:
        pixels: [B, size, size, 3] uint8, or the encoder's features [B, L, D].
        words: [B, K, T], all ``PAD`` where an image has fewer captions.
        rows: number of each image in its set, -1 where there is none, [B].
        captions: number of each caption in its set, -1 where there is none, [B, K].
    """

    pixels: Any
    words: Int[Any, "B K T"]
    rows: Int[np.ndarray, " B"]
    captions: Int[np.ndarray, "B K"]


@dataclass(frozen=True)
class Pixels:
    """Image files as a source of pixels.

    Attributes:
        size: side of the square.
        resize: "crop" or "square".
    """

    size: int
    resize: str

    def __call__(self, part: CaptionSet, row: int) -> np.ndarray:
        """The pixels of one image."""
        return load_image(part.pictures[row].path, self.size, self.resize)


NEEDED = "captions need"

Source = Callable[[CaptionSet, int], np.ndarray]
"""(set, number of the image) -> its pixels or features."""


def check_libraries() -> None:
    """Whether caption runs can read their data and score what they write.

    Raises:
        MissingPart: grain or sacrebleu is not installed.
    """
    for name in ("grain", "sacrebleu"):
        library(name, NEEDED)


@dataclass(frozen=True)
class Item:
    """What grain maps over an index: one image and the captions chosen for it.

    Attributes:
        part: the set.
        source: of pixels.
        each: captions an image.
        seed: of the choice, None to take the first ones.
        epoch: which epoch.
    """

    part: CaptionSet
    source: Source
    each: int
    seed: int | None
    epoch: int

    def __call__(self, row: int) -> dict[str, Any]:
        """The image of that number."""
        row = int(row)
        there = np.arange(self.part.first[row], self.part.first[row + 1])
        if self.seed is not None and len(there) > self.each:
            random = np.random.default_rng([self.seed, self.epoch, row])
            there = np.sort(random.permutation(there)[: self.each])
        chosen = np.full(self.each, -1, np.int32)
        chosen[: len(there)] = there[: self.each]
        words = np.where(chosen[:, None] >= 0, self.part.words[chosen], PAD)
        pixels = np.asarray(self.source(self.part, row))
        return {"pixels": pixels, "words": words, "rows": np.int32(row), "captions": chosen}


def batches(
    part: CaptionSet,
    source: Source,
    batch: int,
    *,
    each: int,
    seed: int | None = None,
    epoch: int = 0,
    first: int = 0,
    limit: int | None = None,
    workers: int = 0,
    threads: int | None = None,
) -> Iterator[Batch]:
    """The batches of an epoch, on the host.

    Args:
        part: the set.
        source: of pixels or features.
        batch: images a batch; the last one is filled up.
        each: captions an image.
        seed: of order and choice; None for the order of the file and the first captions.
        epoch: which epoch.
        first: batches that are left out at the beginning.
        limit: only so many images, the first ones of the set.
        workers: processes that decode; 0 for threads of this one.
        threads: how many threads decode; None for one a core.

    Raises:
        MissingPart: grain is not installed.
        DataError: an image is damaged.
    """
    grain = library("grain", NEEDED)
    count = len(part) if limit is None else min(limit, len(part))
    rows = grain.MapDataset.range(count)
    if seed is not None:
        rows = rows.shuffle(seed=int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0]))
    rows = rows[first * batch :]
    if not len(rows):
        return
    # whole batches, so that several processes, which take turns, keep the order of one
    items = rows.map(Item(part, source, each, seed, epoch)).batch(batch, drop_remainder=False)

    readers = threads or max(1, cores())
    reading = grain.ReadOptions(num_threads=readers, prefetch_buffer_size=2 * readers)
    stream = items.to_iter_dataset(reading)
    if workers:
        from absl import flags

        if not flags.FLAGS.is_parsed():  # grain asks absl in every process that it starts
            flags.FLAGS.mark_as_parsed()
        stream = stream.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers))
    try:
        for found in stream:
            if workers:  # whose memory will be used again
                found = {name: np.array(values) for name, values in found.items()}
            yield _filled(found, batch)
    except DataError:
        raise
    except Exception as error:  # a worker's error arrives as another kind, with ours in its text
        said = [line for line in str(error).splitlines() if "DataError: " in line]
        if not said:
            raise
        raise DataError(said[0].split("DataError: ", 1)[1]) from error


def _filled(found: dict[str, np.ndarray], batch: int) -> Batch:
    spare = batch - len(found["rows"])

    def longer(values: np.ndarray, fill: int) -> np.ndarray:
        if not spare:
            return values
        padding = ((0, spare), *((0, 0) for _ in values.shape[1:]))
        return np.pad(values, padding, constant_values=fill)

    return Batch(
        longer(found["pixels"], 0),
        longer(found["words"], PAD),
        longer(found["rows"], -1),
        longer(found["captions"], -1),
    )


def ahead(found: Iterator[Batch], put: Callable[[Any], Any]) -> Iterator[Batch]:
    """The same batches, the next ones on their way to the device while one is worked on.

    Args:
        found: batches on the host.
        put: brings an array to the device and returns at once.
    """
    waiting: deque[Batch] = deque()
    for batch in found:
        pixels, words = put((batch.pixels, batch.words))
        waiting.append(Batch(pixels, words, batch.rows, batch.captions))
        if len(waiting) > AHEAD:
            yield waiting.popleft()
    yield from waiting
