"""Captions: their half of ``attnflow train``, ``evaluate``, ``report``; ``data features``."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from attnflow import files
from attnflow.cli import output
from attnflow.cli.options import grouped, number
from attnflow.errors import SettingError

if TYPE_CHECKING:
    from attnflow.captions.config import CaptionTraining

TASK, PANEL = "coco", "Captions (task coco)"

RENAMED = {"seeds": "seed", "learning_rates": "learning_rate"}
SHARED = (
    *("task", "data", "paradigm", "train", "heldout", "epochs", "batch", "optimizer", "dtype"),
    *("learning_rates", "rate_schedule", "momentum", "seeds", "measure_every", "checkpoint_every"),
    "min_count",
)
"""Options of every training run that a caption run has, too."""
ENCODERS = ("encoder", "encoder_weights", "encoder_width", "encoder_blocks")
"""Options that say which encoder there is."""


def _text(help: str, metavar: str = "N", *names: str) -> Any:
    return Option(*names, metavar=metavar, help=help, rich_help_panel=PANEL)


def _switch(help: str, name: str) -> Any:
    return Option(f"--{name}/--no-{name}", help=help, rich_help_panel=PANEL)


@dataclass(frozen=True)
class CaptionOptions:
    """What only caption runs have."""

    year: Annotated[str | None, _text("2014 or 2017 (default: what is there).", "YEAR")] = None
    features: Annotated[
        str | None, _text("Features computed before, in place of images.", "STORE")
    ] = None
    encoder: Annotated[str | None, _text("conv (the default) or vgg19.", "NAME")] = None
    encoder_weights: Annotated[
        str | None, _text("Of vgg19: torchvision's .pth, .safetensors or .npz.", "PATH")
    ] = None
    train_encoder: Annotated[bool | None, _switch("Default: conv only.", "train-encoder")] = None
    encoder_width: Annotated[str | None, _text("Channels of conv's first block.")] = None
    encoder_blocks: Annotated[str | None, _text("Blocks of conv; each halves the side.")] = None
    image_size: Annotated[str | None, _text("Side that the encoder sees (224; STORE's).")] = None
    resize: Annotated[str | None, _text("crop (the default; STORE's) or square.", "NAME")] = None
    max_words: Annotated[str | None, _text("Longer captions are cut (24).")] = None
    captions_each: Annotated[str | None, _text("Captions of an image in a step (5).")] = None
    hidden: Annotated[str | None, _text("Of the LSTM (512).")] = None
    attention: Annotated[str | None, _text("Width of the attention (256).")] = None
    embedding: Annotated[str | None, _text("Of a word (512).")] = None
    dropout: Annotated[str | None, _text("Share dropped (0.5).", "P")] = None
    gate: Annotated[bool | None, _switch("Whether the context is gated.", "gate")] = None
    output: Annotated[str | None, _text("deep (the default) or linear.", "NAME")] = None
    start: Annotated[str | None, _text("LSTM starts at mean (the default) or zero.", "NAME")] = None
    credit: Annotated[
        str | None, _text("A draw is judged by its caption (the default) or word.", "NAME")
    ] = None
    entropy: Annotated[str | None, _text("Weight of the focus's entropy (0).", "W")] = None
    coverage: Annotated[str | None, _text("Of the doubly stochastic term (0).", "W")] = None
    clip: Annotated[str | None, _text("Largest norm of the gradient (5).", "R")] = None
    workers: Annotated[str | None, _text("Processes that decode (0: threads).")] = None
    measured: Annotated[str | None, _text("Images captioned after an epoch (1000).")] = None
    checkpoint_steps: Annotated[str | None, _text("Steps between checkpoints.")] = None

    def given(self) -> dict[str, Any]:
        """What was given, as text or switches."""
        pairs = ((f.name, getattr(self, f.name)) for f in fields(self))
        return {name: value for name, value in pairs if value is not None}


def task_asked(task: str | None, config: str | None, out: str | None) -> str | None:
    """The task of a command: what it says, or its config, or the run that it goes on with."""
    from attnflow.reading import read_toml

    if task is not None:
        return task
    if config is not None:
        return read_toml(config).get("task")
    if out is not None and (Path(out) / "config.toml").is_file():
        return read_toml(Path(out) / "config.toml").get("task")
    return None


def is_captions(run: str) -> bool:
    """Whether a folder holds a caption run."""
    place = Path(run) / "config.toml"
    return place.is_file() and task_asked(None, str(place), None) == TASK


def refuse(given: dict[str, Any], which: str = TASK) -> None:
    """Refuse options of caption runs in another one."""
    if given:
        name = next(iter(given)).replace("_", "-")
        raise SettingError(f"--{name} is for the task {which} only")


def not_for(run: str, what: str) -> None:
    """Refuse what is not for caption runs."""
    if is_captions(run):
        raise SettingError(f"{what} is not for caption runs, got {run!r}")


def config_of(plain: dict[str, Any], ours: dict[str, Any], file: str | None) -> "CaptionTraining":
    """The config that options name, on top of a file.

    Args:
        plain: options of every training run.
        ours: options of caption runs.
        file: a config in TOML, or None.
    """
    from attnflow.captions.config import SWITCHES, TEXTS, from_dict
    from attnflow.reading import read_toml

    found: dict[str, Any] = {}
    for name, value in plain.items():
        if name not in SHARED:
            raise SettingError(f"{name} is not for the task {TASK}")
        if isinstance(value, list) and name != "paradigms":
            if len(value) != 1:
                raise SettingError(f"a caption run has one {RENAMED[name]}, got {len(value)}")
            value = value[0]
        found[RENAMED.get(name, name)] = value
    for name, value in ours.items():
        plain_value = value if name in TEXTS | SWITCHES else number(value)
        if name not in TEXTS and isinstance(plain_value, str):
            raise SettingError(f"{name} must be a number, got {value!r}")
        found[name] = plain_value
    found = {**({} if file is None else read_toml(file)), **found}
    if "features" in found:
        for name in (name for name in ENCODERS if name in ours):
            raise SettingError(
                f"features come from an encoder already: leave --{name.replace('_', '-')} out"
            )
    return from_dict(found)


def train(
    asked: "CaptionTraining | None",
    out: str | None,
    resume: bool,
    tensorboard: bool,
    devices: int | None,
    as_json: bool,
) -> None:
    """Train, then show what was learned."""
    from attnflow.captions.evaluation import evaluate as look
    from attnflow.captions.loop import train as function

    with output.training_bar() as show:
        trained = function(
            asked, out, resume=resume, tensorboard=tensorboard, devices=devices, progress=show
        )
    found = look(trained, images=trained.engine.run.measured)
    for remark in trained.remarks:
        output.say(remark)
    output.emit(found) if as_json else _show(found)


def _show(found: dict[str, Any]) -> None:
    from attnflow.captions.metrics import SCALES, spelled

    sets = found["sets"]
    names = [name for name in sets["val"] if all(name in part for part in sets.values())]
    output.table(
        f"{found['task']}, {found['paradigm']}, {found['epochs']} epochs",
        ("", *sets),
        [(spelled(name), *(part[name] for part in sets.values())) for name in names],
        SCALES + ("; focus and alpha in percent" if "alpha" in names else ""),
    )


def evaluate(
    run: str,
    best: bool,
    results: str | None,
    part: str | None,
    beam: str | None,
    images: str | None,
    as_json: bool,
) -> None:
    """BLEU and loss of a caption run; with ``results`` its captions in COCO's format."""
    from attnflow.captions.coco import SETS
    from attnflow.captions.evaluation import MOST_EVALUATED, load, write_results
    from attnflow.captions.evaluation import evaluate as function
    from attnflow.settings import check, whole

    if part is not None and results is None:
        raise SettingError("--set is of --captions: name the file, or leave it out")
    part = "val" if part is None else part
    if part not in SETS:
        raise SettingError(f"set must be one of {', '.join(SETS)}, got {part!r}")
    width = 1 if beam is None else number(beam)
    most = MOST_EVALUATED if images is None else number(images)
    for name, value in (("beam", width), ("images", most)):
        check(name, value, "a whole number of at least 1", whole(1))
    if results is not None:
        files.check_place(results, folder=False)
    trained = load(run, best=best)
    if results is not None:
        with output.progress("writing captions"):
            limit = None if images is None else most
            write_results(trained, results, part, width=width, limit=limit)
    with output.progress("evaluating"):
        found = function(trained, images=most, width=width)
    output.emit(found) if as_json else _show(found)


def report(runs: list[str], out: str, kind: str, best: bool) -> None:
    """Caption runs on one page."""
    from attnflow.captions.report import compare_runs

    others = [run for run in runs if not is_captions(run)]
    if others:
        raise SettingError(f"caption runs have a page of their own, got {others[0]!r} among them")
    with output.progress("loading") as show:
        page = compare_runs(runs, out, best=best, kind=kind, progress=show)
    print(page)


@grouped
def features(
    which: CaptionOptions,
    data: Annotated[str, Option(metavar="DIR", help="Folder of COCO.")],
    out: Annotated[str, Option("--out", "-o", metavar="STORE", help="Where features go.")],
    dtype: Annotated[str, Option(metavar="NAME", help="float16 or float32.")] = "float16",
    batch: Annotated[str, Option(metavar="N", help="Images at once.")] = "64",
    seed: Annotated[str, Option(metavar="S", help="Of an encoder without weights.")] = "0",
) -> None:
    """Compute an encoder's features of all images once, for ``attnflow train --features``."""
    allowed = ("year", "encoder", "encoder_weights", "encoder_width", "encoder_blocks")
    allowed = (*allowed, "image_size", "resize", "workers")
    given = which.given()
    for name in given:
        if name not in allowed:
            raise SettingError(f"--{name.replace('_', '-')} changes no features: leave it out")
    plain = {"data": data, "batch": number(batch), "seeds": [number(seed)]}
    asked = config_of(plain, given, None)
    files.check_place(out, folder=True)
    from attnflow.captions.features import compute_features

    with output.progress("computing features") as show:

        def told(done: int, total: int) -> None:
            show(f"computing features: {done} of {total} images")

        print(compute_features(asked, out, dtype=dtype, progress=told).path)
