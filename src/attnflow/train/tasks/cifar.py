"""Mosaics of CIFAR images: one foreground image, whose class is the label, among background."""

from pathlib import Path

import numpy as np
from jaxtyping import Int

from attnflow.errors import SettingError
from attnflow.train.data.images import CIFAR10_FOREGROUND, CIFAR100_FOREGROUND
from attnflow.train.tasks.task import (
    SEEN_AND_UNSEEN,
    SETS,
    Mosaics,
    Pool,
    Task,
    check_mosaics,
    draw_mosaics,
    only_used,
)

MOSAICS = ("drawn", "published")
OTHER_ORDER = (
    "The mosaics are the index lists of the paper's code over images in another order than there, "
    "which only the official archive has."
)


def cifar10(
    data: str | Path = ".",
    segments: int = 5,
    train: int = 30_000,
    heldout: int = 10_000,
    test: int = 10_000,
    seed: int = 0,
    *,
    fresh: bool = False,
    mosaics: str = "drawn",
) -> Task:
    """A plane, car or bird (the class) among images of the seven other classes.

    Training and held-out mosaics are drawn from the training images, test mosaics from the
    official test images.

    Args:
        data: the official archive, a folder that holds it, its unpacked folder, or images by
            class (``train/<class>/*.jpg`` and ``test/...``), as a folder or a tar.
        segments: m, at least 2.
        train: number of training mosaics.
        heldout: number of held-out mosaics, new ones of the images that are trained on.
        test: number of mosaics of test images, which are unseen.
        seed: of the mosaics.
        fresh: keep every training image, so that training mosaics can be drawn anew.
        mosaics: "drawn" by the seed, or "published": those of ``published_mosaics``, the first of
            the training images to train on and the next held out, the first of the test images to
            test, as in the paper's code.

    Raises:
        MissingPart: there are no such data at ``data``.
        DataError: they are damaged.
        SettingError: a number is outside its range, or published mosaics should be fresh or seeded.

    Source: Vashisht and Ramaswamy (2023), experiments (SDC task).
    """
    return _task(
        "cifar10",
        data,
        CIFAR10_FOREGROUND,
        segments,
        (train, heldout, test),
        seed,
        fresh=fresh,
        mosaics=mosaics,
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
    mosaics: str = "drawn",
) -> Task:
    """One of fifty classes of animals and people among images of the fifty others.

    Arguments and errors are those of ``cifar10``.
    """
    return _task(
        "cifar100",
        data,
        tuple(sorted(" ".join(CIFAR100_FOREGROUND.values()).split())),
        segments,
        (train, heldout, test),
        seed,
        fresh=fresh,
        mosaics=mosaics,
    )


def _task(
    name: str,
    data: str | Path,
    foreground: tuple[str, ...],
    segments: int,
    counts: tuple[int, int, int],
    seed: int,
    *,
    fresh: bool,
    mosaics: str,
) -> Task:
    from attnflow.train.data.find_images import find_images

    if mosaics not in MOSAICS:
        raise SettingError(f"mosaics must be one of {', '.join(MOSAICS)}, got {mosaics!r}")
    published = mosaics == "published"
    if published and (fresh or seed):
        got = "fresh" if fresh else f"seed {seed}"
        raise SettingError(
            f"mosaics published are one fixed list, neither fresh nor of a data seed, got {got}"
        )
    images = find_images(data, name)
    kinds = [images.names.index(one) for one in foreground]
    first = len(images.train)
    seen, unseen = (
        Pool(
            [np.flatnonzero(labels == kind) + offset for kind in kinds],
            np.flatnonzero(~np.isin(labels, kinds)) + offset,
        )
        for labels, offset in ((images.train_labels, 0), (images.test_labels, first))
    )
    random, starts = np.random.default_rng(seed), (0, counts[0], 0)
    sets = {
        part: published_mosaics(range(start, start + count), segments, *pool)
        if published
        else draw_mosaics(random, count, segments, *pool)
        for part, start, count, pool in zip(SETS, starts, counts, (seen, seen, unseen), strict=True)
    }
    base = np.concatenate([images.train, images.test])
    if not fresh:  # every base item is scored where the networks are measured
        base, sets = only_used(base, sets)
    return Task(
        name,
        base,
        sets,
        len(foreground),
        foreground,
        scale=2 / 255,
        offset=-1.0,
        remarks=(OTHER_ORDER,) if published and images.by_class else (),
        pool=seen if fresh else None,
        meanings=SEEN_AND_UNSEEN,
    )


def published_mosaics(
    numbers: range,
    segments: int,
    foreground: list[Int[np.ndarray, "..."]],
    background: Int[np.ndarray, " b"],
) -> Mosaics:
    """Mosaics as the paper's code draws them: each by NumPy's global generator of its number.

    That draws the background images from left to right, then the foreground image, of any class,
    then its place; images are counted in the order of their indices.

    Args:
        numbers: of the mosaics, from 0.
        segments: m.
        foreground: for each class, the indices of its base items.
        background: indices of the background items.

    Raises:
        SettingError: no mosaics, too many, or no foreground or background.

    Example:
        >>> published_mosaics(range(2), 3, [np.arange(5)], np.arange(5, 9)).segments
        array([[5, 0, 8],
               [4, 6, 8]], dtype=int32)

    Source: github.com/vashisht-rahul/On-the-Learning-Dynamics-of-Attention-Networks, "SDC task",
    Create_Mosaic_data.
    """
    count = len(numbers)
    check_mosaics(count, segments, foreground, background)
    items = np.concatenate(foreground)
    order = np.argsort(items)
    kinds = np.repeat(np.arange(len(foreground)), [len(kind) for kind in foreground])[order]
    others, chosen = np.empty((count, segments - 1), np.int32), np.empty(count, np.int64)
    places, random = np.empty(count, np.int32), np.random.RandomState()
    for row, number in enumerate(numbers):
        random.seed(number)
        others[row] = random.randint(len(background), size=segments - 1)
        chosen[row] = random.randint(len(items))
        places[row] = random.randint(segments)
    indices = np.empty((count, segments), np.int32)
    true = np.arange(segments) == places[:, None]
    indices[~true] = background[others.ravel()]
    indices[true] = items[order][chosen]
    return Mosaics(indices, kinds[chosen].astype(np.int32), places)
