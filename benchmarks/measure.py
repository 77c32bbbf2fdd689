"""Timing that a noisy machine disturbs little: contenders in turn, ratios within each round."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax


@dataclass
class Contender:
    """One way to compute, ready to be called.

    Attributes:
        name: as it stands in the table.
        call: computes; its result is waited for.
        details: what else belongs in the record (tolerance, steps, error, costs before).
    """

    name: str
    call: Callable[[], Any]
    details: dict[str, Any] = field(default_factory=dict)


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds that a call takes until its arrays are there, and its result."""
    begin = time.perf_counter()
    result = jax.block_until_ready(call())
    return time.perf_counter() - begin, result


def compiled(
    function: Callable[..., Any], *args: Any, call: bool = True
) -> tuple[Any, dict[str, float]]:
    """The function compiled for such arguments, and what that cost, each apart.

    Returns:
        The executable, and trace_s (derive, trace, lower), compile_s (XLA) and first_s (the first
        call of the executable, unless ``call`` is False).
    """
    begin = time.perf_counter()
    lowered = jax.jit(function).lower(*args)
    middle = time.perf_counter()
    executable = lowered.compile()
    end = time.perf_counter()
    cost = {"trace_s": middle - begin, "compile_s": end - middle}
    if call:
        cost["first_s"] = timed(lambda: executable(*args))[0]
    return executable, cost


def alternate(
    contenders: Sequence[Contender], rounds: int, budget: float = 3.0
) -> list[dict[str, Any]]:
    """Time contenders in turn, the first being the base that ratios refer to.

    A call of under 50 ms follows an untimed one, so that none pays for its neighbour's use of the
    caches.

    Args:
        contenders: the base first.
        rounds: how often each is timed.
        budget: seconds for each; a slow contender sits out the later rounds, but is timed once.

    Returns:
        For each its details with steady_s (median), fastest_s, runs, and ratio, the median over the
        rounds of its time over the base's in the same round.
    """
    about = [timed(c.call)[0] for c in contenders]
    runs = [max(1, min(rounds, int(budget / max(seconds, 1e-9)))) for seconds in about]
    runs[0] = max(runs)
    times: list[list[float]] = [[] for _ in contenders]
    for index in range(runs[0]):
        for contender, own, seconds, planned in zip(contenders, times, about, runs, strict=True):
            if index < planned:
                if seconds < 0.05:
                    timed(contender.call)
                own.append(timed(contender.call)[0])
    return [
        {
            "name": contender.name,
            "steady_s": statistics.median(own),
            "fastest_s": min(own),
            "runs": len(own),
            "ratio": statistics.median(a / b for a, b in zip(own, times[0], strict=False)),
            **contender.details,
        }
        for contender, own in zip(contenders, times, strict=True)
    ]
