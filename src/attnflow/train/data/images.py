"""Labelled images, and which classes of CIFAR are foreground."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, UInt8

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
        by_class: whether they are sorted by class, not in the order of the official archive.
    """

    train: UInt8[np.ndarray, "n 32 32 3"]
    train_labels: Int[np.ndarray, " n"]
    test: UInt8[np.ndarray, "k 32 32 3"]
    test_labels: Int[np.ndarray, " k"]
    names: tuple[str, ...]
    by_class: bool = False
