"""``attnflow train``, and where the commands of training are added."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Option

from attnflow import files
from attnflow.captions.config import CaptionTraining
from attnflow.cli import captions, output, runs
from attnflow.cli.help import Sectioned, examples
from attnflow.cli.options import AsJson, Expanded, grouped
from attnflow.cli.training import MachineOptions, config_of, options_of
from attnflow.errors import SettingError
from attnflow.train.config import Training
from attnflow.train.shared_config import MEASURED

if TYPE_CHECKING:
    from attnflow.train.trained import Trained


@grouped
def train(
    given: Annotated[dict[str, Any], Expanded(options_of(Training, CaptionTraining))],
    machine: MachineOptions,
    paradigm_file: Annotated[
        list[str] | None,
        Option(
            "--paradigm-file",
            metavar="FILE.py:NAME",
            help="A paradigm of yours: NAME in a Python file, which is run; --paradigm may name it "
            "in a schedule. Repeatable.",
            rich_help_panel="Learning",
        ),
    ] = None,
    config: Annotated[
        str | None,
        Option(
            metavar="FILE", help="A config in TOML; options come on top.", rich_help_panel=MEASURED
        ),
    ] = None,
    out: Annotated[
        str | None,
        Option("--out", "-o", metavar="DIR", help="Keep the run here.", rich_help_panel=MEASURED),
    ] = None,
    resume: Annotated[
        bool,
        Option(
            "--resume",
            help="Go on with the run in --out, bit for bit.",
            rich_help_panel=MEASURED,
        ),
    ] = False,
    tensorboard: Annotated[
        bool,
        Option(
            "--tensorboard",
            help="Keep logs for TensorBoard in --out too.",
            rich_help_panel=MEASURED,
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train focus and classifier together, then show the four rates."""
    if (resume or tensorboard) and out is None:
        option = "--resume" if resume else "--tensorboard"
        raise SettingError(f"{option} needs the run's folder: give --out DIR")
    alone = resume and config is None and not given and not paradigm_file
    custom = paradigm_file or ()
    if out is not None:
        files.check_place(out, folder=True)
    config = config or captions.config_in(out, wanted=resume)
    asked_task = captions.task_asked(given.get("task"), config)
    if asked_task == captions.TASK:
        wanted = None if alone else captions.config_of(given, config, custom)
        captions.train(wanted, out, resume, tensorboard, machine.join(), as_json)
        return
    asked = None if alone else config_of(Training, given, config, custom)
    devices = machine.join()
    runs.use_cores(asked, out)
    from attnflow.train import parallel
    from attnflow.train.evaluation import evaluate
    from attnflow.train.loop import train as function

    with output.training_bar(parallel.first()) as show:
        done = function(
            asked, out, resume=resume, devices=devices, tensorboard=tensorboard, progress=show
        )
    replicas = range(len(done.engine.run.replicas))
    found = [evaluate(done, replica) for replica in replicas]
    if not parallel.first():
        return
    _tell(done, found, as_json)


def _tell(done: "Trained", found: list[dict[str, Any]], as_json: bool) -> None:
    """What training left: tables, and a sentence for each run; or JSON."""
    from attnflow.train.outcome import outcome

    for remark in done.remarks:
        output.say(remark)
    said = [outcome(done, replica, one) for replica, one in enumerate(found)]
    if as_json:
        told = [{**one, "outcome": sentence} for one, sentence in zip(found, said, strict=True)]
        output.emit(told[0] if len(told) == 1 else told)
        return
    for one, replica in zip(found, done.engine.run.replicas, strict=True):
        runs.show_rates(one, str(replica))
    for sentence in said:
        output.line(sentence)


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
    add(runs.evaluate, "Rates of a trained run.", "attnflow evaluate RUN --json")
    add(runs.report, "Compare trained runs.", "attnflow report RUN1 RUN2 --out PAGE")
    add(runs.fit, "Fit the reduced model to a run.", "attnflow fit RUN --out fit.svg")
