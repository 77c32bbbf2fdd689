"""What a run came to, in one sentence: focus against chance, against theory, and what to try."""

import math
from typing import Any

import numpy as np

from attnflow.numeric.closed_form import solve
from attnflow.train.evaluation import evaluate
from attnflow.train.logs import runaway
from attnflow.train.tasks.task import Mosaics
from attnflow.train.theory import has_curves, rows_of, schedule_of, theory_over_practice
from attnflow.train.trained import Trained

FOUND = 0.8
"""The share of what chance leaves from which focus, or class, counts as found."""
REACHED = 0.9
"""The focus weight to which theory is asked for the time."""
HORIZONS = np.logspace(0, 4, 400)
"""Lengths, in lengths of the run, among which that time is looked for."""


def outcome(trained: Trained, replica: int = 0, found: dict[str, Any] | None = None) -> str:
    """What one run found, as a sentence.

    Args:
        trained: the run.
        replica: which of the runs trained at once.
        found: what ``evaluate`` says of it; None to evaluate it.

    Raises:
        SettingError: there is no run of that number.
    """
    found = evaluate(trained, replica) if found is None else found
    engine = trained.engine
    part = list(found["sets"])[-1]  # the least seen
    rates, inputs = found["sets"][part], engine.task.sets[part]
    focus, right = rates["focus_true"], rates["argmax"]["accuracy"]
    guess, most = 100 * guessed_focus(inputs), 100 * commonest_class(inputs)
    held = engine.run.replicas[replica].focus
    if held is not None:
        said = f"the focus was held at {held:g}"
    elif focus is None:
        said = "no true segments are known"
    else:
        said = f"focus found a true segment in {focus:.0f} % of the {part} inputs"
        said += f" (chance: {guess:.0f} %)"
    said += f", and the class was right in {right:.0f} % (chance: {most:.0f} %)"
    learns = held is None and focus is not None
    short = held is None and focus is not None and _gained(focus, guess) < FOUND
    if has_curves(trained):
        said += _theory(trained, replica)
    elif short and not any(runaway(rows_of(trained, replica))):  # which say what to try
        said += "; try more epochs"
        if len(trained.schedule.stages) == 1:
            said += ", or --paradigm hybrid (soft attention, then hard)"
    elif learns and _gained(right, most) < FOUND:
        said += "; focus is found but not the class: try more epochs or more training inputs"
    epochs = "1 epoch" if found["epochs"] == 1 else f"{found['epochs']} epochs"
    return f"After {epochs} of {found['paradigm']}, {said}."


def guessed_focus(inputs: Mosaics) -> float:
    """How often a segment drawn blindly is true, of the inputs of known truth; NaN of none."""
    segments = np.asarray(inputs.segments)
    present = np.ones(segments.shape, bool) if inputs.mask is None else np.asarray(inputs.mask)
    if inputs.truth is None:
        return float(np.mean(1 / np.sum(present, axis=1)))
    true = np.asarray(inputs.truth) & present
    known = true.any(axis=1)
    share = np.sum(true, axis=1)[known] / np.sum(present, axis=1)[known]
    return float(np.mean(share)) if share.size else math.nan


def commonest_class(inputs: Mosaics) -> float:
    """How often the class that most inputs have is right."""
    _, counts = np.unique(np.asarray(inputs.labels), return_counts=True)
    return float(counts.max() / counts.sum())


def _gained(rate: float, chance: float) -> float:
    """The share of what chance leaves; all where it leaves nothing."""
    return (rate - chance) / (100 - chance) if chance < 100 else 1.0


def _theory(trained: Trained, replica: int) -> str:
    """How far the closed form was; where the run was too short, how long it must be."""
    compared = theory_over_practice(trained, replica)
    name = "alpha" if trained.engine.run.replicas[replica].focus is None else "beta"
    spelled = {"alpha": "focus weight", "beta": "class probability"}[name]
    said = (
        f"; the {spelled} ended at {compared.measured[name][-1]:.3g}, the closed form at "
        f"{compared.theory[name][-1]:.3g} (at most {compared.deviation[name]:.1g} apart)"
    )
    # all inputs are alike there, so that the largest weight finds its place at once
    if name == "beta" or compared.measured["alpha"][-1] >= REACHED:
        return said
    rows, end = rows_of(trained, replica), float(compared.times[-1])
    schedule = schedule_of(rows, trained.engine.run.known)
    path = solve(schedule, trained.engine.task.setting, end * HORIZONS)
    later = HORIZONS[np.asarray(path.alpha) >= REACHED]
    if not later.size:
        return said + "; theory needs more than 10,000 times as many epochs"
    epochs = math.ceil(float(later[0]) * rows[-1]["epoch"])
    return said + f", which reaches {REACHED} at t = {end * later[0]:.4g}: try --epochs {epochs}"
