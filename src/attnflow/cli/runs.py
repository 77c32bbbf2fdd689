"""``attnflow evaluate``, ``report``, ``fit``: what trained runs reached."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from attnflow import files
from attnflow.cli import captions, output
from attnflow.cli.options import AsJson
from attnflow.errors import SettingError

if TYPE_CHECKING:
    from attnflow.train.config import Training

RATES_SAID = "ft: focus true, ff: focus false, pt: prediction true, pf: prediction false"


def use_cores(run: "Training | None", *folders: str | None) -> None:
    """Every core for convolutional networks; this process is the command's own."""
    from attnflow.train import parallel
    from attnflow.train.run_folder import RunFolder

    found = [RunFolder(folder) for folder in folders if folder is not None]
    configs = [run, *(folder.config() for folder in found if folder.exists())]
    if any(config is not None and config.convolves for config in configs):
        parallel.use_cores()


def show_rates(found: dict[str, Any], which: str) -> None:
    """Tables of what ``evaluate`` found."""
    from attnflow.train.report.compare_runs import (
        COLUMNS,
        SEVERAL,
        meanings,
        rate_rows,
        rows_of_several,
    )

    output.table(
        f"{found['task']}, {found['paradigm']}, {found['epochs']} epochs, {which}: percent",
        ("set", "rule", "focus true", *COLUMNS),
        [
            (part, rule, *(rate if rate is None else round(rate, 2) for rate in rates))
            for part, rule, *rates in rate_rows(found)
        ],
        "; ".join(filter(None, (RATES_SAID, meanings(found)))),
    )
    several = rows_of_several(found)
    if several:
        output.table(
            "Focus judged on inputs whose true segments are known; macro F1 in percent, of all",
            SEVERAL,
            [tuple(round(v, 3) if isinstance(v, float) else v for v in row) for row in several],
        )


def evaluate(
    run: Annotated[str, Argument(metavar="RUN", help="Folder of a run.")],
    best: Annotated[bool, Option("--best", help="The best checkpoint, not the newest.")] = False,
    replica: Annotated[
        int | None, Option("--run", metavar="I", help="Which of the runs trained at once (0).")
    ] = None,
    count_unknown: Annotated[
        bool,
        Option(
            "--count-unknown",
            help="Count inputs of unknown truth, as posts without a rationale, as focus false.",
        ),
    ] = False,
    results: Annotated[
        str | None, Option("--captions", metavar="FILE", help="Write captions as COCO has them.")
    ] = None,
    part: Annotated[
        str | None, Option("--set", metavar="NAME", help="Of --captions: train or val (val).")
    ] = None,
    beam: Annotated[str | None, Option(metavar="N", help="Width of the search (captions).")] = None,
    images: Annotated[str | None, Option(metavar="N", help="Of each set (captions).")] = None,
    as_json: AsJson = False,
) -> None:
    """The four rates by three rules, on every set; of caption runs BLEU and loss."""
    for option, given in (("--run", replica is not None), ("--count-unknown", count_unknown)):
        if given:
            captions.not_for(run, option)
    if captions.is_captions(run):
        captions.evaluate(run, best, results, part, beam, images, as_json)
        return
    replica = replica or 0
    asked = {"captions": results, "set": part, "beam": beam, "images": images}
    captions.refuse({name: value for name, value in asked.items() if value is not None})
    use_cores(None, run)
    from attnflow.train.evaluation import evaluate as function
    from attnflow.train.evaluation import load

    trained = load(run, best=best)
    found = function(trained, replica, count_unknown=count_unknown)
    if as_json:
        output.emit(found)
    else:
        show_rates(found, str(trained.engine.run.replicas[replica]))


def report(
    runs: Annotated[list[str], Argument(metavar="RUN...", help="Folders of runs.")],
    out: Annotated[
        str, Option("--out", "-o", metavar="DIR", help="Where the page goes.")
    ] = "attnflow-report",
    kind: Annotated[
        str,
        Option("--format", metavar="NAME", help="markdown, or html: one file that holds all."),
    ] = "markdown",
    best: Annotated[bool, Option("--best", help="The best checkpoints, not the newest.")] = False,
    show_words: Annotated[
        bool,
        Option("--show-words", help="Show the words of posts, which may offend, not only blocks."),
    ] = False,
) -> None:
    """Compare runs: one page with rates, curves, signatures, mosaics, posts and theory."""
    files.check_place(out, folder=True)
    if any(captions.is_captions(run) for run in runs):
        if show_words:
            raise SettingError("--show-words is for runs on posts, not for caption runs")
        captions.report(runs, out, kind, best)
        return
    use_cores(None, *runs)
    from attnflow.train.report.compare_runs import compare_runs

    with output.progress("loading") as show:
        page = compare_runs(runs, out, best=best, kind=kind, show_words=show_words, progress=show)
    output.line(page)


def fit(
    run: Annotated[str, Argument(metavar="RUN", help="Folder of a run.")],
    part: Annotated[str, Option("--set", metavar="NAME", help="train, heldout or test.")] = "train",
    replica: Annotated[
        int, Option("--run", metavar="I", help="Which of the runs trained at once.")
    ] = 0,
    out: Annotated[
        str | None,
        Option("--out", "-o", metavar="FILE", help="Draw it: a .pdf, .svg or .png."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Fit the reduced model to a run: effective rates and class count, and what they explain."""
    captions.not_for(run, "fit")
    from attnflow.train.evaluation import load, one_run
    from attnflow.train.theory import fit_run

    if out is not None:
        from attnflow.plots.style import format_of

        format_of(files.check_place(out, folder=False))  # before the work
    trained = load(run)
    one_run(trained, replica)  # says which there are
    found = fit_run(trained, replica, part)
    if out is not None:
        from attnflow.plots.style import save
        from attnflow.train.drawing import fitted

        save(fitted(found), Path(out))
    values = {
        "segments": trained.engine.task.setting_of_fit.segments,
        "classes": found.classes,
        "focus_rate": found.focus_rate,
        "classifier_rate": found.classifier_rate,
        "intervals": {name: list(ends) for name, ends in found.intervals.items()},
        "undetermined": list(found.undetermined),
        "explained": found.explained,
        "distance": found.distance,
    }
    if as_json:
        if found.doubt:
            output.say(f"warning: {found.doubt}")
        output.emit(values)
        return
    rows: list[tuple[str, Any, str]] = [
        (f"effective {name.replace('_', ' ')}", values[name], f"{low:.3g} to {high:.3g}")
        for name, (low, high) in found.intervals.items()
    ]
    rows += [(f"explained of {name}", value, "") for name, value in found.explained.items()]
    rows += [(f"distance of {name} (rms)", value, "") for name, value in found.distance.items()]
    below = [name for name, value in found.explained.items() if value < 0]
    output.table(
        f"Reduced model of {Path(run).name}",
        ("what", "value", "95 % interval"),
        rows,
        " ".join(
            [f"The model does not explain {' or '.join(below)}: a constant would be nearer."]
            * bool(below)
            + [found.doubt] * bool(found.doubt)
        ),
    )
