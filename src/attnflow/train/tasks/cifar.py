"""Mosaics of CIFAR images: one foreground image, whose class is the label, among background."""

from pathlib import Path

import numpy as np

from attnflow.train.data.images import (
    CIFAR10_FOREGROUND,
    CIFAR100_FOREGROUND,
    Images,
)
from attnflow.train.tasks.task import SETS, Pool, Task, draw_mosaics, only_used


def cifar10(
    data: str | Path = ".",
    segments: int = 5,
    train: int = 30_000,
    heldout: int = 10_000,
    test: int = 10_000,
    seed: int = 0,
    *,
    fresh: bool = False,
) -> Task:
    """A plane, car or bird (the class) among images of the seven other classes.

    Training and held-out mosaics are drawn from the training images, test mosaics from the
    official test images.

    Args:
        data: the official archive, a folder that holds it, its unpacked folder, or images by
            class (``train/<class>/*.jpg`` and ``test/...``), as a folder or a tar.
        segments: m, at least 2.
        train: number of training mosaics.
        heldout: number of held-out mosaics.
        test: number of mosaics of test images.
        seed: of the mosaics.
        fresh: keep every training image, so that training mosaics can be drawn anew.

    Raises:
        MissingPart: there are no such data at ``data``.
        DataError: they are damaged.
        SettingError: a number is outside its range.

    Source: Vashisht and Ramaswamy (2023), experiments (SDC task).
    """
    from attnflow.train.data.find_images import find_images

    images = find_images(data, "cifar10")
    return _task(
        "cifar10", images, CIFAR10_FOREGROUND, segments, (train, heldout, test), seed, fresh=fresh
    )


def cifar100(
    data: str | Path = ".",
    segments: int = 5,
    train: int = 50_000,
    heldout: int = 10_000,
    test: int = 10_000,
    seed: int = 0,
    *,
    fresh: bool = False,
) -> Task:
    """One of fifty classes of animals and people among images of the fifty others.

    Arguments and errors are those of ``cifar10``.
    """
    from attnflow.train.data.find_images import find_images

    images = find_images(data, "cifar100")
    foreground = tuple(sorted(" ".join(CIFAR100_FOREGROUND.values()).split()))
    return _task(
        "cifar100", images, foreground, segments, (train, heldout, test), seed, fresh=fresh
    )


def _task(
    name: str,
    images: Images,
    foreground: tuple[str, ...],
    segments: int,
    counts: tuple[int, int, int],
    seed: int,
    *,
    fresh: bool,
) -> Task:
    kinds = [images.names.index(one) for one in foreground]
    random = np.random.default_rng(seed)
    first = len(images.train)
    seen, unseen = (
        Pool(
            [np.flatnonzero(labels == kind) + offset for kind in kinds],
            np.flatnonzero(~np.isin(labels, kinds)) + offset,
        )
        for labels, offset in ((images.train_labels, 0), (images.test_labels, first))
    )
    sets = {
        part: draw_mosaics(random, count, segments, *pool)
        for part, count, pool in zip(SETS, counts, (seen, seen, unseen), strict=True)
    }
    base = np.concatenate([images.train, images.test])
    if not fresh:  # every base item is scored where the networks are measured
        base, sets = only_used(base, sets)
    pool = seen if fresh else None
    return Task(
        name, base, sets, len(foreground), foreground, scale=2 / 255, offset=-1.0, pool=pool
    )
