"""Captions: their half of ``attnflow train``, ``evaluate``, ``report``; ``data features``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from typer import Option

from attnflow import files
from attnflow.captions.config import TASK, CaptionTraining
from attnflow.cli import output, training
from attnflow.cli.options import Expanded, grouped, number
from attnflow.errors import SettingError

ENCODERS = ("encoder", "encoder_weights", "encoder_width", "encoder_blocks")
"""Options that say which encoder there is."""
OF_FEATURES = (*("year", "image_size", "resize", "workers"), *ENCODERS)
"""Options on which features depend."""


def config_in(run: str | None, *, wanted: bool = True) -> str | None:
    """Where the config of a run is; None where there is none, or none is wanted."""
    place = Path(run or "") / "config.toml"
    return str(place) if wanted and run is not None and place.is_file() else None


def task_asked(task: str | None, config: str | None) -> str | None:
    """The task of a command: what it says, or its config."""
    from attnflow.reading import read_toml

    if task is None and config is not None:
        return read_toml(config).get("task")
    return task


def is_captions(run: str) -> bool:
    """Whether a folder holds a caption run."""
    return task_asked(None, config_in(run)) == TASK


def refuse(given: dict[str, Any], which: str = TASK) -> None:
    """Refuse options of caption runs in another one."""
    if given:
        name = next(iter(given)).replace("_", "-")
        raise SettingError(f"--{name} is for the task {which} only")


def not_for(run: str, what: str) -> None:
    """Refuse what is not for caption runs."""
    if is_captions(run):
        raise SettingError(f"{what} is not for caption runs, got {run!r}")


def config_of(
    given: dict[str, Any], file: str | None, paradigms: Sequence[str] = ()
) -> CaptionTraining:
    """The config that options name, on top of a file."""
    run = training.config_of(CaptionTraining, given, file, paradigms)
    if run.features is not None:
        for name in (name for name in ENCODERS if name in given):
            raise SettingError(
                f"features come from an encoder already: leave --{name.replace('_', '-')} out"
            )
    return run


def train(
    asked: CaptionTraining | None,
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
    from attnflow.settings import check_count

    if part is not None and results is None:
        raise SettingError("--set is of --captions: name the file, or leave it out")
    part = "val" if part is None else part
    if part not in SETS:
        raise SettingError(f"set must be one of {', '.join(SETS)}, got {part!r}")
    width = 1 if beam is None else number(beam)
    most = MOST_EVALUATED if images is None else number(images)
    for name, value in (("beam", width), ("images", most)):
        check_count(name, value)
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
    output.line(page)


@grouped
def features(
    given: Annotated[
        dict[str, Any], Expanded(training.options_of(CaptionTraining, only=OF_FEATURES))
    ],
    data: Annotated[str, Option(metavar="DIR", help="Folder of COCO.")],
    out: Annotated[str, Option("--out", "-o", metavar="STORE", help="Where features go.")],
    dtype: Annotated[str, Option(metavar="NAME", help="float16 or float32.")] = "float16",
    batch: Annotated[str, Option(metavar="N", help="Images at once.")] = "64",
    seed: Annotated[str, Option(metavar="S", help="Of an encoder without weights.")] = "0",
) -> None:
    """Compute an encoder's features of all images once, for ``attnflow train --features``."""
    asked = config_of({**given, "data": data, "batch": batch, "seed": seed}, None)
    files.check_place(out, folder=True)
    from attnflow.captions.features import compute_features

    with output.progress("computing features") as show:

        def told(done: int, total: int) -> None:
            show(f"computing features: {done} of {total} images")

        output.line(compute_features(asked, out, dtype=dtype, progress=told).path)
