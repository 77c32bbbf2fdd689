"""Computes an encoder's features of all images once, into a store."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from attnflow.captions.coco import CaptionSet
from attnflow.captions.config import CaptionTraining
from attnflow.captions.encoder import parameters
from attnflow.captions.feature_store import DTYPES, Features, write_store
from attnflow.captions.loop import corpus_of
from attnflow.captions.pipeline import Pixels, ahead, batches, check_libraries
from attnflow.captions.program import encoder_of
from attnflow.errors import SettingError
from attnflow.train.checkpoints import digest


def compute_features(
    run: CaptionTraining,
    out: str | Path,
    *,
    dtype: str = "float16",
    progress: Callable[[int, int], None] | None = None,
) -> Features:
    """Compute features of all images of a config, or find them computed already.

    Args:
        run: names data, encoder, image size and the rest; its encoder does not learn.
        out: folder of the store.
        dtype: "float16" or "float32".
        progress: called with (images done, images in all).

    Raises:
        SettingError: a value is not allowed, or another store is at ``out``.
        MissingPart, DataError: data, weights or grain are missing or damaged.
    """
    check_libraries()
    if dtype not in DTYPES:
        raise SettingError(f"dtype of features must be one of {', '.join(DTYPES)}, got {dtype!r}")
    frozen = run.encoder != "conv"
    encoder = encoder_of(replace(run, train_encoder=False) if frozen else run)
    corpus = corpus_of(run)
    names = ("encoder", "image_size", "resize")
    recipe: dict[str, Any] = dict(zip(names, (run.encoder, *run.seen), strict=True))
    recipe |= {"dtype": dtype, "weights": digest(parameters(encoder))}
    graph, weights = nnx.split(encoder)
    function = jax.jit(lambda held, pixels: nnx.merge(graph, held)(pixels))
    total, done = sum(len(part) for part in corpus.sets.values()), 0

    def compute(part: CaptionSet) -> Iterator[np.ndarray]:
        nonlocal done
        source = Pixels(*run.seen)
        found = batches(part, source, run.batch, each=1, workers=run.workers)
        for batch in ahead(found, jax.device_put):
            kept = int(np.count_nonzero(batch.rows >= 0))
            yield np.asarray(function(weights, batch.pixels))[:kept]
            done += kept
            if progress is not None:
                progress(done, total)

    return write_store(out, recipe, corpus.sets.values(), compute)
