"""Where the clocks of trajectories stand at given times: what is integrated, how, derivatives.

The clock is the change of mu, or of nu where the classifier is frozen; its companion the change of
nu. ``states`` chooses between a march for each time and panels that many times share, falls back to
the careful march where the quick ways are not trusted, and in JAX supplies derivatives by the
implicit function theorem.
"""

from collections.abc import Callable
from functools import cache, lru_cache, partial
from importlib import import_module
from typing import Any

import numpy as np

from attnflow.numeric import dense, quadrature
from attnflow.numeric.lower import lower
from attnflow.numeric.namespace import namespace
from attnflow.numeric.quadrature import Track
from attnflow.numeric.trajectory import STATE, Reduced
from attnflow.symbolic.first_integral import derive_first_integral
from attnflow.symbolic.flow import derive_flow
from attnflow.symbolic.paradigm import Paradigm
from attnflow.symbols import C, mu, rho, tau

FEW = 24
"""Up to so many times of a trajectory each is marched to alone, side by side; more are read from
panels that they share."""

LANES = 256
"""Tracks marched side by side; more in turn, so that work fits the cache."""

Inputs = tuple[Reduced, Any, Any]
"""Reduced setting, mu0 and nu0 of trajectories, each entry of shape (trajectories,)."""


@lru_cache(maxsize=256)
def formulas(paradigm: Paradigm, freeze: str | None) -> tuple[Any, Any]:
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
        xp.reshape(v, (1, -1)) for v in (*inputs[0][:4], *inputs[1:])
    )
    slope, rate = formulas(paradigm, freeze)
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


def settled(track: Track, times: Any) -> tuple[Any, Any]:
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
        clock, change = settled(track, later)
    else:
        end = quadrature.march(track, later, later, careful=False)
        clock, change, good = quadrature.arrive(track, end, later)
        clock, change = _corrected(
            good & xp.isfinite(clock + change),
            (clock, change),
            lambda: settled(track, later),
            lambda which: settled(_track(paradigm, freeze, _take(inputs, which)), later[:, which]),
        )
    zero = xp.zeros(())
    return xp.where(times > 0, clock[0], zero), xp.where(times > 0, change[0], zero)


def _take(inputs: Inputs, index: Any) -> Inputs:
    """Some of the trajectories."""
    return Reduced(*(v[index] for v in inputs[0][:4])), inputs[1][index], inputs[2][index]


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
    lax: Any = None if xp is np else import_module("jax.lax")
    ordered = xp.all(times[1:] >= times[:-1])
    if xp is np:
        order = None if ordered else np.argsort(times)
        ascending = times if ordered else times[order]
    else:
        # sorting would take several times as long as everything else
        places = xp.arange(times.shape[0])
        order = lax.cond(ordered, lambda: places, lambda: xp.argsort(times))
        ascending = lax.cond(ordered, lambda: times, lambda: times[order])
    last = ascending[-1:]
    last = xp.where(last > 0, last, 1.0)[None]
    first = xp.min(xp.where(times > 0, times, last[0]))[None, None]
    track = _track(paradigm, freeze, inputs)

    def careful() -> tuple[Any, Any]:
        end = quadrature.march(track, first, last, careful=True, edges=True)
        edges = xp.concatenate([xp.zeros(1), end.edges[:, 0]])
        table = dense.tabulate(track, edges)
        found = dense.read(table, ascending)
        beyond = (ascending > end.time[0]) & ~end.arrived[0]
        rest = quadrature.at_rest(track, end, (end.clock, end.force))
        return tuple(xp.where(beyond, b[0], a) for a, b in zip(found, rest, strict=True))

    def planned() -> tuple[Any, Any]:
        edges, count = dense.plan(track, first, last)

        def read(panels: int) -> tuple[Any, Any, Any]:
            table = dense.tabulate(track, edges(panels))
            good = table.good & (table.ends[-1] >= ascending[-1])
            return (*dense.read(table, ascending), good)

        if xp is np:
            for panels in (count, 2 * count) if count <= dense.ROOMS[-1] else ():
                *found, good = read(int(panels))
                if good:
                    return found[0], found[1]
            return careful()

        def lost() -> tuple[Any, Any, Any]:
            return ascending, ascending, xp.zeros((), bool)

        rooms = [partial(read, panels) for panels in dense.ROOMS]
        place = xp.sum(~(count <= xp.asarray(dense.ROOMS, float)))  # NaN comes last
        *found, good = lax.switch(place, [*rooms, lost])
        return lax.cond(good, lambda: tuple(found), careful)

    clock, change = careful() if freeze else planned()
    moving = ascending > 0
    clock, change = (xp.where(moving, v, 0.0) for v in (clock, change))
    if xp is np:
        if order is None:
            return clock, change
        back = np.argsort(order)
        return clock[back], change[back]

    def restored() -> tuple[Any, Any]:
        back = xp.argsort(order)
        return clock[back], change[back]

    return lax.cond(ordered, lambda: (clock, change), restored)


def states(paradigm: Paradigm, freeze: str | None, inputs: Inputs, times: Any) -> tuple[Any, Any]:
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
        xp.broadcast_to(v[:, None], times.shape).reshape(-1) for v in (*inputs[0][:4], *inputs[1:])
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
def differentiable_states() -> Callable[..., tuple[Any, Any]]:
    """``states`` in JAX: with derivatives, and one more batch axis joined to its own."""
    import jax
    import jax.numpy as jnp
    from jax.custom_batching import custom_vmap

    @lru_cache(maxsize=256)
    def batched(paradigm: Paradigm, freeze: str | None) -> Callable[..., tuple[Any, Any]]:
        function = custom_vmap(partial(states, paradigm, freeze))

        @function.def_vmap
        def _(size: int, has: Any, inputs: Any, times: Any) -> tuple[Any, Any]:
            def joined(a: Any, has: bool) -> Any:
                full = a if has else jnp.broadcast_to(a, (size, *a.shape))
                return full.reshape(size * full.shape[1], *full.shape[2:])

            args = jax.tree.map(joined, (inputs, times), tuple(has))
            found = function(*args)
            return tuple(v.reshape(size, -1, v.shape[-1]) for v in found), (True, True)

        return function

    def plain(paradigm: Paradigm, freeze: str | None, inputs: Any, times: Any) -> Any:
        return batched(paradigm, freeze)(inputs, times)

    function = jax.custom_jvp(plain, nondiff_argnums=(0, 1))

    @function.defjvp
    def _(paradigm: Paradigm, freeze: str | None, primals: Any, tangents: Any) -> Any:
        """t(clock; inputs) = time, differentiated implicitly: panels stay where they are."""
        found = function(paradigm, freeze, *primals)
        row = partial(_row_tangents, paradigm, freeze)
        return found, jax.vmap(row)(primals, tangents, found)

    return function


def _row_tangents(
    paradigm: Paradigm,
    freeze: str | None,
    primals: tuple[Any, Any],
    tangents: tuple[Any, Any],
    found: tuple[Any, Any],
) -> tuple[Any, Any]:
    """Tangents of clock and companion of one trajectory at its times, shape (n,).

    ``primals`` are inputs and times, ``found`` clock and companion at these times.
    """
    import jax
    import jax.numpy as jnp

    (inputs, times), (inputs_dot, times_dot), (clock, change) = primals, tangents, found
    edges = edges_of(paradigm, freeze, jax.lax.stop_gradient(inputs), jax.lax.stop_gradient(times))

    def at_clock(given: Inputs) -> tuple[Any, Any]:
        return dense.along(_track(paradigm, freeze, given), edges, clock)

    _, (time_dot, change_dot) = jax.jvp(at_clock, (inputs,), (inputs_dot,))
    track = _track(paradigm, freeze, inputs)
    weight = track.weight * jnp.exp(change)[None]
    velocity = 1 / track.pace(clock[None], weight)[0]
    clock_dot = jnp.where(velocity == 0, 0.0, (times_dot - time_dot) * velocity)
    moved = clock_dot * track.drive(clock[None])[0] / (1 + weight[0])
    return clock_dot, change_dot + moved


def edges_of(paradigm: Paradigm, freeze: str | None, inputs: Inputs, times: Any) -> Any:
    """Edges of the panels of a careful march of one trajectory, 0 first, the last repeated."""
    xp = namespace(times, inputs[1])
    last = xp.max(times)[None, None]
    last = xp.where(last > 0, last, 1.0)
    first = xp.min(xp.where(times > 0, times, last[0, 0]))[None, None]
    track = _track(paradigm, freeze, inputs)
    edges = quadrature.march(track, first, last, careful=True, edges=True).edges[:, 0]
    return xp.concatenate([xp.zeros(1), edges])
