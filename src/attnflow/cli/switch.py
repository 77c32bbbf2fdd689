"""``attnflow switch``: what focuses soonest; ``attnflow crossings``: where curves cross."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer import Option

from attnflow.cli import output
from attnflow.cli.help import Sectioned, examples
from attnflow.cli.options import (
    PARADIGM,
    TIMES,
    AsJson,
    ParadigmOptions,
    SettingOptions,
    StartOptions,
    contradiction,
    grouped,
    number,
)
from attnflow.errors import SettingError

if TYPE_CHECKING:
    from attnflow.numeric.advise import Clock
    from attnflow.numeric.best_schedule import BestSchedule


@grouped
def switch(
    target: Annotated[
        str, Option(metavar="ALPHA", help="Focus weight to reach, as in 0.99.", show_default=False)
    ],
    which: ParadigmOptions,
    setting: SettingOptions,
    start: StartOptions,
    schedule: Annotated[
        str | None,
        Option(
            metavar="A@theory,B",
            help="Keep to this order of paradigms; only the times are chosen.",
            rich_help_panel=PARADIGM,
        ),
    ] = None,
    learning_rate: Annotated[
        str | None,
        Option(metavar="ETA", help="Say steps too, of this learning rate.", rich_help_panel=TIMES),
    ] = None,
    momentum: Annotated[
        str, Option(metavar="P", help="Momentum of these steps.", rich_help_panel=TIMES)
    ] = "0",
    as_json: AsJson = False,
) -> None:
    """The order of paradigms, and the times to switch, that reach a focus weight soonest."""
    if schedule is not None and which.given:
        raise contradiction("--schedule", "--paradigm", "a schedule names its own paradigms")
    names = order(schedule)
    built = setting.build()
    initial = start.build(built)
    from attnflow import best_schedule
    from attnflow.numeric.advise import clock_of

    clock = None if learning_rate is None else clock_of(number(learning_rate), number(momentum))
    with output.progress("searching the best schedule"):
        best = best_schedule(built, number(target), which.build(), initial, names)
    if as_json:
        output.emit(record(best, clock))
    else:
        show(best, clock)


def order(text: str | None) -> list[str] | None:
    """The names of a schedule whose times are theory's."""
    from attnflow.schedule import Schedule

    if text is None:
        return None
    if not any(sign in text for sign in "@:"):
        written = ",".join(name.strip() for name in text.split(",")).replace(",", "@theory,")
    else:
        written = text
    schedule = Schedule(written)
    if written != text.strip() or schedule.units - {"theory"}:
        proposed = ",".join(schedule.names).replace(",", "@theory,")
        raise SettingError(f"switch chooses the times itself: write {proposed}, got {text!r}")
    return [*schedule.names]


def record(best: "BestSchedule", clock: "Clock | None") -> dict[str, Any]:
    """The schedule as a text with every digit, the time, and the alternatives."""
    times = {name: float(time) for name, time in best.alternatives.items()}
    steps = {} if clock is None else {"steps": best.time / clock.step}
    return {
        "target": best.target,
        "schedule": str(best.schedule),
        "time": best.time,
        **steps,
        "alternatives": times,
    }


def show(best: "BestSchedule", clock: "Clock | None") -> None:
    """The schedule in words, and the time of every alternative that is another."""
    *parts, (last, _) = best.schedule.parts
    words = ",".join([*(f"{p}@t={end:.6g}" for p, end in parts), str(last)])
    title = f"alpha = {best.target:g} soonest: {words}; reached at t = {best.time:.8g}"
    rows = [
        (name, f"{time:.8g}", *([] if clock is None else [clock.words(time)]), time / best.time)
        for name, time in best.distinct.items()
    ]
    steps = () if clock is None else ("reached after",)
    output.table(title, ("order", "time", *steps, "ratio"), rows)


@grouped
def crossings(
    which: ParadigmOptions,
    setting: SettingOptions,
    start: StartOptions,
    quantity: Annotated[
        Literal["alpha", "nu", "mu", "beta"], Option(help="Whose curves cross.")
    ] = "alpha",
    until: Annotated[
        str, Option(metavar="T", help="Latest time looked at.", rich_help_panel=TIMES)
    ] = "1e15",
    as_json: AsJson = False,
) -> None:
    """The times at which the curves of each two paradigms cross."""
    from itertools import combinations

    built = setting.build()
    initial = start.build(built)
    paradigms = which.build()
    if len(paradigms) < 2:
        raise SettingError(
            f"crossings needs at least two paradigms, got {paradigms[0].name!r} only"
        )
    from attnflow import crossings as function

    last = number(until)
    with output.progress("looking for crossings"):
        found = [
            {
                "paradigms": [a.name, b.name],
                "times": function(a, b, built, initial, quantity, last).tolist(),
            }
            for a, b in combinations(paradigms, 2)
        ]
    if as_json:
        output.emit({"setting": built.as_dict(), "quantity": quantity, "crossings": found})
    else:
        rows = [
            (
                " and ".join(pair["paradigms"]),
                ", ".join(f"{t:.8g}" for t in pair["times"]) or "none",
            )
            for pair in found
        ]
        title = f"Crossings of {quantity}, m = {built.segments}, C = {built.classes}"
        output.table(title, ("curves", "times"), rows)


def register(app: typer.Typer) -> None:
    """Add both commands."""
    app.command(
        cls=Sectioned,
        short_help="The schedule that reaches a focus soonest.",
        epilog=examples(
            "attnflow switch -m 20 -C 20 --target 0.99",
            "attnflow switch -m 100 -C 1000 --target 0.9 --json",
            "attnflow switch -m 5 -C 3 --target 0.9 --learning-rate 0.05 --momentum 0.9",
            "attnflow switch --target 0.9 --schedule soft@theory,hard",
        ),
    )(switch)
    app.command(
        cls=Sectioned,
        short_help="Where curves of two paradigms cross.",
        epilog=examples(
            "attnflow crossings -p soft -p hard -m 20 -C 20",
            "attnflow crossings --quantity mu --until 1e6 --json",
        ),
    )(crossings)
