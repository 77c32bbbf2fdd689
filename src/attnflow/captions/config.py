"""What a caption run is: one frozen record, checked, written as TOML and read back equal."""

from dataclasses import dataclass, fields
from typing import Any

from attnflow.captions.coco import YEARS
from attnflow.captions.decoder import OUTPUTS, STARTS
from attnflow.captions.encoder import ENCODERS
from attnflow.captions.images import RESIZES
from attnflow.errors import SettingError
from attnflow.schedule import Schedule
from attnflow.settings import check, nonnegative, positive, whole
from attnflow.symbolic import record
from attnflow.symbolic.paradigm import Paradigm
from attnflow.train.config import (
    DTYPES,
    MOST_SEED,
    OPTIMIZERS,
    RATE_SCHEDULES,
    as_text,
)
from attnflow.train.logs import EPOCH_COLUMNS, RUN_COLUMNS
from attnflow.train.run_folder import Kind

TASK = "coco"
IMAGE_SIZE = 224
CREDITS = ("caption", "word")

COUNTS = (
    *("train", "heldout", "min_count", "max_words", "captions_each", "image_size"),
    *("encoder_width", "encoder_blocks", "hidden", "attention", "embedding"),
    *("epochs", "batch", "measured", "measure_every", "checkpoint_every", "checkpoint_steps"),
)
"""Entries that are whole numbers of at least 1."""

CHOICES = {
    "encoder": ENCODERS,
    "resize": RESIZES,
    "output": OUTPUTS,
    "start": STARTS,
    "credit": CREDITS,
    "optimizer": OPTIMIZERS,
    "rate_schedule": RATE_SCHEDULES,
    "dtype": DTYPES,
}


@dataclass(frozen=True)
class CaptionTraining:
    """A caption run. The defaults are those of Show, Attend and Tell at full size.

    Args:
        task: "coco".
        data: folder of COCO, or of the generated set.
        year: 2014 or 2017; None for the one that is there.
        features: store of precomputed features in place of images and encoder.
        paradigm: "soft", "hard", "hard-sampled", "lvml", "power-S", "hybrid" (soft for half the
            epochs, then hard), or a schedule by epoch or time (``attnflow.schedule``).
        paradigms: custom paradigms that the text names, as of ``Training``.
        train: training images; None for all.
        heldout: validation images; None for all.
        min_count: how often a word must occur to be known.
        max_words: longer captions are cut.
        captions_each: captions of an image in a step, drawn anew each epoch where it has more; a
            set is measured by all of them.
        image_size: side of the square that the encoder sees; None for 224, or that of the store.
        resize: "crop" or "square"; None for "crop", or that of the store.
        encoder: "conv" or "vgg19".
        encoder_width: channels of the first block of "conv".
        encoder_blocks: blocks of "conv", each of which halves the side.
        encoder_weights: file of weights for "vgg19".
        train_encoder: whether the encoder learns; None: "conv" does, "vgg19" does not.
        hidden: of the LSTM.
        attention: width of the additive attention.
        embedding: of a word.
        dropout: share of the output layer's inputs that is dropped.
        gate: whether the context is gated.
        output: "deep" or "linear".
        start: where the LSTM starts, "mean" (of the features) or "zero".
        credit: what a drawn cell is judged by: "caption", the losses of its word and all that
            follow (unbiased), or "word", that of its word alone (less noise, biased).
        entropy: weight of the focus's entropy, which is subtracted from the loss.
        coverage: weight of the doubly stochastic regulariser, the squared distance of each cell's
            weight, summed over the words, from 1.
        epochs: passes over the images.
        batch: images a step.
        optimizer: "adam" or "sgd".
        learning_rate: of the optimiser.
        rate_schedule: "constant" or "cosine".
        momentum: of sgd.
        clip: largest norm of the gradient.
        dtype: "float32" or "bfloat16" (weights stay float32).
        seed: of the start, the order and the draws.
        workers: processes that decode images; 0 for threads.
        measured: images of each set that are captioned after an epoch.
        measure_every: epochs between measurements.
        checkpoint_every: epochs between checkpoints.
        checkpoint_steps: steps between checkpoints within an epoch; None for none.

    Raises:
        SettingError: a value is outside its range.
    """

    task: str = TASK
    data: str | None = None
    year: int | None = None
    features: str | None = None
    paradigm: "str | Paradigm | Schedule" = "soft@epoch=50%,hard-sampled:fresh"
    paradigms: tuple[str, ...] | None = None
    train: int | None = None
    heldout: int | None = None
    min_count: int = 5
    max_words: int = 24
    captions_each: int = 5
    image_size: int | None = None
    resize: str | None = None
    encoder: str = "conv"
    encoder_width: int = 64
    encoder_blocks: int = 4
    encoder_weights: str | None = None
    train_encoder: bool | None = None
    hidden: int = 512
    attention: int = 256
    embedding: int = 512
    dropout: float = 0.5
    gate: bool = True
    output: str = "deep"
    start: str = "mean"
    credit: str = "caption"
    entropy: float = 0.0
    coverage: float = 0.0
    epochs: int = 20
    batch: int = 64
    optimizer: str = "adam"
    learning_rate: float = 4e-4
    rate_schedule: str = "constant"
    momentum: float = 0.0
    clip: float = 5.0
    dtype: str = "float32"
    seed: int = 0
    workers: int = 0
    measured: int = 1000
    measure_every: int = 1
    checkpoint_every: int = 1
    checkpoint_steps: int | None = None

    def __post_init__(self) -> None:
        text, paradigms = as_text(self.paradigm, self.paradigms)
        object.__setattr__(self, "paradigm", text)
        object.__setattr__(self, "paradigms", paradigms)
        if self.task != TASK:
            raise SettingError(f"task must be {TASK} for captions, got {self.task!r}")
        for name in COUNTS:
            if getattr(self, name) is not None:
                check(name, getattr(self, name), "a whole number of at least 1", whole(1))
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in (*allowed, *((None,) if name == "resize" else ())):
                raise SettingError(
                    f"{name} must be one of {', '.join(allowed)}, got {getattr(self, name)!r}"
                )
        if self.year not in (None, *YEARS):
            raise SettingError(f"year must be 2014 or 2017, got {self.year}")
        below = "at least 0 and below 1"
        for name in ("dropout", "momentum"):
            check(name, getattr(self, name), below, lambda v: nonnegative(v) & (v < 1))
        for name in ("entropy", "coverage"):
            check(name, getattr(self, name), "a finite number of at least 0", nonnegative)
        for name in ("learning_rate", "clip"):
            check(name, getattr(self, name), "a finite number above 0", positive)
        allowed = f"a whole number from 0 to {MOST_SEED}"
        check("seed", self.seed, allowed, lambda v: whole(0)(v) & (v <= MOST_SEED))
        check("workers", self.workers, "a whole number of at least 0", whole(0))
        if self.momentum and self.optimizer != "sgd":
            raise SettingError(
                f"momentum is for sgd only, got {self.momentum} with {self.optimizer}"
            )
        if self.encoder_weights is not None and self.encoder != "vgg19":
            raise SettingError(f"encoder_weights are for vgg19 only, got them with {self.encoder}")
        if self.features is not None and (self.encoder_weights or self.train_encoder):
            raise SettingError("features come from an encoder already: leave its options out")
        if self.schedule.units - {"epoch", "t"}:
            raise SettingError(
                f"captions switch by epoch (soft@epoch=5,lvml) or time (soft@t=90,lvml), "
                f"got {self.paradigm!r}"
            )

    @property
    def schedule(self) -> Schedule:
        """The paradigms in turn, shares of the epochs as epochs.

        Raises:
            SettingError: it cannot be read.
        """
        return Schedule(str(self.paradigm), bare="epoch").over(self.epochs)

    @property
    def known(self) -> dict[str, Paradigm]:
        """The custom paradigms by name."""
        return {one.name: one for one in map(record.read, self.paradigms or ())}

    @property
    def seen(self) -> tuple[int, str]:
        """Side of the square that the encoder sees, and how images are brought to it."""
        return self.image_size or IMAGE_SIZE, self.resize or RESIZES[0]

    @property
    def learns_encoder(self) -> bool:
        """Whether the encoder is trained."""
        if self.features is not None:
            return False
        return self.encoder == "conv" if self.train_encoder is None else self.train_encoder

    def as_dict(self) -> dict[str, Any]:
        """All fields that are not None."""
        pairs = ((f.name, getattr(self, f.name)) for f in fields(self))
        return {name: value for name, value in pairs if value is not None}


TEXTS = frozenset({"task", "data", "features", "paradigm", "encoder_weights", *CHOICES})
SWITCHES = frozenset({"train_encoder", "gate"})


def from_dict(found: dict[str, Any]) -> CaptionTraining:
    """A run from plain values.

    Raises:
        SettingError: a name or a value is not allowed.
    """
    known = {f.name for f in fields(CaptionTraining)}
    for name, value in found.items():
        if name not in known:
            raise SettingError(f"unknown entry {name!r}; known are {', '.join(sorted(known))}")
        if name == "paradigms" and isinstance(value, list | tuple):
            continue
        kinds = {"text": str, "true or false": bool, "a number": int | float}
        wanted = "text" if name in TEXTS else "true or false" if name in SWITCHES else "a number"
        right = isinstance(value, kinds[wanted])
        if not right or (wanted == "a number" and isinstance(value, bool)):
            raise SettingError(f"{name} must be {wanted}, got {value!r}")
    if "paradigms" in found:
        found = {**found, "paradigms": tuple(found["paradigms"])}
    return CaptionTraining(**found)


SET_COLUMNS = tuple(
    f"{part}.{name}"
    for part in ("train", "val")
    for name in ("bleu1", "bleu2", "bleu3", "bleu4", "loss", "perplexity", "focus_true", "alpha")
)
KIND = Kind(
    from_dict,
    ("epoch", *RUN_COLUMNS[:2], *(c for c in EPOCH_COLUMNS if c != "alpha"), *SET_COLUMNS),
)
"""Caption runs in their folders."""
