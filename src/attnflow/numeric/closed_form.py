"""``solve``: trajectories in closed form, by quadrature of dt/d mu and its inverse.

Along an orbit nu is an explicit function of mu (Wright omega, symbolic/orbit.py) and time is one
quadrature in mu; where a part is frozen, time is a quadrature in the other. numeric/quadrature.py
evaluates and inverts it; this module says what is integrated, joins the parts of a schedule, and
supplies derivatives by the implicit function theorem, so that results are differentiable in
everything. A plain call of moderate size is computed in NumPy and compiles nothing.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cache, lru_cache, partial
from typing import Any

import numpy as np

from attnflow.errors import IntegrationFailed
from attnflow.numeric import quadrature, refine
from attnflow.numeric.lower import lower
from attnflow.numeric.namespace import concrete, namespace, quiet, traced
from attnflow.numeric.precision import float64
from attnflow.numeric.problem import Problem, normalise
from attnflow.numeric.quadrature import Track
from attnflow.numeric.trajectory import STATE, Reduced, Trajectory, reduce_setting, velocities
from attnflow.schedule import Schedule
from attnflow.settings import Setting
from attnflow.symbolic.first_integral import derive_first_integral
from attnflow.symbolic.flow import derive_flow
from attnflow.symbolic.paradigm import Paradigm
from attnflow.symbols import C, mu, rho, tau

PLAIN = 100_000
"""Up to so many points a plain call is computed in NumPy; beyond, a compiled program pays."""

FEW = 24
"""Up to so many times of a trajectory each is marched to alone, side by side; more are read from
panels that they share."""

LANES = 256
"""Tracks marched side by side; more in turn, so that work fits the cache."""

Inputs = tuple[Reduced, Any, Any]
"""Reduced setting, mu0 and nu0 of trajectories, each entry of shape (trajectories,)."""


@lru_cache(maxsize=256)
def _formulas(paradigm: Paradigm, freeze: str | None) -> tuple[Any, Any]:
    """(drive, pace) as functions: dz/d clock/rho of (mu, C) and dt/d clock of the state."""
    flow = derive_flow(paradigm)
    if freeze == "classifier":
        return None, lower(1 / flow.nu_dot, (*STATE, rho, tau))
    drive = None if freeze else lower(derive_first_integral(paradigm).slope, (mu, C))
    return drive, lower(1 / flow.mu_dot, (*STATE, rho, tau))


def _track(paradigm: Paradigm, freeze: str | None, inputs: Inputs) -> Track:
    """The clock (change of mu; of nu where the classifier is frozen), its drive and its pace."""
    xp = namespace(inputs[1], inputs[2], inputs[0].ratio)
    ratio, classes, focus, speed, mu0, nu0 = (
        xp.reshape(v, (1, -1)) for v in (*inputs[0], *inputs[1:])
    )
    slope, rate = _formulas(paradigm, freeze)
    x = nu0 - xp.log(ratio)

    def pace(weight: Any, at: Any) -> Any:
        rest = 1 / (1 + weight)
        return rate(weight * rest, rest, at, classes, focus, speed) + 0 * weight

    def drive(clock: Any) -> Any:
        # a slope may be constant: psi = e^mu
        return focus * slope(mu0 + clock, classes) + 0 * clock

    still = xp.zeros_like
    if freeze == "classifier":
        return Track(still, lambda clock, _: pace(xp.exp(x + clock), mu0 + 0 * clock), x)
    return Track(drive if slope else still, lambda clock, weight: pace(weight, mu0 + clock), x)


def _settled(track: Track, times: Any) -> tuple[Any, Any]:
    """A careful march to one time of each track."""
    end = quadrature.march(track, times, times, careful=True)
    clock, change, _ = quadrature.arrive(track, end, times)
    return quadrature.at_rest(track, end, (clock, change))


def _lanes(paradigm: Paradigm, freeze: str | None, inputs: Inputs, times: Any) -> tuple[Any, Any]:
    """Clock and companion of tracks side by side, one time each; everything of shape (tracks,)."""
    xp = namespace(times, inputs[1])
    later = xp.where(times > 0, times, 1.0)[None]
    track = _track(paradigm, freeze, inputs)
    if freeze is not None:
        clock, change = _settled(track, later)
    else:
        end = quadrature.march(track, later, later, careful=False)
        clock, change, good = quadrature.arrive(track, end, later)
        clock, change = _corrected(
            good & xp.isfinite(clock + change),
            (clock, change),
            lambda: _settled(track, later),
            lambda which: _settled(_track(paradigm, freeze, _take(inputs, which)), later[:, which]),
        )
    zero = xp.zeros(())
    return xp.where(times > 0, clock[0], zero), xp.where(times > 0, change[0], zero)


def _take(inputs: Inputs, index: Any) -> Inputs:
    """Some of the trajectories."""
    return Reduced(*(v[index] for v in inputs[0])), inputs[1][index], inputs[2][index]


def _corrected(
    good: Any, values: tuple[Any, Any], whole: Callable[[], Any], part: Callable[[Any], Any]
) -> tuple[Any, Any]:
    """The values, and where they are not good those of a careful march."""
    if namespace(good) is np:
        if not good.all():
            bad = np.flatnonzero(~good[0])
            for value, better in zip(values, part(bad), strict=True):
                value[0, bad] = better[0]
        return values
    from jax import lax

    def careful() -> tuple[Any, Any]:
        xp = namespace(good)
        one, two = (xp.where(good, a, b) for a, b in zip(values, whole(), strict=True))
        return one, two

    return lax.cond(namespace(good).all(good), lambda: values, careful)


def _dense(paradigm: Paradigm, freeze: str | None, inputs: Inputs, times: Any) -> tuple[Any, Any]:
    """Clock and companion of one track (inputs of shape (1,)) at many times, shape (n,)."""
    xp = namespace(times, inputs[1])
    if xp is np and np.all(times[1:] >= times[:-1]):
        order, ascending = slice(None), times
    else:
        order = xp.argsort(times)
        ascending = times[order]
    last = ascending[-1:]
    last = xp.where(last > 0, last, 1.0)[None]
    first = xp.min(xp.where(times > 0, times, last[0]))[None, None]
    track = _track(paradigm, freeze, inputs)

    def careful() -> tuple[Any, Any]:
        end = quadrature.march(track, first, last, careful=True, edges=True)
        edges = xp.concatenate([xp.zeros(1), end.edges[:, 0]])
        table = quadrature.tabulate(track, edges)
        found = quadrature.read(table, ascending)
        beyond = (ascending > end.time[0]) & ~end.arrived[0]
        rest = quadrature.at_rest(track, end, (end.clock, end.force))
        return tuple(xp.where(beyond, b[0], a) for a, b in zip(found, rest, strict=True))

    def planned() -> tuple[Any, Any]:
        edges, count = quadrature.plan(track, first, last)

        def read(panels: int) -> tuple[Any, Any, Any]:
            table = quadrature.tabulate(track, edges(panels))
            good = table.good & (table.ends[-1] >= ascending[-1])
            return (*quadrature.read(table, ascending), good)

        if xp is np:
            for panels in (count, 2 * count) if count <= quadrature.ROOMS[-1] else ():
                *found, good = read(int(panels))
                if good:
                    return found[0], found[1]
            return careful()
        from jax import lax

        def lost() -> tuple[Any, Any, Any]:
            return ascending, ascending, xp.zeros((), bool)

        rooms = [partial(read, panels) for panels in quadrature.ROOMS]
        place = xp.searchsorted(xp.asarray(quadrature.ROOMS, float), count)  # NaN comes last
        *found, good = lax.switch(place, [*rooms, lost])
        return lax.cond(good, lambda: tuple(found), careful)

    clock, change = careful() if freeze else planned()
    moving = ascending > 0
    clock, change = (xp.where(moving, v, 0.0) for v in (clock, change))
    if isinstance(order, slice):
        return clock, change
    back = xp.argsort(order)
    return clock[back], change[back]


def _states(paradigm: Paradigm, freeze: str | None, inputs: Inputs, times: Any) -> tuple[Any, Any]:
    """Clock and companion of trajectories (inputs of shape (b,)) at times of shape (b, n)."""
    xp = namespace(times, inputs[1])
    count, each = times.shape
    if each > FEW and not (xp is not np and _elsewhere()):
        single = partial(_dense, paradigm, freeze)
        if count == 1:
            clock, change = single(inputs, times[0])
            return clock[None], change[None]
        if xp is np:
            rows = [single(_take(inputs, slice(i, i + 1)), times[i]) for i in range(count)]
            return np.stack([clock for clock, _ in rows]), np.stack([change for _, change in rows])
        from jax import lax

        def row(args: Any) -> Any:
            given, at = args
            return single(_take(given, None), at)

        return lax.map(row, (inputs, times))
    numbers = [
        xp.broadcast_to(v[:, None], times.shape).reshape(-1) for v in (*inputs[0], *inputs[1:])
    ]
    clock, change = _in_turn(paradigm, freeze, numbers, times.reshape(-1))
    return clock.reshape(times.shape), change.reshape(times.shape)


def _elsewhere() -> bool:
    """Whether JAX computes on an accelerator, where everything side by side is quickest."""
    import jax

    return jax.default_backend() != "cpu"


def _in_turn(
    paradigm: Paradigm, freeze: str | None, numbers: list[Any], times: Any
) -> tuple[Any, Any]:
    """Lanes of like length side by side, a cacheful at a time.

    Lanes marched together take as many panels as the longest of them, so they are sorted by how
    far they go (time in units of the onset's) before they are taken in turn.
    """
    xp, total = namespace(times, numbers[4]), times.shape[0]

    def some(numbers: Any, times: Any) -> Any:
        return _lanes(paradigm, freeze, (Reduced(*numbers[:4]), *numbers[4:]), times)

    size = LANES if xp is np or not _elsewhere() else 1 << 16
    if total <= size:
        return some(numbers, times)
    ratio, classes, _, speed, _, nu0 = numbers
    reach = times * speed / (ratio * classes) * xp.exp(xp.minimum(nu0, 0.0))
    order = xp.argsort(reach)
    turns = -(-total // size)
    places = xp.concatenate([order, xp.broadcast_to(order[-1:], (turns * size - total,))])
    places = places.reshape(turns, size)
    if xp is np:
        parts = [some([v[p] for v in numbers], times[p]) for p in places]
        found = tuple(np.concatenate(v) for v in zip(*parts, strict=True))
    else:
        from jax import lax

        found = lax.map(lambda args: some(*args), ([v[places] for v in numbers], times[places]))
    results = []
    for values in found:
        values = values.reshape(-1)[:total]
        if xp is np:
            back = np.empty(total)
            back[order] = values
        else:
            back = xp.zeros(total).at[order].set(values, unique_indices=True)
        results.append(back)
    return tuple(results)


@cache
def _differentiable() -> Callable[..., tuple[Any, Any]]:
    """``_states`` in JAX: with derivatives, and one more batch axis joined to its own."""
    import jax
    import jax.numpy as jnp
    from jax.custom_batching import custom_vmap

    @lru_cache(maxsize=256)
    def batched(paradigm: Paradigm, freeze: str | None) -> Callable[..., tuple[Any, Any]]:
        function = custom_vmap(partial(_states, paradigm, freeze))

        @function.def_vmap
        def _(size: int, has: Any, inputs: Any, times: Any) -> tuple[Any, Any]:
            def joined(a: Any, has: bool) -> Any:
                full = a if has else jnp.broadcast_to(a, (size, *a.shape))
                return full.reshape(size * full.shape[1], *full.shape[2:])

            args = jax.tree.map(joined, (inputs, times), tuple(has))
            found = function(*args)
            return tuple(v.reshape(size, -1, v.shape[-1]) for v in found), (True, True)

        return function

    def states(paradigm: Paradigm, freeze: str | None, inputs: Any, times: Any) -> Any:
        return batched(paradigm, freeze)(inputs, times)

    states = jax.custom_jvp(states, nondiff_argnums=(0, 1))

    @states.defjvp
    def _(paradigm: Paradigm, freeze: str | None, primals: Any, tangents: Any) -> Any:
        """t(clock; inputs) = time, differentiated implicitly: panels stay where they are."""
        found = states(paradigm, freeze, *primals)
        row = partial(_row_tangents, paradigm, freeze)
        return found, jax.vmap(row)(*primals, *tangents, *found)

    return states


def _row_tangents(
    paradigm: Paradigm,
    freeze: str | None,
    inputs: Any,
    times: Any,
    inputs_dot: Any,
    times_dot: Any,
    clock: Any,
    change: Any,
) -> tuple[Any, Any]:
    """Tangents of clock and companion of one trajectory at its times, shape (n,)."""
    import jax
    import jax.numpy as jnp

    edges = _edges(paradigm, freeze, jax.lax.stop_gradient(inputs), jax.lax.stop_gradient(times))

    def at_clock(given: Inputs) -> tuple[Any, Any]:
        return quadrature.along(_track(paradigm, freeze, given), edges, clock)

    _, (time_dot, change_dot) = jax.jvp(at_clock, (inputs,), (inputs_dot,))
    track = _track(paradigm, freeze, inputs)
    weight = track.weight * jnp.exp(change)[None]
    velocity = 1 / track.pace(clock[None], weight)[0]
    clock_dot = jnp.where(velocity == 0, 0.0, (times_dot - time_dot) * velocity)
    moved = clock_dot * track.drive(clock[None])[0] / (1 + weight[0])
    return clock_dot, change_dot + moved


def _edges(paradigm: Paradigm, freeze: str | None, inputs: Inputs, times: Any) -> Any:
    """Edges of the panels of a careful march of one trajectory, 0 first, the last repeated."""
    xp = namespace(times, inputs[1])
    last = xp.max(times)[None, None]
    last = xp.where(last > 0, last, 1.0)
    first = xp.min(xp.where(times > 0, times, last[0, 0]))[None, None]
    track = _track(paradigm, freeze, inputs)
    edges = quadrature.march(track, first, last, careful=True, edges=True).edges[:, 0]
    return xp.concatenate([xp.zeros(1), edges])


def _trajectories(problem: Problem) -> tuple[Any, Any]:
    """mu and nu of a problem, part by part of the schedule."""
    xp = problem.namespace
    if 0 in problem.shape:
        return xp.zeros(problem.shape), xp.zeros(problem.shape)

    def flat(values: Any) -> Any:
        return xp.broadcast_to(xp.asarray(values, np.float64), problem.batch_shape).reshape(-1)

    reduced = Reduced(*(flat(v) for v in reduce_setting(problem.setting)))
    mu0, nu0 = flat(problem.mu0), flat(problem.nu0)
    times = xp.reshape(xp.asarray(problem.times, np.float64), (1, -1))
    times = xp.broadcast_to(times, (mu0.shape[0], times.shape[1]))
    states = _states if xp is np else _differentiable()
    at_mu, at_nu = mu0[:, None] + 0 * times, nu0[:, None] + 0 * times
    begin = xp.zeros(())
    for index, paradigm in enumerate(problem.paradigms):
        # from t = 0 on every time counts, so that the derivative at 0 is the velocity there
        here = times if index == 0 else xp.maximum(times - begin, 0.0)
        final = index == len(problem.paradigms) - 1
        if not final:
            length = problem.ends[index] - begin
            end = xp.broadcast_to(length, (mu0.shape[0], 1))
            here = xp.concatenate([xp.minimum(here, length), end], axis=1)
        clock, change = states(paradigm, problem.freeze, (reduced, mu0, nu0), here)
        if problem.freeze == "classifier":
            new_mu, new_nu = mu0[:, None] + 0 * here, nu0[:, None] + clock
        else:
            new_mu, new_nu = mu0[:, None] + clock, nu0[:, None] + change
        later = times >= begin if index == 0 else times > begin
        count = times.shape[1]
        at_mu = xp.where(later, new_mu[:, :count], at_mu)
        at_nu = xp.where(later, new_nu[:, :count], at_nu)
        if not final:
            mu0, nu0, begin = new_mu[:, -1], new_nu[:, -1], problem.ends[index]
    return at_mu.reshape(problem.shape), at_nu.reshape(problem.shape)


@cache
def _compiled() -> Callable[[Problem], tuple[Any, Any]]:
    import jax

    return jax.jit(lambda problem: _trajectories(problem.cast()))


def _computed(problem: Problem) -> tuple[Any, Any]:
    if traced(problem) or int(np.prod(problem.shape)) > PLAIN:
        import jax

        with jax.enable_x64(True):
            return _compiled()(problem)
    with quiet():
        return _trajectories(problem)


def solve(
    paradigm: "str | Paradigm | Schedule",
    setting: Setting,
    times: Any,
    initial: tuple[Any, Any] = (0.0, 0.0),
    freeze: str | None = None,
) -> Trajectory:
    """The closed-form trajectory of gradient flow at the given times.

    mu and nu to a relative 1e-12 or better for 2 <= m, C <= 1e6, 1e-6 <= t <= 1e15 and starts
    within [-5, 20] (inside a JAX transformation, and after a switch: times 1 + |d mu/d log t|/1000,
    which matters only just after the onset of a setting with m above 1000; elsewhere such points
    are computed with 34 digits). The cost grows with the number of times, hardly with the horizon.
    Pure: may be jitted, vmapped and differentiated (any order, forward and reverse) in times,
    setting, start and switch times; a sweep compiles once, and neighbouring numbers of times up to
    1024 share their programs (numeric/lengths.py).

    Args:
        paradigm: name, Paradigm, or Schedule of them.
        setting: Setting; entries may be arrays of one broadcastable shape, a sweep.
        times: continuous time t = step x learning rate, at least 0, any shape and order.
        initial: (mu0, nu0), numbers from -300 to 300 or arrays that broadcast with the setting's.
        freeze: None; "focus" holds alpha at its start; "classifier" holds mu.

    Returns:
        Trajectory with arrays of shape (*sweep, *times), float64.

    Raises:
        SettingError, ParadigmError: an argument is not allowed; the message names it.
        NoFirstIntegral: the paradigm has none (and no part is frozen); simulate still works.
        IntegrationFailed: a trajectory could not be computed (outside JAX transformations; inside,
            its entries are NaN).
        PrecisionError: called inside a JAX transformation with 64-bit mode off.

    Source: symbolic/solution.py and symbolic/frozen.py; accuracy and cost, benchmarks/.
    """
    problem = normalise(paradigm, setting, times, initial, freeze)
    trajectory = evaluate(problem)
    if traced(trajectory.mu) or len(problem.paradigms) > 1 or problem.freeze is not None:
        return trajectory
    return _refined(problem, trajectory)


@float64(called="solve")
def evaluate(problem: Problem) -> Trajectory:
    """The trajectory of a problem in float64 alone: ``solve`` without its second look.

    Raises:
        NoFirstIntegral, IntegrationFailed, PrecisionError: as ``solve``.
    """
    for part in problem.paradigms:
        _formulas(part, problem.freeze)
    at_mu, at_nu = _computed(problem)
    trajectory = Trajectory(
        times=problem.batched_times(),
        mu=at_mu,
        nu=at_nu,
        setting=problem.setting,
        stage=problem.stage(),
        paradigms=problem.paradigms,
        method="closed form",
    )
    if traced(at_mu):
        return trajectory
    if np.isnan(at_mu).any() or np.isnan(at_nu).any():
        raise IntegrationFailed(
            f"no closed-form trajectory for {problem.name} in {problem.setting.as_dict()}: "
            f"the panels do not reach every time; use simulate, or shorter times"
        )
    return trajectory


def _sensitivity(trajectory: Trajectory) -> Any:
    """The larger of |d mu/d log t| and |d nu/d log t|, by which a relative error of t(mu) grows."""
    rates = velocities(trajectory)[0]
    xp = namespace(trajectory.mu)
    return trajectory.times * xp.maximum(*(xp.abs(v) for v in rates))


@float64(called="solve")
def _refined(problem: Problem, trajectory: Trajectory) -> Trajectory:
    """Sensitive points once more with 34 digits; rarely any."""
    chosen = np.asarray(_sensitivity(concrete(trajectory))) > refine.SENSITIVE
    if not chosen.any():
        return trajectory
    shape, lanes = problem.shape, (int(np.prod(problem.batch_shape)), -1)
    start = [np.broadcast_to(v, problem.batch_shape).ravel() for v in (problem.mu0, problem.nu0)]
    numbers = {
        name: np.broadcast_to(v, problem.batch_shape).ravel()
        for name, v in problem.setting.numbers().items()
    }
    times, at_mu, at_nu, chosen = (
        np.array(a).reshape(lanes) for a in (trajectory.times, trajectory.mu, trajectory.nu, chosen)
    )
    for lane in np.flatnonzero(chosen.any(axis=1)):
        setting = replace(problem.setting, **{name: v[lane] for name, v in numbers.items()})
        mu0, nu0 = (float(v[lane]) for v in start)
        here, picked = times[lane], chosen[lane]
        edges = _edges_of(problem.paradigms[0], setting, (mu0, nu0), here[picked].max())
        found = refine.refine(
            problem.paradigms[0],
            setting,
            (mu0, nu0),
            here[picked],
            at_mu[lane, picked] - mu0,
            np.asarray(edges),
        )
        new_mu, new_nu = np.transpose(found)
        # at an equilibrium the velocity is rounding, and time does not tell the clock
        near = np.abs(new_mu - at_mu[lane, picked]) <= 1e-6 * (1 + np.abs(new_mu))
        at_mu[lane, picked] = np.where(near, new_mu, at_mu[lane, picked])
        at_nu[lane, picked] = np.where(near, new_nu, at_nu[lane, picked])
    return replace(trajectory, mu=at_mu.reshape(shape), nu=at_nu.reshape(shape))


def _edges_of(
    paradigm: Paradigm, setting: Setting, start: tuple[float, float], last: float
) -> np.ndarray:
    mu0, nu0 = (np.asarray(v, np.float64) for v in start)
    with quiet():
        return _edges(paradigm, None, (reduce_setting(setting), mu0, nu0), np.asarray([last]))
