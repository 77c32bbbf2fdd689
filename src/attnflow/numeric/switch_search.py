"""The best switches of a given order of paradigms, and whether the order itself could be better.

A ``Race`` runs many choices of lengths side by side, each with its total time and the derivative
of that time by every length; roots of the derivative are found between points of a grid (one
switch) or by a safeguarded Newton's method (more).
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import brentq

from attnflow.numeric.events import Course
from attnflow.numeric.legs import FOCUS, Leg
from attnflow.symbolic.paradigm import Paradigm

Order = tuple[Paradigm, ...]
SCAN = 512  # choices of one switch that are looked at before its roots are refined
SIDE = 22  # lengths of each of two parts that are looked at
HALVINGS = 16  # shortened steps of Newton's method tried at once
SAMPLES = 64  # points of each part at which Pontryagin's principle is checked
VANISHED = 1e-12  # a part shorter than this, relative to the whole, is none
ROUNDING = 1e-14  # relative: total times closer than this are equal


@dataclass(frozen=True)
class Run:
    """An order with its lengths.

    Attributes:
        order: the paradigms.
        lengths: of each part, in the clock of its leg (|change of mu| with a first integral).
        times: how long each part lasts.
        ends: (mu, x) at the end of each part, x = logit(alpha).
        total: when the goal is reached, infinite if never.
    """

    order: Order
    lengths: np.ndarray
    times: tuple[float, ...]
    ends: tuple[tuple[float, float], ...]
    total: float


@dataclass(frozen=True)
class Runs:
    """Many choices of lengths for one order, side by side.

    Attributes:
        legs: for each part, its legs.
        total: total times, shape (choices,).
        costates: V_z at the end of each part, (choices, parts).
        gradient: derivative of the total time by the length of each part but the last.
    """

    legs: tuple[Leg, ...]
    total: np.ndarray
    costates: np.ndarray
    gradient: np.ndarray


@dataclass(frozen=True)
class Race:
    """All that is asked about one course."""

    course: Course

    def evaluate(self, order: Order, lengths: Any) -> Runs:
        """Run an order with given lengths of all parts but the last, shape (choices, parts - 1).

        A part in which the goal is reached ends there, and those after it have no length.
        """
        lengths = np.atleast_2d(np.asarray(lengths, np.float64))
        choices = lengths.shape[0]
        mu, x = np.full(choices, self.course.mu), np.full(choices, self.course.x)
        there = np.zeros(choices, bool)
        legs, total = [], np.zeros(choices)
        for index, paradigm in enumerate(order):
            length = np.full(choices, np.inf) if index == len(order) - 1 else lengths[:, index]
            leg = self.course.run(
                paradigm,
                mu,
                x,
                np.where(there, 0.0, length),
                goal=np.where(there, np.inf, self.course.goal),
            )
            total = total + np.where(there, 0.0, leg.time)
            there = there | (leg.event == FOCUS)
            mu, x = leg.mu, leg.x
            legs.append(leg)
        total = np.where(there, total, np.inf)
        return Runs(tuple(legs), total, *_conditions(legs, total))

    def single(self, paradigm: Paradigm) -> Run:
        """One paradigm alone."""
        return self.run((paradigm,), np.zeros(0))

    def run(self, order: Order, lengths: Any) -> Run:
        """An order with given lengths of all parts but the last (more are ignored)."""
        lengths = np.asarray(lengths, np.float64)[: len(order) - 1]
        runs = self.evaluate(order, lengths.reshape(1, -1))
        return Run(
            order=order,
            lengths=np.array([float(leg.length[0]) for leg in runs.legs]),
            times=tuple(float(leg.time[0]) for leg in runs.legs),
            ends=tuple((float(leg.mu[0]), float(leg.x[0])) for leg in runs.legs),
            total=float(runs.total[0]),
        )

    def best_pair(self, order: Order, cap: float) -> Run:
        """The best switch between two paradigms; no part may last longer than ``cap``."""
        reach = self.course.run(order[0], self.course.mu, self.course.x, duration=cap)
        longest = float(reach.length[0])
        # margins grow linearly at first and logarithmically later: both scales are looked at
        grid = np.union1d(
            longest * np.linspace(0, 1, SCAN // 2 + 1)[1:-1],
            longest * np.geomspace(1e-6, 0.999, SCAN // 2),
        )
        runs = self.evaluate(order, grid[:, None])
        condition = np.where(np.isfinite(runs.total), runs.gradient[:, 0], np.nan)
        candidates = [self.run(order, [0.0])]
        candidates.append(self.run(order, [math.inf]))
        minima = np.flatnonzero((condition[:-1] < 0) & (condition[1:] > 0))
        for index in minima[np.argsort(runs.total[minima])][:6]:
            low, high = float(grid[index]), float(grid[index + 1])
            root = brentq(
                lambda length: float(self.evaluate(order, [[length]]).gradient[0, 0]),
                low,
                high,
                xtol=1e-15 * high,
                rtol=1e-14,  # pyright: ignore[reportArgumentType]
            )
            candidates.append(self.run(order, [root]))
        if (
            not any(math.isfinite(run.total) for run in candidates)
            and np.isfinite(runs.total).any()
        ):
            candidates.append(self.run(order, grid[[np.nanargmin(runs.total)]]))
        return _least(candidates)

    def best_order(self, order: Order, cap: float, seeds: list[np.ndarray]) -> Run:
        """The best lengths of an order: Newton's method from the best point of a grid and seed."""
        starts = [self._grid(order, cap)] if len(order) == 3 else []
        starts += [seed[None, : len(order) - 1] for seed in seeds]
        points = np.concatenate(starts)
        totals = self.evaluate(order, points).total
        ranked = np.argsort(totals)
        best_seed = len(points) - len(seeds) + int(np.argmin(totals[len(points) - len(seeds) :]))
        runs = [self.polish(order, points[i]) for i in dict.fromkeys([int(ranked[0]), best_seed])]
        return _least(runs)

    def _grid(self, order: Order, cap: float) -> np.ndarray:
        """Lengths of two parts, spread over what is possible within the time ``cap``."""
        shares = (np.arange(SIDE) + 0.5) / SIDE
        first = self.course.run(order[0], self.course.mu, self.course.x, duration=cap)
        lengths = shares * first.length[0]
        states = self.course.run(order[0], self.course.mu, self.course.x, lengths)
        room = np.maximum(cap - np.where(np.isfinite(states.time), states.time, cap), 0.0)
        second = self.course.run(order[1], states.mu, states.x, duration=room)
        pairs = np.stack(np.broadcast_arrays(lengths[:, None], second.length[:, None] * shares), -1)
        return pairs.reshape(-1, 2)

    def polish(self, order: Order, lengths: Any) -> Run:
        """Newton's method on the conditions at the switches; lengths stay at least 0."""
        now = np.array(lengths, np.float64)[: len(order) - 1]
        scale = np.max(now, initial=0.0) + 1e-12
        for _ in range(40):
            steps = 1e-4 * now + 1e-6 * scale
            centre = np.maximum(now, steps)
            around = np.concatenate([now[None], centre + np.diag(steps), centre - np.diag(steps)])
            runs = self.evaluate(order, around)
            total, gradient = runs.total[0], runs.gradient[0]
            if not math.isfinite(total):
                break
            count = len(now)
            hessian = (runs.gradient[1 : count + 1] - runs.gradient[count + 1 :]) / (
                2 * steps[:, None]
            )
            direction = _newton(gradient, hessian, now, scale)
            if np.all(np.abs(direction) <= 1e-14 * scale):
                break
            trials = np.maximum(now + 0.5 ** np.arange(HALVINGS)[:, None] * direction, 0.0)
            tried = self.evaluate(order, trials)
            chosen = int(np.argmin(tried.total))
            if not tried.total[chosen] < total * (1 - ROUNDING):
                # equal up to rounding: the derivative still tells which is nearer
                chosen = 0
                closer = _residual(tried.gradient[0], trials[0]) < _residual(gradient, now) / 2
                if not (tried.total[0] <= total * (1 + ROUNDING) and closer):
                    break
            now = trials[chosen]
        return self.run(order, now)

    def without_vanished(self, run: Run) -> Run:
        """The same run without parts of no length, neighbours of one paradigm joined."""
        parts: list[tuple[Paradigm, float]] = []
        for paradigm, length, time in zip(run.order, run.lengths, run.times, strict=True):
            lasts = length > VANISHED * run.lengths.max() or time > VANISHED * run.total
            if lasts and parts and parts[-1][0] == paradigm:
                parts[-1] = (paradigm, parts[-1][1] + float(length))
            elif lasts:
                parts.append((paradigm, float(length)))
        if len(parts) == len(run.order):
            return run
        return self.run(tuple(p for p, _ in parts), [length for _, length in parts[:-1]])

    def advantage(self, run: Run, choice: Order) -> tuple[float, Run | None]:
        """The most time per time that another paradigm would gain somewhere, and the order with it.

        Following u instead of a for a moment dt changes the total time by
        (g_u - g_a + V_z (slope_u - slope_a))/g_u dt, which Pontryagin's principle wants at least 0.
        """
        runs = self.evaluate(run.order, run.lengths[None, :-1])
        best, richer = 0.0, None
        mu, x = self.course.mu, self.course.x
        for index, paradigm in enumerate(run.order):
            part = runs.legs[index]
            shares = run.lengths[index] * (np.arange(SAMPLES) + 0.5) / SAMPLES
            states = self.course.run(paradigm, mu, x, shares)
            rest = self.course.run(paradigm, states.mu, states.x, run.lengths[index] - shares)
            costate = rest.sensitivity + rest.transport * runs.costates[0, index]
            for other in choice:
                if other == paradigm:
                    continue
                there = self.course.run(other, states.mu, states.x, 0.0)
                change = there.pace - states.last_pace + costate * (there.slope - states.last_slope)
                gain = np.where(np.isfinite(change / there.pace), -change / there.pace, -np.inf)
                place = int(np.argmax(gain))
                if gain[place] > best:
                    best = float(gain[place])
                    lengths = [
                        *run.lengths[:index],
                        shares[place],
                        0.0,
                        run.lengths[index] - shares[place],
                    ]
                    order = (*run.order[: index + 1], other, *run.order[index:])
                    new = np.array([*lengths, *run.lengths[index + 1 :]])
                    richer = Run(order, new, (), (), math.inf)
            mu, x = part.mu[0], part.x[0]
        return best, richer


def _conditions(legs: list[Leg], total: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """From the legs of an order, backwards: costates, and the gradient by lengths.

    V_mu is continuous at a switch, so that by H on its two sides (numeric/legs.py) the gradient by
    a length follows from that by the next and from the condition on the switch.
    """
    costates, gradient = (np.zeros((total.size, len(legs) - n)) for n in (0, 1))
    costate, H = np.zeros(total.size), np.zeros(total.size)
    with np.errstate(all="ignore"):
        for index in range(len(legs) - 1, -1, -1):
            leg = legs[index]
            arrives = leg.event == FOCUS
            if index < len(legs) - 1:
                ahead = legs[index + 1]
                jump = leg.last_pace - ahead.pace + costate * (leg.last_slope - ahead.slope)
                H = leg.last_heading * (jump + H / ahead.heading)
                # where the goal was reached before, nothing ahead matters
                H = np.where((costate == 0) | arrives, 0.0, H)
                gradient[:, index] = H
            costate = np.where(arrives, -leg.last_pace / leg.last_slope, costate)
            costates[:, index] = costate
            before = leg.sensitivity + leg.transport * costate + leg.drift * H
            costate = np.where(costate == 0, 0.0, before)
    return costates, gradient


def _residual(gradient: np.ndarray, lengths: np.ndarray) -> float:
    """Size of the gradient, but for entries that push a length of 0 below 0."""
    return np.abs(np.where((lengths > 0) | (gradient < 0), gradient, 0.0)).max(initial=0.0)


def _newton(
    gradient: np.ndarray, hessian: np.ndarray, lengths: np.ndarray, scale: float
) -> np.ndarray:
    """A descent direction: Newton's with the Hessian made positive, on the free lengths."""
    free = (lengths > 0) | (gradient < 0)
    direction = np.zeros_like(gradient)
    if free.any() and np.all(np.isfinite(hessian)) and np.any(gradient[free] != 0):
        part = hessian[np.ix_(free, free)]
        values, vectors = np.linalg.eigh((part + part.T) / 2)
        values = np.maximum(np.abs(values), 1e-10 * np.abs(values).max(initial=0.0) + 1e-300)
        step = -vectors @ ((vectors.T @ gradient[free]) / values)
        direction[free] = step * min(1.0, scale / max(np.abs(step).max(), 1e-300))
    return direction


def _least(runs: list[Run]) -> Run:
    """The run with the least total time; of equals up to rounding, the first."""
    least = min(run.total for run in runs)
    return next(run for run in runs if run.total <= least * (1 + ROUNDING))
