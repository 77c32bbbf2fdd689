"""Schedules of paradigms, one grammar for the flow, training, captions and the command line.

A stage is a paradigm with what ends it and what it brings along, stages are joined by commas::

    soft@t=200,hard                              at a time, t = step x learning rate
    soft@epoch=15,hard    soft@epoch=50%,hard    after an epoch, or a share of all epochs
    soft@alpha=0.6,hard                          at a (mean) focus weight
    soft@theory,hard                             when theory says
    soft@epoch=75:rate=0.05,hard:rate=10%:fresh  its own learning rate, a fresh optimiser
    lvml@epoch=9,hard:rate.focus=0.005           the learning rate of one network

Every stage but the last has an end. A rate holds for its stage; in percent it is a share of the
run's. "hybrid" is soft attention for half the epochs, then hard.
"""

import logging
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from attnflow.errors import SettingError, shown, warn
from attnflow.settings import check, concrete, positive, whole

HYBRID = "hybrid"
SPELLED = {HYBRID: "soft@epoch=50%,hard"}
"""Names of whole schedules -> what they spell."""

NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
ENDS = "t=TIME, epoch=N, epoch=SHARE%, alpha=WEIGHT or theory"
_SENTENCES = {
    "t": "at time {}",
    "epoch": "after epoch {}",
    "alpha": "at focus weight {}",
    "theory": "at theory's switch time {}",
}


class Named(Protocol):
    """What has a name, as a ``Paradigm`` has."""

    @property
    def name(self) -> str:
        """The name."""
        ...


@dataclass(frozen=True)
class Amount:
    """A number with its unit: what ends a stage, or a learning rate.

    Attributes:
        unit: "t", "epoch", "alpha" or "theory" of an end; "rate" or "rate.NETWORK" of a rate.
        value: the number, or a tracer; of theory infinite until it is known.
        share: whether it is in percent, of the epochs or of the run's learning rate.
    """

    unit: str
    value: Any = math.inf
    share: bool = False

    def __str__(self) -> str:
        if self.unit == "theory":
            return self.unit
        return f"{self.unit}={_shortest(self.value)}{'%' * self.share}"


@dataclass(frozen=True)
class Stage:
    """A paradigm of a schedule.

    Attributes:
        paradigm: a name, or an object that has one.
        end: what ends it; None for the last.
        rates: learning rates in place of the run's, as long as it lasts.
        fresh: whether it begins with a fresh optimiser.
    """

    paradigm: "str | Named"
    end: Amount | None = None
    rates: tuple[Amount, ...] = ()
    fresh: bool = False

    @property
    def name(self) -> str:
        """The name of the paradigm."""
        return self.paradigm if isinstance(self.paradigm, str) else self.paradigm.name

    def rate(self, network: str, base: float) -> float:
        """The learning rate of a network in this stage; ``base`` is the run's."""
        given = {amount.unit: amount for amount in self.rates}
        own = given.get(f"rate.{network}", given.get("rate"))
        if own is None:
            return base
        return base * own.value / 100 if own.share else own.value

    def __str__(self) -> str:
        end = "" if self.end is None else f"@{self.end}"
        return self.name + end + "".join(f":{r}" for r in self.rates) + ":fresh" * self.fresh


@dataclass(frozen=True)
class Schedule:
    """Paradigms one after another: ``Schedule("soft@t=200,hard")``.

    ``str`` prints the text, which reads back equal where paradigms are names.

    Args:
        stages: the text, or stages in order: each a ``Stage``, its text, or a pair (paradigm, end),
            whose paradigm is a name or a Paradigm, and whose end is a time t = step x learning rate
            (a number or a tracer), the text of an end ("epoch=15"), or None for the last stage.
        bare: the unit that the refusal of a number without unit proposes.

    Raises:
        SettingError: a stage cannot be read, one but the last has no end, the last has one, or
            times or epochs do not increase.

    Example:
        >>> str(Schedule([("soft", 200), "hard"])), Schedule("soft@t=2e2, hard").names
        ('soft@t=200,hard', ('soft', 'hard'))
    """

    stages: tuple[Stage, ...]

    def __init__(
        self, stages: "str | Iterable[str | Stage | Sequence[Any]]", *, bare: str = "t"
    ) -> None:
        if isinstance(stages, str):
            text = stages.strip()
            made = [_read(part, text, bare) for part in SPELLED.get(text, text).split(",")]
        elif isinstance(stages, Iterable):
            made = [_stage(part, bare) for part in stages]
        else:
            raise SettingError(f"a schedule must be a text or a list of stages, got {stages!r}")
        _check_ends(made)
        object.__setattr__(self, "stages", tuple(made))

    def __str__(self) -> str:
        return ",".join(map(str, self.stages))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the paradigms."""
        return tuple(stage.name for stage in self.stages)

    @property
    def units(self) -> frozenset[str]:
        """The units of the ends."""
        return frozenset(stage.end.unit for stage in self.stages if stage.end is not None)

    @property
    def parts(self) -> tuple[tuple[Any, Any], ...]:
        """(paradigm, time at which it ends) of each stage, the last infinite: for the flow.

        Raises:
            SettingError: an end is no time, or a stage brings what the flow does not have.
        """
        for stage in self.stages:
            if stage.rates or stage.fresh:
                raise SettingError(
                    f"{str(stage)!r} is for training only: the flow has no optimiser, and its time "
                    "is t = step x learning rate; leave rate and fresh out"
                )
            if stage.end is not None and stage.end.unit == "epoch":
                raise SettingError(
                    f"the flow has no epochs, got {str(self)!r}: end {stage.name} at a time, as in "
                    f"{stage.name}@t=200, where t = step x learning rate"
                )
            if stage.end is not None and stage.end.unit != "t":
                raise SettingError(
                    f"times of {str(self)!r} depend on the setting: "
                    "attnflow.timed(schedule, setting) gives them"
                )
        return tuple((s.paradigm, math.inf if s.end is None else s.end.value) for s in self.stages)

    def over(self, epochs: int) -> "Schedule":
        """The same in a run of so many epochs: shares of epochs become whole ones, at least 1.

        Raises:
            SettingError: the epochs do not increase.
        """

        def whole_epochs(stage: Stage) -> Stage:
            if stage.end is None or not stage.end.share:
                return stage
            end = max(1, math.floor(epochs * stage.end.value / 100 + 1e-9))
            return replace(stage, end=Amount("epoch", end))

        return Schedule([whole_epochs(stage) for stage in self.stages])

    def with_rates(self, rates: Mapping[str, float]) -> "Schedule":
        """The same with learning rates of networks, of which a stage's share is a share.

        Args:
            rates: network -> learning rate, where a stage has no other of its own.
        """

        def one(stage: Stage) -> Stage:
            given = {amount.unit: amount for amount in stage.rates}
            whole = given.get("rate", Amount("rate", 100, share=True))
            if whole.share:
                for name, rate in rates.items():
                    unit = f"rate.{name}"
                    given.setdefault(unit, Amount(unit, rate * whole.value / 100))
            return replace(stage, rates=tuple(given.values()))

        for name, rate in rates.items():
            check(f"learning rate of {name}", rate, "a finite number above 0", positive)
        return Schedule([one(stage) for stage in self.stages])

    def stage_at(self, stage: int, reached: Mapping[str, float]) -> int:
        """Which stage comes next.

        Args:
            stage: the stage so far; there is no way back.
            reached: what has been reached of each unit.
        """
        # a time is a product of rounded numbers: 100 steps of 0.29 are not quite 29
        for now in self.stages[stage:-1]:
            if now.end is None or reached[now.end.unit] < now.end.value * (1 - 1e-9):
                break
            stage += 1
        return stage

    def warn_unreachable(self, epochs: int, time: float) -> bool:
        """Warn, and log, where a run ends before its last stage begins; whether it does.

        Args:
            epochs: done when the last epoch begins.
            time: t then.
        """
        # what is not known before, the focus weight, may be anything
        reached = {"epoch": epochs, "t": time, "theory": time, "alpha": math.inf}
        stage = self.stage_at(0, reached)
        if self.stages[stage].end is None:
            return False
        later, until = " and ".join(self.names[stage + 1 :]), self._until(stage)
        text = (
            f"{later} will never begin: {self.names[stage]} is to end {until}, and the last epoch "
            f"of the run, {epochs + 1}, begins at t = {time:g}"
        )
        warn(text, stacklevel=5)
        logging.getLogger("attnflow").warning(shown(text))
        return True

    def _until(self, stage: int) -> str:
        """When a stage that is not the last was to end."""
        end = self.stages[stage].end
        assert end is not None
        value = "" if math.isinf(end.value) else _shortest(end.value) + "%" * end.share
        return _SENTENCES[end.unit].format(value).rstrip()

    def unreached(self, stage: int) -> tuple[str, ...]:
        """A sentence for a run that ended in that stage, if it is not the last."""
        if self.stages[stage].end is None:
            return ()
        later, name = " and ".join(self.names[stage + 1 :]), self.names[stage]
        return (
            f"{later} never began: {name} was to end {self._until(stage)}, and the run went no "
            f"further",
        )


def _stage(part: Any, bare: str) -> Stage:
    """A stage from what Python gave."""
    if isinstance(part, Stage):
        return part
    if isinstance(part, str):
        return _read(part, part, bare)
    if not isinstance(part, list | tuple) or not 1 <= len(part) <= 2:
        raise SettingError(f"a stage must be a text, a Stage or (paradigm, end), got {part!r}")
    paradigm, end = part[0], (part[1] if len(part) == 2 else None)
    name = paradigm if isinstance(paradigm, str) else getattr(paradigm, "name", None)
    if not isinstance(name, str):
        raise SettingError(f"the paradigm of a stage must be a name or a Paradigm, got {part!r}")
    if isinstance(end, str):
        return Stage(paradigm, _end(end, f"{name}@{end}", bare))
    numbers = None if end is None else concrete(end)
    if end is None or (numbers is not None and np.all(numbers == np.inf)):
        return Stage(paradigm)
    check(f"the t at which {name} ends", end, *_ALLOWED["t"])
    return Stage(paradigm, Amount("t", end))


def _read(part: str, text: str, bare: str) -> Stage:
    """A stage from its text; ``text`` is that of the whole schedule."""
    found = re.fullmatch(r"\s*((?:[^@:]*\.py:)?[^@:]*?)\s*(?:@([^:]*))?((?::[^:]*)*)", part)
    if found is None or not found[1]:
        raise SettingError(
            "a schedule is paradigms joined by commas, each but the last with its end, as in "
            f"soft@{bare}={_EXAMPLES[bare]},hard; got {text!r}"
        )
    name, end = found[1], found[2]
    rates: list[Amount] = []
    fresh = False
    for option in (o.strip() for o in found[3].split(":")[1:]):
        rate = re.fullmatch(rf"(rate(?:\.\w+)?)\s*=\s*({NUMBER})\s*(%?)", option)
        if rate and all(rate[1] != other.unit for other in rates):
            rates.append(Amount(rate[1], _number(rate[2]), bool(rate[3])))
            check(f"{rate[1]} of {name}", rates[-1].value, "a finite number above 0", positive)
        elif option == "fresh" and not fresh:
            fresh = True
        else:
            _refuse_old(option, text, bare)
            raise SettingError(
                f"a stage brings rate=R, rate.NETWORK=R (a learning rate, or a share as 10%) or "
                f"fresh, each once, got {option!r} in {text!r}"
            )
    return Stage(name, None if end is None else _end(end, text, bare), tuple(rates), fresh)


_EXAMPLES = {"t": "200", "epoch": "15"}


def _end(end: str, text: str, bare: str) -> Amount:
    end = end.strip()
    if end == "theory":
        return Amount("theory")
    found = re.fullmatch(rf"(t|epoch|alpha)\s*=\s*({NUMBER})\s*(%?)", end)
    if found is None or (found[3] and found[1] != "epoch"):
        _refuse_old(end, text, bare)
        raise SettingError(f"a stage ends at {ENDS}, got {end!r} in {text!r}")
    return Amount(found[1], _number(found[2]), bool(found[3]))


def _refuse_old(end: str, text: str, bare: str) -> None:
    """Refuse an end in an older form, or without its unit, with the schedule as it is written."""
    old = rf"(?:(focus|t|epoch|alpha)\s*=\s*)?({NUMBER}%?|theory)"
    if not re.fullmatch(old, end):
        return

    def new(found: re.Match[str]) -> str:
        unit, value = found[1], found[2]
        if value == "theory":
            return "@theory"
        unit = "alpha" if unit == "focus" else unit or ("epoch" if "%" in value else bare)
        return f"@{unit}={value}"

    written = re.sub(rf"\s*[:@]\s*{old}(?=\s*(?:[:,]|$))", new, text)
    if written != text:
        raise SettingError(f"every end of a schedule has a unit: write {written}, got {text!r}")


def _number(text: str) -> float | int:
    value = float(text)
    return int(value) if value.is_integer() and abs(value) < 2.0**53 else value


def _shortest(value: Any) -> str:
    """The shortest text of a number that reads back equal; of a tracer what it prints."""
    if concrete(value) is None or np.ndim(value) > 0:
        return str(value)
    number = float(value)
    return next((t for t in (f"{number:g}", f"{number:.12g}") if float(t) == number), repr(number))


_ALLOWED = {
    "t": ("a finite number above 0", positive),
    "epoch": ("a whole number of at least 1", whole(1)),
    "alpha": ("above 0 and below 1", lambda v: (v > 0) & (v < 1)),
}


def _check_ends(stages: list[Stage]) -> None:
    """Refuse stages without an end or with one too many, and ends out of order or range."""
    if not stages:
        raise SettingError("a schedule must have at least one stage, got none")
    shown = ",".join(map(str, stages))
    if stages[-1].end is not None:
        raise SettingError(
            f"the last stage of a schedule has no end, got {shown!r}: leave it out, or say what "
            f"follows, as in {shown},hard"
        )
    last: dict[tuple[str, bool], float] = {}
    for stage in stages[:-1]:
        end = stage.end
        if end is None:
            raise SettingError(
                f"every stage of a schedule but the last has an end ({ENDS}), got {shown!r}: "
                f"{stage.name} has none"
            )
        if end.unit == "theory":
            continue
        allowed, holds = _ALLOWED[end.unit]
        if end.share:
            allowed, holds = "above 0% and below 100%", lambda v: (v > 0) & (v < 100)
        check(f"the {end.unit} at which {stage.name} ends", end.value, allowed, holds)
        value = concrete(end.value)
        if end.unit == "alpha" or value is None:
            continue
        before = last.get((end.unit, end.share), 0.0)
        if not np.all(value > before):
            raise SettingError(
                f"{'times' if end.unit == 't' else 'epochs'} of a schedule must increase, "
                f"got {_shortest(value)} after {_shortest(before)} in {shown!r}"
            )
        last[end.unit, end.share] = float(np.max(value))
