"""``max_learning_rate``: how large steps of gradient descent may be along a trajectory."""

from typing import Any

import numpy as np
from jaxtyping import ArrayLike, Float

from attnflow.errors import NoFirstIntegral, SettingError
from attnflow.numeric.closed_form import solve
from attnflow.numeric.precision import traced
from attnflow.numeric.simulate import simulate
from attnflow.numeric.steps import check_momentum, stable_rates
from attnflow.schedule import Schedule
from attnflow.settings import Setting
from attnflow.symbolic.paradigm import Paradigm


def max_learning_rate(
    paradigm: "str | Paradigm | Schedule",
    setting: Setting,
    times: Float[ArrayLike, "..."],
    momentum: float = 0.0,
    *,
    nesterov: bool = False,
    initial: Any = (0.0, 0.0),
    freeze: str | None = None,
) -> Float[np.ndarray, "..."]:
    """The largest learning rate at which gradient descent is stable, at each time of its flow.

    It is 2 (1 + p)/lambda with momentum p, and 2 (1 + p)/((1 + 2 p) lambda) with Nesterov's, for
    lambda the largest eigenvalue of the Hessian of the full loss over (W, w), the setting's two
    learning rates included. With larger steps what is off the ansatz, or the ansatz itself, swings
    with growing width. The least of the rates along a trajectory is what training to its end
    allows; it lies near the onset of the focus.

    In the simple setting hard attention is no less stable than soft. In real networks it is: there
    nothing keeps its scores from running away.

    Args:
        paradigm: name, Paradigm or Schedule. What it averages says how the loss bends off the
            ansatz; one given by its loss alone is taken not to see the background.
        setting: the Setting; entries may be arrays.
        times: finite and at least 0, any shape and order, t = step x rate/(1 - momentum).
        momentum: p, from 0 to below 1.
        nesterov: whether the momentum is Nesterov's.
        initial: (mu0, nu0), from -300 to 300.
        freeze: None, "focus" or "classifier": the part that is held.

    Returns:
        Rates, float64, shape (*batch, *times); infinite where the loss bends nowhere upwards.

    Raises:
        SettingError, ParadigmError: an argument is not what is allowed, or is a tracer.
        IntegrationFailed: a loss without a first integral could not be simulated to the last time.

    Example:
        >>> max_learning_rate("soft", Setting(6, 6), [0.0, 80.0], momentum=0.9).round(1)
        array([...])

    Source: derivations/15_largest_learning_rate.py.
    """
    if traced(setting, times, initial, momentum):
        raise SettingError("max_learning_rate needs concrete numbers, got a tracer")
    momentum = check_momentum(momentum, nesterov)
    try:
        path = solve(paradigm, setting, times, initial, freeze)
    except NoFirstIntegral:
        path = simulate(paradigm, setting, times, initial, freeze)
    return stable_rates(path, momentum, nesterov, freeze)
