"""``best_switch`` and ``best_schedule``: which paradigm, when, to reach a focus level soonest.

The total time of a schedule is a smooth function of the lengths of its parts, and its derivative
by the margin at a switch is the condition of symbolic/switch_condition.py, a by-product of running
the parts, in closed form or integrated. Orders are searched one by one, by grid and Newton's
method on that condition; Pontryagin's principle, checked at every point of the best one, says
whether yet another part would help and where.
"""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from attnflow.errors import ParadigmError, SettingError
from attnflow.numeric.events import course, one_problem, time_to_focus
from attnflow.numeric.switch_search import ROUNDING, Order, Race, Run
from attnflow.schedule import Amount, Schedule
from attnflow.settings import Setting, listed
from attnflow.symbolic.catalogue import paradigm as find_paradigm
from attnflow.symbolic.paradigm import Paradigm
from attnflow.tabled import Tabled

if TYPE_CHECKING:
    import pandas as pd

TARGET = 0.9
"""The focus weight that a switch proposed by theory reaches soonest."""
ALL_TRIPLES = 4  # up to so many paradigms every order of three is tried, not only promising ones
MOST_SHOWN = 7  # orders that a BestSchedule prints
ROUNDS = 6  # parts that Pontryagin's principle may add
ADVANTAGE = 1e-8  # gain in time per time below which another paradigm is not tried


class _Soonest(Tabled):
    """What has been found to reach a target soonest, beside what else was tried."""

    schedule: Schedule
    target: float

    def _times(self) -> dict[str, float]:
        """Order -> when the target is reached, the soonest first."""
        raise NotImplementedError

    def to_pandas(self) -> "pd.DataFrame":
        """A row for each order tried, the soonest first: ``order`` and ``time``."""
        import pandas as pd

        return pd.DataFrame(self._times().items(), columns=["order", "time"])

    def __repr__(self) -> str:
        ordered = list(self._times().items())
        head = f"{type(self).__name__}: alpha = {self.target:g} at t = {ordered[0][1]:.8g}"
        lines = [f"  {time:.8g}  {name}" for name, time in ordered[:MOST_SHOWN]]
        left = len(ordered) - MOST_SHOWN
        more = [f"  ... and {left} slower orders"] if left > 0 else []
        return "\n".join([f"{head} by {self.schedule}", *lines, *more])


@dataclass(frozen=True, repr=False)
class Switch(_Soonest):
    """The best single switch between two paradigms.

    Attributes:
        first, then: names of the paradigms.
        switch_time: when to switch (t = step x learning rate); 0 if ``then`` alone is best,
            infinite if ``first`` alone is.
        total_time: when the target is reached.
        target: the focus weight to reach.
        mu, nu: the state at the switch (at the end, where there is no switch).
        alternatives: total time of either paradigm alone, by name; infinite if it never arrives.
        schedule: the same as a Schedule, for solve and simulate.
    """

    first: str
    then: str
    switch_time: float
    total_time: float
    target: float
    mu: float
    nu: float
    alternatives: dict[str, float]
    schedule: Schedule

    def _times(self) -> dict[str, float]:
        times = dict(self.alternatives)
        if len(self.schedule.stages) > 1:
            times[f"{self.first},{self.then}"] = self.total_time
        return dict(sorted(times.items(), key=lambda entry: entry[1]))


@dataclass(frozen=True, repr=False)
class BestSchedule(_Soonest):
    """The order and the switch times that reach a focus level soonest.

    Attributes:
        schedule: the Schedule; its times are t = step x learning rate.
        time: when the target is reached.
        target: the focus weight to reach.
        alternatives: best time of every order tried, by names joined with commas
            ("lvml,soft,hard"). A part may have vanished in the optimum of an
            order. Infinite if it never arrives.
        advantage: the most time per time that any other paradigm would gain at any point of the
            schedule, 0 up to rounding where Pontryagin's principle holds everywhere.
    """

    schedule: Schedule
    time: float
    target: float
    alternatives: dict[str, float]
    advantage: float

    @property
    def distinct(self) -> dict[str, float]:
        """The alternatives, soonest first, less those that are shorter ones as a part vanished."""
        kept: dict[str, float] = {}
        for order, time in sorted(self.alternatives.items(), key=lambda entry: len(entry[0])):
            same = (name for name, other in kept.items() if abs(time - other) <= 1e-9 * other)
            if not any(_within(name.split(","), order.split(",")) for name in same):
                kept[order] = time
        return dict(sorted(kept.items(), key=lambda entry: entry[1]))

    def _times(self) -> dict[str, float]:
        return self.distinct


def _within(part: list[str], whole: list[str]) -> bool:
    """Whether a whole order holds the names of another in their order."""
    left = iter(whole)
    return all(name in left for name in part)


def _named(found: Paradigm) -> "str | Paradigm":
    """A paradigm by its name where the name says all, else the object."""
    try:
        return found.name if find_paradigm(found.name) == found else found
    except ParadigmError:
        return found


def _schedule(run: Run) -> Schedule:
    """The parts of a run that last; neighbours of one paradigm are one part."""
    parts: list[list[Any]] = []
    end = 0.0
    for paradigm, time in zip(run.order, run.times, strict=True):
        end += time
        if time > 0 and parts and parts[-1][0] == paradigm:
            parts[-1][1] = end
        elif time > 0 and end > (parts[-1][1] if parts else 0.0):
            parts.append([paradigm, end])
    parts[-1][1] = None
    return Schedule([(_named(paradigm), end) for paradigm, end in parts])


def distinct(paradigms: Iterable[Any], what: str) -> tuple[Paradigm, ...]:
    """Paradigms of different names, each once.

    Args:
        paradigms: names or Paradigms.
        what: how the user knows the argument.

    Raises:
        SettingError, ParadigmError: they are no list, none, or two share a name.
    """
    given = listed(what, paradigms, "paradigms")
    found = tuple(dict.fromkeys(find_paradigm(p) for p in given))
    if not found:
        raise SettingError(f"{what} must hold at least one paradigm, got none")
    if len({p.name for p in found}) < len(found):
        raise SettingError(
            f"{what} must have different names, got {', '.join(p.name for p in found)}"
        )
    return found


def _reached(best: Run, target: float) -> None:
    if not math.isfinite(best.total):
        raise SettingError(
            f"target must be a focus weight that the given paradigms reach within the range of "
            f"float64, got {target}: {','.join(p.name for p in best.order)} never gets there"
        )


def best_switch(
    setting: Setting,
    target: float,
    first: "str | Paradigm",
    then: "str | Paradigm",
    initial: tuple[float, float] = (0.0, 0.0),
) -> Switch:
    """The single switch from one paradigm to another that reaches a focus level soonest.

    The switch is a root of g_A - g_B + V_z (slope_A - slope_B) (symbolic/switch_condition.py); all
    its roots and both ends are compared by their total times. Runs from plain Python.

    Args:
        setting: Setting, its entries plain numbers.
        target: focus weight alpha to reach, above the initial one and below 1.
        first: name or Paradigm to begin with.
        then: name or Paradigm to switch to.
        initial: (mu0, nu0), from -300 to 300.

    Returns:
        Switch, with the time of either paradigm alone beside it.

    Raises:
        SettingError, ParadigmError: an argument is not allowed; the message names it.
        IntegrationFailed: a flow without a first integral cannot be followed so far.

    Source: derivation of switching; for soft to hard, Vashisht and Ramaswamy (2023), section 5.
    """
    race = Race(course(setting, target, initial, "best_switch"))
    order = (find_paradigm(first), find_paradigm(then))
    if order[0] == order[1]:
        raise SettingError(
            f"first and then must be different paradigms, got {order[0].name!r} twice"
        )
    singles = [race.single(p) for p in order]
    best = race.best_pair(order, min(s.total for s in singles))
    _reached(best, target)
    switch_time, (mu, x) = best.times[0], best.ends[0]
    if best.times[1] == 0:
        switch_time = math.inf
    return Switch(
        first=order[0].name,
        then=order[1].name,
        switch_time=switch_time,
        total_time=best.total,
        target=float(target),
        mu=mu,
        nu=x + float(np.log(race.course.reduced.ratio)),
        alternatives={p.name: s.total for p, s in zip(order, singles, strict=True)},
        schedule=_schedule(best),
    )


def timed(
    schedule: Schedule,
    setting: Setting,
    initial: tuple[float, float] = (0.0, 0.0),
    target: float = TARGET,
) -> Schedule:
    """The same schedule with every end as a time, as the flow needs it.

    A stage that ends at a focus weight ends when the flow reaches that; the switches of one that
    leaves its times to theory are those that reach ``target`` soonest (a stage that does not help
    is left out). Runs from plain Python.

    Args:
        schedule: the Schedule.
        setting: Setting, its entries plain numbers.
        initial: (mu0, nu0), from -300 to 300.
        target: focus weight that theory's switches reach soonest.

    Raises:
        SettingError, ParadigmError: an argument is not allowed, theory is to time some switches
            and not others, or a focus weight is never reached.

    Example:
        >>> import attnflow as af
        >>> str(af.timed(af.Schedule("soft@t=200,hard"), af.Setting(20, 20)))
        'soft@t=200,hard'
    """
    if not isinstance(schedule, Schedule):
        raise SettingError(f"schedule must be an attnflow.Schedule, got {schedule!r}")
    if schedule.units & {"theory", "alpha"}:
        one_problem(setting, target, initial, "timed")
    if "theory" in schedule.units:
        if len(schedule.units) > 1:
            raise SettingError(f"theory times all switches of a schedule or none, got {schedule}")
        order = [find_paradigm(stage.paradigm) for stage in schedule.stages]
        return best_schedule(setting, target, initial=initial, order=order).schedule
    stages = list(schedule.stages)
    for place, stage in enumerate(stages):
        if stage.end is None or stage.end.unit != "alpha":
            continue
        so_far = Schedule([*stages[:place], replace(stage, end=None)])
        time = time_to_focus(so_far, setting, stage.end.value, initial)
        begin = stages[place - 1].end.value if place else 0.0  # pyright: ignore
        if not begin < time < math.inf:
            raise SettingError(
                f"{stage.name} of {schedule} must reach the focus weight {stage.end.value:g} after "
                f"it begins, at time {begin:g}; it is reached "
                + ("never" if time == math.inf else f"at time {time:g}")
            )
        stages[place] = replace(stage, end=Amount("t", time))
    return Schedule(stages)


def best_schedule(
    setting: Setting,
    target: float,
    paradigms: "Sequence[str | Paradigm]" = ("soft", "hard", "lvml"),
    initial: tuple[float, float] = (0.0, 0.0),
    order: "Sequence[str | Paradigm] | None" = None,
) -> BestSchedule:
    """The order of paradigms and the switch times that reach a focus level soonest.

    Every paradigm alone, every ordered pair and (up to 4 paradigms) every ordered triple is
    optimised; then parts are added, repetitions included, as long as Pontryagin's principle names
    a point at which another paradigm gains time. The principle is necessary, the search over
    orders wide, but neither is a proof of the global optimum. Runs from plain Python.

    Args:
        setting: Setting, its entries plain numbers.
        target: focus weight alpha to reach, above the initial one and below 1.
        paradigms: names or Paradigms to choose from.
        initial: (mu0, nu0), from -300 to 300.
        order: restrict to this one order; only switch times are then chosen, and a part that
            does not help is dropped.

    Returns:
        BestSchedule, with the best time of every order tried beside it.

    Raises:
        SettingError, ParadigmError: an argument is not allowed; the message names it.
        IntegrationFailed: a flow without a first integral cannot be followed so far.

    Source: Pontryagin's principle with mu as clock; derivation of switching.
    """
    race = Race(course(setting, target, initial))
    if order is not None:
        return _in_order(race, order, target)
    choice = distinct(paradigms, "paradigms")
    runs: dict[Order, Run] = {(p,): race.single(p) for p in choice}
    _search(race, runs, itertools.permutations(choice, 2))
    if len(choice) <= ALL_TRIPLES:
        _search(race, runs, itertools.permutations(choice, 3))
    best = min(runs.values(), key=lambda run: run.total)
    _reached(best, target)
    best = race.without_vanished(best)
    gain, richer = race.advantage(best, choice)
    for _ in range(ROUNDS):
        if gain <= ADVANTAGE or richer is None:
            break
        longer = race.without_vanished(race.polish(richer.order, richer.lengths))
        longer = race.polish(longer.order, longer.lengths)  # now without a bound
        runs.setdefault(longer.order, longer)
        if not longer.total < best.total * (1 - ROUNDING):
            break
        best = longer
        gain, richer = race.advantage(best, choice)
    alternatives = {",".join(p.name for p in key): run.total for key, run in runs.items()}
    return BestSchedule(_schedule(best), best.total, float(target), alternatives, gain)


def _search(race: Race, runs: dict[Order, Run], orders: Iterable[Order]) -> None:
    """Optimise orders, each from the optima of the shorter orders within it, and add them."""
    for order in orders:
        inner = {}
        for count in range(1, len(order)):
            for places in itertools.combinations(range(len(order)), count):
                known = runs.get(tuple(order[i] for i in places))
                if known is not None:
                    inner[places] = known
        # no part of an optimum can last longer than the best order within
        cap = min(run.total for run in inner.values())
        if len(order) == 2:
            runs[order] = race.best_pair(order, cap)
            continue
        seeds = []
        for places, known in inner.items():
            lengths = np.zeros(len(order))
            lengths[list(places)] = known.lengths
            seeds.append(lengths)
        runs[order] = race.best_order(order, cap, seeds)


def _in_order(race: Race, order: Any, target: float) -> BestSchedule:
    """The best switch times of one given order, found from its shorter orders up."""
    parts = tuple(find_paradigm(p) for p in listed("order", order, "paradigms"))
    if not parts:
        raise SettingError(f"order must be a sequence of at least one paradigm, got {order!r}")
    for one, other in itertools.pairwise(parts):
        if one == other:
            raise SettingError(
                f"order must not hold a paradigm twice in succession, got {one.name!r}"
            )
    runs: dict[Order, Run] = {(p,): race.single(p) for p in dict.fromkeys(parts)}
    for count in range(2, len(parts) + 1):
        inner = (
            tuple(parts[i] for i in places)
            for places in itertools.combinations(range(len(parts)), count)
        )
        _search(
            race,
            runs,
            (o for o in dict.fromkeys(inner) if all(a != b for a, b in itertools.pairwise(o))),
        )
    best = runs[parts]
    _reached(best, target)
    best = race.without_vanished(best)
    gain, _ = race.advantage(best, tuple(dict.fromkeys(parts)))
    alternatives = {",".join(p.name for p in key): run.total for key, run in runs.items()}
    return BestSchedule(_schedule(best), best.total, float(target), alternatives, gain)
