"""What a caption run is: one frozen record, checked, written as TOML and read back equal."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from attnflow.errors import SettingError
from attnflow.train.entries import (
    COUNT,
    MOST,
    NONNEGATIVE,
    POSITIVE,
    SHARE,
    Range,
    documented,
    entry,
    whole,
)
from attnflow.train.shared_config import Run

if TYPE_CHECKING:
    from attnflow.schedule import Schedule
    from attnflow.symbolic.paradigm import Paradigm

TASK = "coco"
IMAGE_SIZE = 224
YEARS = (2017, 2014)
RESIZES = ("crop", "square")
ENCODERS = ("conv", "vgg19")
PANEL = "Captions (task coco)"


@documented
@dataclass(frozen=True)
class CaptionTraining(Run):
    """A caption run. The defaults are those of Show, Attend and Tell at full size.

    Raises:
        SettingError: a value is not allowed, or not with the others.
        ParadigmError: no paradigm has a name of the schedule.
    """

    foreign: ClassVar[str] = f"not for the task {TASK}"

    task: str = Run.again("task", TASK)
    year: int | None = entry(
        None,
        "2014 or 2017 (default: what is there)",
        Range("2014 or 2017", lambda year: year in YEARS),
        panel=PANEL,
        metavar="YEAR",
    )
    features: str | None = entry(
        None,
        "store of features computed before, in place of images and encoder",
        panel=PANEL,
        metavar="STORE",
    )
    paradigm: "str | Paradigm | Schedule" = Run.again(
        "paradigm", "soft@epoch=50%,hard-sampled:fresh"
    )
    min_count: int = Run.again("min_count", 5)
    max_words: int = entry(24, "longer captions are cut", COUNT, panel=PANEL)
    captions_each: int = entry(
        5,
        "captions of an image in a step, drawn anew each epoch where it has more",
        COUNT,
        panel=PANEL,
    )
    image_size: int | None = entry(
        None,
        f"side of the square that the encoder sees (default: {IMAGE_SIZE}, or the store's)",
        COUNT,
        panel=PANEL,
    )
    resize: str | None = entry(
        None,
        "how images become squares (default: crop, or the store's)",
        RESIZES,
        panel=PANEL,
        metavar="NAME",
    )
    encoder: str = entry("conv", "the encoder", ENCODERS, panel=PANEL, metavar="NAME")
    encoder_width: int = entry(64, "channels of the first block of conv", COUNT, panel=PANEL)
    encoder_blocks: int = entry(
        4, "blocks of conv, each of which halves the side", COUNT, panel=PANEL
    )
    encoder_weights: str | None = entry(
        None,
        "of vgg19: torchvision's .pth, .safetensors or .npz",
        panel=PANEL,
        metavar="PATH",
    )
    train_encoder: bool | None = entry(
        None, "whether the encoder learns (default: conv does)", panel=PANEL
    )
    hidden: int = entry(512, "units of the LSTM", COUNT, panel=PANEL)
    attention: int = entry(256, "width of the additive attention", COUNT, panel=PANEL)
    embedding: int = entry(512, "width of a word", COUNT, panel=PANEL)
    dropout: float = entry(
        0.5, "share dropped of the output layer's inputs", SHARE, panel=PANEL, metavar="P"
    )
    gate: bool = entry(True, "whether the context is gated", panel=PANEL)
    output: str = entry("deep", "the output layer", ("deep", "linear"), panel=PANEL, metavar="NAME")
    start: str = entry(
        "mean",
        "where the LSTM starts: at the mean of the features, or at zero",
        ("mean", "zero"),
        panel=PANEL,
        metavar="NAME",
    )
    credit: str = entry(
        "caption",
        "a drawn cell is judged by the losses of its word and all that follow (unbiased), or by "
        "its word alone (less noise, biased), or as in the paper's code: the last one alone, by "
        "half of what caption and baseline add to (biased)",
        ("caption", "word", "published"),
        panel=PANEL,
        metavar="NAME",
    )
    written_by: str = entry(
        "paradigm",
        "captions are written as the paradigm has it, or by the weighted mean of the cells",
        ("paradigm", "soft"),
        panel=PANEL,
        metavar="NAME",
    )
    entropy: float = entry(
        0.0,
        "weight of the focus's entropy, which is subtracted from the loss",
        NONNEGATIVE,
        panel=PANEL,
        metavar="W",
    )
    coverage: float = entry(
        0.0,
        "weight of the squared distance of each cell's weight, summed over the words, from 1",
        NONNEGATIVE,
        panel=PANEL,
        metavar="W",
    )
    epochs: int = Run.again("epochs", 20)
    batch: int = Run.again("batch", 64)
    optimizer: str = Run.again("optimizer", "adam")
    rates: ClassVar[tuple[str, str]] = ("learning_rate", "decoder")
    learning_rate: float = entry(
        4e-4, "learning rate, or one a network: encoder=R,decoder=R", POSITIVE, metavar="R"
    )
    momentum: float = Run.again("momentum", 0.0)
    clip: float = entry(5.0, "largest norm of the gradient", POSITIVE, panel=PANEL, metavar="R")
    seed: int = entry(0, "of the start, the order and the draws", whole(0, MOST), metavar="S")
    workers: int = entry(0, "processes that decode images; 0 for threads", whole(0), panel=PANEL)
    measured: int = entry(
        1000, "images of each set that are captioned after an epoch", COUNT, panel=PANEL
    )
    checkpoint_steps: int | None = entry(
        None, "steps between checkpoints within an epoch (default: none)", COUNT, panel=PANEL
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.task != TASK:
            raise SettingError(f"task must be {TASK} for captions, got {self.task!r}")
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
    def seen(self) -> tuple[int, str]:
        """Side of the square that the encoder sees, and how images are brought to it."""
        return self.image_size or IMAGE_SIZE, self.resize or RESIZES[0]

    @property
    def learns_encoder(self) -> bool:
        """Whether the encoder is trained."""
        if self.features is not None:
            return False
        return self.encoder == "conv" if self.train_encoder is None else self.train_encoder


from_dict = CaptionTraining.from_dict
