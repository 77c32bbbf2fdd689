"""``attnflow train``, ``evaluate``, ``report``, ``fit``: real networks, real data."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from attnflow.cli import captions, output
from attnflow.cli.help import Sectioned, examples
from attnflow.cli.options import AsJson, grouped, number
from attnflow.errors import SettingError

if TYPE_CHECKING:
    from attnflow.learn.config import Training

TASK, LEARNING, MACHINE = "Task", "Learning", "Machine"


def _text(help: str, *names: str, panel: str, metavar: str = "N") -> Any:
    return Option(*names, metavar=metavar, help=help, rich_help_panel=panel)


@dataclass(frozen=True)
class TrainingOptions:
    """The config of a run; what is not given follows from the task."""

    task: Annotated[
        str | None,
        _text(
            "digits (the default), orthogonal, cifar10, cifar100, hatexplain, or coco (captions).",
            panel=TASK,
            metavar="NAME",
        ),
    ] = None
    segments: Annotated[str | None, _text("m.", "--segments", "-m", panel=TASK, metavar="M")] = None
    classes: Annotated[
        str | None, _text("C (orthogonal only).", "--classes", "-C", panel=TASK, metavar="C")
    ] = None
    train: Annotated[str | None, _text("Training inputs.", panel=TASK)] = None
    heldout: Annotated[str | None, _text("Held-out inputs.", panel=TASK)] = None
    test: Annotated[str | None, _text("Test inputs.", panel=TASK)] = None
    data: Annotated[str | None, _text("Where the data are.", panel=TASK, metavar="PLACE")] = None
    data_seed: Annotated[str | None, _text("Seed of the inputs.", panel=TASK)] = None
    label: Annotated[
        str | None,
        _text(
            "Of posts: majority (the default), first, second or third.", panel=TASK, metavar="RULE"
        ),
    ] = None
    rationale: Annotated[
        str | None,
        _text(
            "Of posts: majority (the default), union, first, second, third.",
            panel=TASK,
            metavar="RULE",
        ),
    ] = None
    min_count: Annotated[
        str | None, _text("How often a word must occur to be told apart.", panel=TASK)
    ] = None
    max_length: Annotated[str | None, _text("Words of a post that count.", panel=TASK)] = None
    paradigm: Annotated[
        str | None,
        _text(
            "soft, hard, hard-sampled, lvml, lvml-em, power-1/2, hybrid (the default), or "
            "soft:15,hard; soft:focus=0.6,hard; soft:t=90,hard; soft:theory,hard.",
            "--paradigm",
            "-p",
            panel=LEARNING,
            metavar="SCHEDULE",
        ),
    ] = None
    networks: Annotated[
        str | None,
        _text(
            "linear, linear-zero, two-layer, cifar, cifar-wide, text, text-transformer, or your "
            "own as FILE.py:NAME, which is run.",
            panel=LEARNING,
            metavar="NAME",
        ),
    ] = None
    fixed_focus: Annotated[
        str | None,
        _text(
            "Hold this focus weight and learn the classifier; several by commas, trained at once.",
            panel=LEARNING,
            metavar="ALPHA,...",
        ),
    ] = None
    epochs: Annotated[str | None, _text("Epochs.", panel=LEARNING)] = None
    passes: Annotated[str | None, _text("Passes over the inputs an epoch.", panel=LEARNING)] = None
    batch: Annotated[str | None, _text("Inputs a step.", panel=LEARNING)] = None
    optimizer: Annotated[str | None, _text("sgd or adam.", panel=LEARNING, metavar="NAME")] = None
    learning_rates: Annotated[
        str | None,
        _text(
            "One, or several by commas, trained at once.",
            "--learning-rate",
            panel=LEARNING,
            metavar="R,...",
        ),
    ] = None
    rate_schedule: Annotated[
        str | None, _text("constant or cosine.", panel=LEARNING, metavar="NAME")
    ] = None
    momentum: Annotated[str | None, _text("Of sgd.", panel=LEARNING, metavar="P")] = None
    dtype: Annotated[str | None, _text("float32 or bfloat16.", panel=LEARNING, metavar="NAME")] = (
        None
    )
    seeds: Annotated[
        str | None,
        _text(
            "One, or several by commas, trained at once.", "--seed", panel=LEARNING, metavar="S,..."
        ),
    ] = None
    chunk: Annotated[
        str | None, _text("Inputs a gradient is taken of at once.", panel=LEARNING)
    ] = None
    measure_every: Annotated[str | None, _text("Epochs between measurements.", panel=LEARNING)] = (
        None
    )
    checkpoint_every: Annotated[
        str | None, _text("Epochs between checkpoints.", panel=LEARNING)
    ] = None

    def given(self) -> dict[str, Any]:
        """What was given, as a config holds it."""
        from attnflow.learn.config import TEXTS

        found: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None:
                continue
            if field.name in ("seeds", "learning_rates", "fixed_focus"):
                found[field.name] = [_number(field.name, part) for part in value.split(",")]
            else:
                found[field.name] = value if field.name in TEXTS else _number(field.name, value)
        return found


def _number(name: str, text: str) -> Any:
    value = number(text.strip())
    if isinstance(value, str):
        raise SettingError(f"{name} must be a number, got {text!r}")
    return value


def _config(options: TrainingOptions, config: str | None) -> "Training":
    from attnflow.learn.config import from_dict, from_toml

    given = options.given()
    if config is not None:
        given = {**{k: _plain(v) for k, v in from_toml(config).as_dict().items()}, **given}
    return from_dict(given)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


@dataclass(frozen=True)
class MachineOptions:
    """What shares the work."""

    devices: Annotated[
        str | None, _text("How many of this machine's devices (default: all).", panel=MACHINE)
    ] = None
    distributed: Annotated[
        bool,
        Option(
            "--distributed",
            help="One of several processes, each started with this command.",
            rich_help_panel=MACHINE,
        ),
    ] = False
    coordinator: Annotated[
        str | None,
        _text("Where the first process listens.", panel=MACHINE, metavar="HOST:PORT"),
    ] = None
    processes: Annotated[str | None, _text("How many processes.", panel=MACHINE)] = None
    process_id: Annotated[
        str | None, _text("Number of this process, from 0.", panel=MACHINE, metavar="I")
    ] = None

    def join(self) -> int | None:
        """Connect with the other processes if there are any; the number of devices to use."""
        from attnflow.learn import parallel

        names = ("devices", "processes", "process_id")
        numbers: dict[str, Any] = {}
        for name in names:
            text = getattr(self, name)
            numbers[name] = None if text is None else _whole(name.replace("_", "-"), text)
        described = (self.coordinator, self.processes, self.process_id) != (None, None, None)
        if self.distributed or described or parallel.asked_for():
            place = parallel.whereabouts(
                self.coordinator, numbers["processes"], numbers["process_id"]
            )
            output.keep_standard_output()
            parallel.join(*place)
        return numbers["devices"]


@grouped
def train(
    options: TrainingOptions,
    of_captions: captions.CaptionOptions,
    machine: MachineOptions,
    config: Annotated[
        str | None, Option(metavar="FILE", help="A config in TOML; options come on top.")
    ] = None,
    out: Annotated[
        str | None, Option("--out", "-o", metavar="DIR", help="Keep the run here.")
    ] = None,
    resume: Annotated[
        bool, Option("--resume", help="Go on with the run in --out, bit for bit.")
    ] = False,
    tensorboard: Annotated[
        bool, Option("--tensorboard", help="Keep logs for TensorBoard in --out too.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train focus and classifier together, then show the four rates."""
    if (resume or tensorboard) and out is None:
        option = "--resume" if resume else "--tensorboard"
        raise SettingError(f"{option} needs the run's folder: give --out DIR")
    own = of_captions.given()
    alone = resume and config is None and not options.given() and not own
    if out is not None:
        output.check_place(out, folder=True)
    if captions.task_asked(options.task, config, out if resume else None) == captions.TASK:
        wanted = None if alone else captions.config_of(options.given(), own, config)
        captions.train(wanted, out, resume, tensorboard, machine.join(), as_json)
        return
    captions.refuse(own)
    asked = None if alone else _config(options, config)
    devices = machine.join()
    _use_cores(asked, out)
    from attnflow.learn import parallel
    from attnflow.learn.evaluate import evaluate
    from attnflow.learn.train import train as function

    with _bar(parallel.first()) as show:
        trained = function(
            asked, out, resume=resume, devices=devices, tensorboard=tensorboard, progress=show
        )
    lanes = range(len(trained.engine.run.lanes))
    found = [evaluate(trained, lane) for lane in lanes]
    if not parallel.first():
        return
    if as_json:
        output.emit(found[0] if len(found) == 1 else found)
        return
    for one, lane in zip(found, trained.engine.run.lanes, strict=True):
        _show(one, str(lane))


def _use_cores(run: "Training | None", *folders: str | None) -> None:
    """Every core for convolutional networks; this process is the command's own."""
    from attnflow.learn import parallel
    from attnflow.learn.folder import RunFolder

    found = [RunFolder(folder) for folder in folders if folder is not None]
    configs = [run, *(folder.config() for folder in found if folder.exists())]
    if any(config is not None and config.convolves for config in configs):
        parallel.use_cores()


def _whole(name: str, text: str) -> int:
    value = number(text.strip())
    if not isinstance(value, int):
        raise SettingError(f"{name} must be a whole number, got {text!r}")
    return value


def _bar(wanted: bool) -> Any:
    """A progress bar on a terminal, with rate and time left; nothing elsewhere."""
    from contextlib import contextmanager

    @contextmanager
    def bar() -> Any:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

        console = output.console(stderr=True)
        columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(
            *columns, console=console, disable=not (wanted and console.is_terminal)
        ) as shown:
            line = shown.add_task("training", total=None)

            def show(done: int, total: int, rows: list[dict[str, Any]]) -> None:
                text = f"{rows[0]['paradigm']}: loss {rows[0]['loss']:.4f}"
                text += (
                    f", focus {rows[0]['alpha']:.3f}, {rows[0]['inputs_per_second']:,.0f} inputs/s"
                )
                shown.update(line, completed=done, total=total, description=text)

            yield show

    return bar()


def _show(found: dict[str, Any], which: str) -> None:
    from attnflow.learn.summary import COLUMNS, SEVERAL, rate_rows, rows_of_several

    output.table(
        f"{found['task']}, {found['paradigm']}, {found['epochs']} epochs, {which}: percent",
        ("set", "rule", "focus true", *COLUMNS),
        [
            (part, rule, *(round(rate, 2) for rate in rates))
            for part, rule, *rates in rate_rows(found)
        ],
        "ft: focus true, ff: focus false, pt: prediction true, pf: prediction false",
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
    lane: Annotated[
        int, Option("--run", metavar="I", help="Which of the runs trained at once.")
    ] = 0,
    results: Annotated[
        str | None, Option("--captions", metavar="FILE", help="Write captions as COCO has them.")
    ] = None,
    part: Annotated[str, Option("--set", metavar="NAME", help="Of --captions.")] = "val",
    beam: Annotated[str | None, Option(metavar="N", help="Width of the search (captions).")] = None,
    images: Annotated[str | None, Option(metavar="N", help="Of each set (captions).")] = None,
    as_json: AsJson = False,
) -> None:
    """The four rates by three rules, on every set; of caption runs BLEU and loss."""
    if captions.is_captions(run):
        captions.evaluate(run, best, results, part, beam, images, as_json)
        return
    asked = {"captions": results, "beam": beam, "images": images}
    captions.refuse({name: value for name, value in asked.items() if value is not None})
    _use_cores(None, run)
    from attnflow.learn.evaluate import evaluate as function
    from attnflow.learn.evaluate import load

    trained = load(run, best=best)
    found = function(trained, lane)
    if as_json:
        output.emit(found)
    else:
        _show(found, str(trained.engine.run.lanes[lane]))


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
    output.check_place(out, folder=True)
    if any(captions.is_captions(run) for run in runs):
        captions.report(runs, out, kind, best)
        return
    _use_cores(None, *runs)
    from attnflow.learn.summary import compare_runs

    with output.progress("loading") as show:
        page = compare_runs(runs, out, best=best, kind=kind, show_words=show_words, progress=show)
    print(page)


def fit(
    run: Annotated[str, Argument(metavar="RUN", help="Folder of a run.")],
    part: Annotated[str, Option("--set", metavar="NAME", help="train, heldout or test.")] = "train",
    lane: Annotated[
        int, Option("--run", metavar="I", help="Which of the runs trained at once.")
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Fit the reduced model to a run: effective rates and class count, and what they explain."""
    from attnflow.learn.evaluate import load, one_run
    from attnflow.learn.theory import fit as function
    from attnflow.learn.theory import rows_of

    trained = load(run)
    one_run(trained, lane)  # says which there are
    setting = trained.engine.task.setting_of_fit
    found = function(rows_of(trained, lane), setting.segments, setting.classes, part)
    values = {
        "segments": setting.segments,
        "classes": found.classes,
        "focus_rate": found.focus_rate,
        "classifier_rate": found.classifier_rate,
        "explained": found.explained,
    }
    if as_json:
        output.emit(values)
        return
    shares = [(f"explained of {name}", value) for name, value in found.explained.items()]
    named = ("classes", "focus_rate", "classifier_rate")
    rows = [(f"effective {name.replace('_', ' ')}", values[name]) for name in named]
    output.table(f"Reduced model of {Path(run).name}", ("what", "value"), [*rows, *shares])


def register(app: typer.Typer) -> None:
    """Add the commands of training."""

    def add(function: Any, short: str, *lines: str) -> None:
        app.command(cls=Sectioned, short_help=short, epilog=examples(*lines))(function)

    add(
        train,
        "Train real networks.",
        "attnflow train",
        "attnflow train --task cifar10 --paradigm hybrid --segments 5 --data DIR --out RUN",
        "attnflow train --out RUN --resume",
    )
    add(evaluate, "Rates of a trained run.", "attnflow evaluate RUN --json")
    add(report, "Compare trained runs.", "attnflow report RUN1 RUN2 --out PAGE")
    add(fit, "Fit the reduced model to a run.", "attnflow fit RUN --json")
