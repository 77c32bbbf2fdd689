"""The simple setting as a task: orthogonal foreground vectors, exact or sampled."""

import numpy as np

from attnflow.errors import SettingError
from attnflow.settings import Setting, check, check_count, nonnegative
from attnflow.train.tasks.task import Mosaics, Task, check_segments

FOREGROUND_VARIANCE, BACKGROUND_VARIANCE = 1e-10, 1e-2


def orthogonal(
    segments: int = 20,
    classes: int = 20,
    samples: int | None = None,
    train: int | None = None,
    heldout: int = 1000,
    seed: int = 0,
    background_mean: float | None = None,
) -> Task:
    """The simple setting.

    Exact (``samples`` None): foreground e_k, background zero, and the C inputs that make up the
    population, one a class; a step on all of them follows the population gradient.

    Sampled: foreground e_k with variance 1e-10, background in one further coordinate with variance
    1e-2 around a mean of 1, or, as in the paper's code, of 0; every segment drawn anew. (There
    2,000 foreground vectors of each class and as many backgrounds are drawn once, and shared.)

    Args:
        segments: m, at least 2.
        classes: C, at least 2.
        samples: None, or number of training inputs.
        train: another name of ``samples``, shared with the other tasks.
        heldout: number of held-out inputs, if sampled.
        seed: of the sample.
        background_mean: of sampled inputs; None for 1.

    Raises:
        SettingError: a number is outside its range, or a mean is given without a sample.

    Source: Vashisht and Ramaswamy (2023), section 3 and experiments.
    """
    samples = samples if samples is not None else train
    setting = Setting(segments, classes)
    check_segments(classes if samples is None else samples, segments)
    if samples is None:
        if background_mean is not None:
            raise SettingError(
                f"background_mean is for sampled inputs (train), got {background_mean} without"
            )
        base = np.concatenate([np.eye(classes), np.zeros((1, classes))]).astype(np.float32)
        indices = np.full((classes, segments), classes, np.int32)
        labels = np.arange(classes, dtype=np.int32)
        indices[:, 0] = labels
        exact = Mosaics(indices, labels, np.zeros(classes, np.int32))
        return Task("orthogonal", base, {"train": exact}, classes, setting=setting, full_batch=True)
    mean = 1.0 if background_mean is None else float(background_mean)
    check("background_mean", mean, "a finite number of at least 0", nonnegative)
    check_count("samples", samples)
    check_count("heldout", heldout)
    random = np.random.default_rng(seed)
    total = samples + heldout
    labels = random.integers(classes, size=total).astype(np.int32)
    places = random.integers(segments, size=total).astype(np.int32)
    noise = random.standard_normal((total, segments, classes + 1), dtype=np.float32)
    base = noise * np.float32(np.sqrt(BACKGROUND_VARIANCE))
    # the background lies in the further coordinate alone
    base[:, :, :classes] = 0
    base[:, :, classes] += np.float32(mean)
    rows = np.arange(total)
    base[rows, places] = noise[rows, places] * np.float32(np.sqrt(FOREGROUND_VARIANCE))
    base[rows, places, classes] = 0
    base[rows, places, labels] += 1
    indices = np.arange(total * segments, dtype=np.int32).reshape(total, segments)
    parts = {"train": slice(0, samples), "heldout": slice(samples, total)}
    return Task(
        "orthogonal",
        base.reshape(total * segments, classes + 1),
        {name: Mosaics(indices[p], labels[p], places[p]) for name, p in parts.items()},
        classes,
        setting=Setting(segments, classes, background_norm=mean),
    )
