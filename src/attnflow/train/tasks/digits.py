"""Mosaics of real 8 x 8 digits, which come with scikit-learn: the task that runs anywhere."""

from typing import Any

import numpy as np

from attnflow.train.tasks.task import SEEN_AND_UNSEEN, SETS, Pool, Task, draw_mosaics

FOREGROUND = (0, 1, 2)
TEST_SHARE = 0.25
SPLIT_SEED = 20
"""Which images are for testing never changes; ``seed`` draws the mosaics."""


def digits(
    segments: int = 20, train: int = 3000, heldout: int = 1000, test: int = 1000, seed: int = 0
) -> Task:
    """One digit 0, 1 or 2 (the class) among digits 3 to 9; 1,797 scanned images.

    A quarter of the images make the test mosaics; training and held-out mosaics share the rest.

    Args:
        segments: m, at least 2.
        train: number of training mosaics.
        heldout: number of held-out mosaics.
        test: number of mosaics of unseen images.
        seed: of the mosaics.

    Raises:
        SettingError: a number is outside its range.

    Source: UCI optical recognition of handwritten digits, as in sklearn.datasets.load_digits.
    """
    from sklearn.datasets import load_digits

    data: Any = load_digits()
    images = data.images.astype(np.uint8)[..., None]
    order = np.random.default_rng(SPLIT_SEED).permutation(len(images))
    cut = int(len(images) * TEST_SHARE)
    random = np.random.default_rng(seed)
    seen, unseen = (
        Pool(
            [part[data.target[part] == k] for k in FOREGROUND],
            part[~np.isin(data.target[part], FOREGROUND)],
        )
        for part in (order[cut:], order[:cut])
    )
    sets = {
        name: draw_mosaics(random, count, segments, *pool)
        for name, count, pool in zip(
            SETS, (train, heldout, test), (seen, seen, unseen), strict=True
        )
    }
    names = tuple(str(k) for k in FOREGROUND)
    return Task(
        "digits",
        images,
        sets,
        len(FOREGROUND),
        names,
        scale=1 / 8,
        offset=-1.0,
        pool=seen,
        meanings=SEEN_AND_UNSEEN,
    )
