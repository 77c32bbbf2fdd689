"""Mosaics of CIFAR images: one foreground image, whose class is the label, among background."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8

from attnflow.train.tasks.task import Task, draw_mosaics, only_used

CIFAR10_CLASSES = "airplane automobile bird cat deer dog frog horse ship truck".split()
CIFAR10_FOREGROUND = ("airplane", "automobile", "bird")
CIFAR100_FOREGROUND = {
    "aquatic mammals": "beaver dolphin otter seal whale",
    "fish": "aquarium_fish flatfish ray shark trout",
    "insects": "bee beetle butterfly caterpillar cockroach",
    "large carnivores": "bear leopard lion tiger wolf",
    "large omnivores and herbivores": "camel cattle chimpanzee elephant kangaroo",
    "medium mammals": "fox porcupine possum raccoon skunk",
    "non-insect invertebrates": "crab lobster snail spider worm",
    "people": "baby boy girl man woman",
    "reptiles": "crocodile dinosaur lizard snake turtle",
    "small mammals": "hamster mouse rabbit shrew squirrel",
}
"""Coarse group -> its fine classes: the fifty classes of animals and people."""


@dataclass(frozen=True)
class Images:
    """Labelled images as a reader returns them.

    Attributes:
        train: training images, [n, 32, 32, 3].
        train_labels: their classes, [n].
        test: test images.
        test_labels: their classes.
        names: what the classes are called, in order.
    """

    train: UInt8[np.ndarray, "n 32 32 3"]
    train_labels: Int[np.ndarray, " n"]
    test: UInt8[np.ndarray, "k 32 32 3"]
    test_labels: Int[np.ndarray, " k"]
    names: tuple[str, ...]


def cifar10(
    data: str | Path = ".",
    segments: int = 5,
    train: int = 30_000,
    heldout: int = 10_000,
    test: int = 10_000,
    seed: int = 0,
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

    Raises:
        MissingPart: there are no such data at ``data``.
        DataError: they are damaged.
        SettingError: a number is outside its range.

    Source: Vashisht and Ramaswamy (2023), experiments (SDC task).
    """
    from attnflow.train.data.find_images import find_images

    images = find_images(data, "cifar10")
    return _task("cifar10", images, CIFAR10_FOREGROUND, segments, (train, heldout, test), seed)


def cifar100(
    data: str | Path = ".",
    segments: int = 5,
    train: int = 50_000,
    heldout: int = 10_000,
    test: int = 10_000,
    seed: int = 0,
) -> Task:
    """One of fifty classes of animals and people among images of the fifty others.

    Arguments and errors are those of ``cifar10``.
    """
    from attnflow.train.data.find_images import find_images

    images = find_images(data, "cifar100")
    foreground = tuple(sorted(" ".join(CIFAR100_FOREGROUND.values()).split()))
    return _task("cifar100", images, foreground, segments, (train, heldout, test), seed)


def _task(
    name: str,
    images: Images,
    foreground: tuple[str, ...],
    segments: int,
    counts: tuple[int, int, int],
    seed: int,
) -> Task:
    kinds = [images.names.index(one) for one in foreground]
    random = np.random.default_rng(seed)
    first = len(images.train)
    sets = {}
    for part, count in zip(("train", "heldout", "test"), counts, strict=True):
        offset, labels = (first, images.test_labels) if part == "test" else (0, images.train_labels)
        members = [np.flatnonzero(labels == kind) + offset for kind in kinds]
        others = np.flatnonzero(~np.isin(labels, kinds)) + offset
        sets[part] = draw_mosaics(random, count, segments, members, others)
    # every base item is scored where the networks are measured
    base, sets = only_used(np.concatenate([images.train, images.test]), sets)
    return Task(name, base, sets, len(foreground), foreground, scale=2 / 255, offset=-1.0)
