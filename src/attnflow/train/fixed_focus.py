"""Runs under a fixed focus: loss against epoch for each focus weight, beside the closed form.

How the classifier's loss falls at a held focus weight, and by how much less at a lower one, is the
signature of a paradigm: it is what the focus will later feel. What it feels at once is the gain:
by how much the loss of one and the same classifier falls as the focus weight rises by ``RISE``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from attnflow.numeric.closed_form import solve
from attnflow.numeric.focus import focus_score
from attnflow.numeric.trajectory import Trajectory
from attnflow.settings import Setting
from attnflow.train.config import Replica
from attnflow.train.known_truth import RISE
from attnflow.train.objective import has_theory, paradigm_of
from attnflow.train.trained import Trained

RATES = np.logspace(-4, 2, 61)
"""Effective rates among which the one is looked for that a real classifier learns at."""


@dataclass(frozen=True)
class Held:
    """Losses of one paradigm at several focus weights.

    Attributes:
        label: what was trained.
        alphas: the focus weights, ascending.
        epochs: after which the loss was measured.
        measured: loss at each focus weight and epoch.
        theory: the closed form at the same times.
        gain: of the same classifiers, their loss less that at a focus weight higher by ``RISE`` (at
            most 1); NaN where it was not measured.
        theory_gain: the closed form of it.
        rate: by which the run's time is multiplied in the closed form; 1 in the simple setting,
            else the best match over all curves.
        exact: whether the run is in the simple setting, where the rate is known.
    """

    label: str
    alphas: Float[np.ndarray, " a"]
    epochs: Int[np.ndarray, " e"]
    measured: Float[np.ndarray, "a e"]
    theory: Float[np.ndarray, "a e"]
    gain: Float[np.ndarray, "a e"]
    theory_gain: Float[np.ndarray, "a e"]
    rate: float
    exact: bool


def start_at(alpha: Any, setting: Setting) -> tuple[float, Any]:
    """(mu, nu) of a fresh classifier under a held focus weight; 1 is the largest float below 1."""
    return 0.0, focus_score(np.minimum(alpha, np.nextafter(1.0, 0.0)), setting)


def held_losses(runs: Sequence[Trained]) -> list[Held]:
    """The runs under a fixed focus, those that differ in nothing else together.

    Runs with a schedule of paradigms are left out: their loss changes its meaning on the way.
    """
    groups: dict[tuple[Any, ...], list[tuple[Trained, Replica, list[dict[str, Any]]]]] = {}
    for trained in runs:
        run, made = trained.engine.run, trained.engine.task
        for replica in run.replicas:
            name = replica.as_row().items()
            rows = [row for row in trained.rows if name <= row.items()]
            names = {row["paradigm"] for row in rows}
            known = [has_theory(name, run.known) for name in names]
            if replica.focus is None or known != [True]:
                continue
            alike = replace(
                run, fixed_focus=None, seeds=(replica.seed,), learning_rates=(replica.rate,)
            )
            key = (made.name, made.segments, made.classes, alike)
            groups.setdefault(key, []).append((trained, replica, rows))
    return [_held(members) for members in groups.values()]


def _held(members: list[tuple[Trained, Replica, list[dict[str, Any]]]]) -> Held:
    members = sorted(members, key=lambda member: member[1].focus)
    count = min(len(rows) for _, _, rows in members)  # some may have been interrupted
    members = [(trained, replica, _measured(rows[:count])) for trained, replica, rows in members]
    trained, replica, rows = members[0]
    made = trained.engine.task
    alphas = np.array([replica.focus for _, replica, _ in members])
    measured = np.array([[_loss(row) for row in rows] for _, _, rows in members])
    exact = trained.engine.exact
    setting = made.setting or made.setting_of_fit
    times = np.array([row["time"] for row in rows])
    paradigm = paradigm_of(rows[0]["paradigm"], trained.engine.run.known)
    initial = start_at(alphas, setting)

    def path(rates: Any) -> Trajectory:
        """The closed form, [a, rates, e]."""
        return solve(paradigm, setting, rates[:, None] * times[None], initial, freeze="focus")

    def curves(rates: Any) -> np.ndarray:
        return np.asarray(path(rates).loss)

    rate = np.ones(1)
    if not exact:
        rate = _closest(curves, RATES, measured)
        rate = _closest(curves, rate * np.logspace(-0.1, 0.1, len(RATES)), measured)
    label = f"{made.name}, {rows[0]['paradigm']}, seed {replica.seed}, rate {replica.rate:g}"
    epochs = np.array([row["epoch"] for row in rows])
    found = path(rate)
    above = start_at(alphas + RISE, setting)[1][:, None, None]
    higher = replace(found, nu=np.broadcast_to(above, np.shape(found.mu)))
    theory = np.asarray(found.loss)
    return Held(
        label,
        alphas,
        epochs,
        measured,
        theory[:, 0],
        np.array(
            [
                [row["sets"].get("train", {}).get("gain", np.nan) for row in rows]
                for *_, rows in members
            ]
        ),
        (theory - np.asarray(higher.loss))[:, 0],
        float(rate[0]),
        exact,
    )


def _closest(curves: Any, rates: Any, measured: np.ndarray) -> np.ndarray:
    errors = np.sum((curves(rates) - measured[:, None]) ** 2, axis=(0, 2))
    return rates[[int(np.argmin(errors))]]


def _measured(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows whose loss was measured after the epoch, where that is done at all, else all."""
    return [row for row in rows if "loss" in row["sets"].get("train", {})] or rows


def _loss(row: dict[str, Any]) -> float:
    """The loss after an epoch where it was measured there, else the mean over the epoch."""
    return row["sets"].get("train", {}).get("loss", row["loss"])
