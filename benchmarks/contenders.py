"""The ways to compute a trajectory that are compared, each as a good user would write it.

diffrax: jitted, parameters and tolerances traced (one compilation serves all), the state a pair of
scalars (twice as fast here as one array of two), forward mode only, no exceptions on the device, an
absolute tolerance small enough for the first steps, where nu is tiny. SciPy: the right-hand side in
Python's ``math`` (faster than NumPy on scalars), with the Jacobian where a method uses it.
heyoka (optional: the extra ``benchmark``): a Taylor method compiled by LLVM, its tolerance the
rounding of float64; settings in batches as wide as the processor's vectors, shared among threads.
All integrate the flow in the stable form that attnflow derives, save that diffrax gets hard
attention in a spelling by hand, which XLA compiles to a loop up to three times as fast. Euler: the
paper's own loop, in Python as published, and compiled.
"""

import copy
import math
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from importlib import import_module
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import sympy as sp
from jax import lax
from reference import textbook
from scipy.integrate import solve_ivp

import attnflow as af
from attnflow.numeric.trajectory import focus_weights, lowered_velocity
from attnflow.symbolic.algebra.float_form import stable
from attnflow.symbolic.catalogue import paradigm as find
from attnflow.symbolic.flow import derive_flow
from attnflow.symbols import B, C, alpha, attention, complement, inattention, mu, nu, rho, tau

TINY = 1e-20
HEYOKA = 1e-15
SOLVERS = {
    "Tsit5": diffrax.Tsit5(),
    "Dopri8": diffrax.Dopri8(),
    "Kvaerno5": diffrax.Kvaerno5(),
}
CHUNK = 1000  # settings that diffrax steps together on a CPU: the best of 64 to 10,000


def _velocity(paradigm: str) -> Callable[..., Any]:
    """(mu', nu') of (alpha, 1 - alpha, mu, C, rho, tau): of the spellings, diffrax's fastest."""
    if paradigm != "hard":
        return lowered_velocity(find(paradigm))

    def by_hand(weight: Any, rest: Any, at: Any, classes: Any, _: Any, __: Any) -> Any:
        gain = at - jnp.log1p(jnp.expm1(at) / classes)
        return weight / (jnp.exp(at) + classes - 1), weight * rest * gain / classes

    return by_hand


def closed_form(paradigm: str) -> Callable[..., Any]:
    """(segments, classes, times) -> mu, nu."""

    def run(segments: Any, classes: Any, times: Any) -> Any:
        found = af.solve(paradigm, af.Setting(segments, classes), times)
        return found.mu, found.nu

    return run


def plain_call(paradigm: str, segments: Any, classes: Any, times: Any) -> Any:
    """The closed form as called from plain Python: arguments checked, a Trajectory returned."""
    found = af.solve(paradigm, af.Setting(int(segments), int(classes)), times)
    return found.mu, found.nu


def closed_form_batch(paradigm: str) -> Callable[..., Any]:
    """The same for arrays of settings with one time each."""
    return jax.vmap(closed_form(paradigm))


def on_all_cores(run: Callable[..., Any], *args: np.ndarray) -> Callable[[], Any]:
    """A call of a compiled batch that gives each core an equal share of it, in threads."""
    cores = len(os.sched_getaffinity(0))
    shares = [[jnp.asarray(a[i::cores]) for a in args] for i in range(cores)]

    def one(share: list[Any]) -> Any:
        with jax.enable_x64(True):  # which is a thread's own
            return jax.block_until_ready(run(*share))

    def call() -> tuple[np.ndarray, ...]:
        with ThreadPoolExecutor(cores) as pool:
            parts = list(pool.map(one, shares))
        found = tuple(np.empty(len(args[0])) for _ in parts[0])
        for i, part in enumerate(parts):
            for whole, values in zip(found, part, strict=True):
                whole[i::cores] = values
        return found

    return call


def _integrate(
    paradigm: str,
    solver: str,
    saveat: diffrax.SaveAt,
    end: Any,
    setting: Any,
    tolerance: Any,
    *,
    log_time: bool = False,
    exact: Any = None,
) -> diffrax.Solution:
    velocity = _velocity(paradigm)
    segments, classes = setting
    scale = segments * classes  # mu moves by 1/scale in a unit of time at the start

    def field(clock: Any, state: Any, _: Any) -> Any:
        weights = focus_weights(state[1], segments - 1)
        rates = velocity(*weights, state[0], classes, 1.0, 1.0)
        if log_time:
            rates = tuple(rate * scale * jnp.exp(clock) for rate in rates)
        return rates

    # Newton's method inside the implicit solver cannot resolve TINY
    atol = tolerance * 1e-6 if solver.startswith("Kvaerno") else TINY
    controller: Any = diffrax.PIDController(rtol=tolerance, atol=atol)
    if exact is not None:
        controller = diffrax.ClipStepSizeController(controller, step_ts=exact)
    zero = jnp.zeros(())
    return diffrax.diffeqsolve(
        diffrax.ODETerm(field),
        SOLVERS[solver],
        t0=0.0,
        t1=end,
        dt0=None,
        y0=(zero, zero),
        saveat=saveat,
        stepsize_controller=controller,
        max_steps=1_000_000,
        throw=False,
        adjoint=diffrax.ForwardMode(),
    )


def diffrax_dense(
    paradigm: str, solver: str, *, log_time: bool = False, clip: bool = False
) -> Callable[..., Any]:
    """(segments, classes, ascending times, tolerance) -> mu, nu, steps; interpolates or clips."""

    def run(segments: Any, classes: Any, times: Any, tolerance: Any) -> Any:
        clock = jnp.log1p(times / (segments * classes)) if log_time else times
        found = _integrate(
            paradigm,
            solver,
            diffrax.SaveAt(ts=clock),
            clock[-1],
            (segments, classes),
            tolerance,
            log_time=log_time,
            exact=clock if clip else None,
        )
        return *found.ys, found.stats["num_steps"]

    return run


def diffrax_batch(paradigm: str, solver: str) -> Callable[..., Any]:
    """(segments, classes, times, tolerance) -> mu, nu of n settings at one time each.

    Settings stepped together take as many steps as the slowest of them: sorted by how far they go,
    and on a CPU by chunks that fit the cache.
    """

    def one(setting: Any, tolerance: Any) -> Any:
        segments, classes, end = setting
        found = _integrate(
            paradigm, solver, diffrax.SaveAt(t1=True), end, (segments, classes), tolerance
        )
        return tuple(value[0] for value in found.ys)

    def run(segments: Any, classes: Any, times: Any, tolerance: Any) -> Any:
        order = jnp.argsort(times / (segments * classes))
        settings = tuple(a[order] for a in (segments, classes, times))
        size = CHUNK if jax.default_backend() == "cpu" else len(times)
        found = lax.map(lambda s: one(s, tolerance), settings, batch_size=min(size, len(times)))
        back = jnp.argsort(order)
        return tuple(value[back] for value in found)

    return run


@lru_cache
def _scalar_flow(paradigm: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The flow and its Jacobian as plain Python functions of (nu, mu, B, C)."""
    flow = derive_flow(find(paradigm))
    weights = {alpha: attention, complement: inattention, rho: 1, tau: 1}
    rates = sp.Matrix([stable(r).subs(weights) for r in (flow.mu_dot, flow.nu_dot)])
    table = {
        "log1p": math.log1p,
        "expm1": math.expm1,
        "log_quotient": lambda n, d, gap: math.log1p(gap / d) if gap < d else math.log(n / d),
    }
    modules = [table, "math"]
    symbols = (mu, nu, B, C)
    field = sp.lambdify(symbols, list(rates), modules, cse=True)
    jacobian = rates.jacobian([mu, nu]).tolist()
    return field, sp.lambdify(symbols, jacobian, modules, cse=True)


def scipy_dense(
    paradigm: str, method: str, segments: int, classes: int, times: np.ndarray, tolerance: float
) -> Callable[[], tuple[np.ndarray, np.ndarray]]:
    """A call of solve_ivp that gives mu and nu at ascending times."""
    rates, jacobian = _scalar_flow(paradigm)
    ratio, classes = float(segments - 1), float(classes)

    def field(_: float, state: np.ndarray) -> Any:
        at_mu, at_nu = state.tolist()
        return rates(at_mu, at_nu, ratio, classes)

    def slope(_: float, state: np.ndarray) -> Any:
        at_mu, at_nu = state.tolist()
        return np.array(jacobian(at_mu, at_nu, ratio, classes))

    options = {} if method == "DOP853" else {"jac": slope}
    span = (0.0, float(times[-1]))

    def call() -> tuple[np.ndarray, np.ndarray]:
        found = solve_ivp(
            field, span, (0.0, 0.0), method, times, rtol=tolerance, atol=TINY, **options
        )
        return found.y[0], found.y[1]

    return call


def heyoka_flow(paradigm: str, ratio: Any, classes: Any) -> list[tuple[Any, Any]]:
    """The flow as heyoka's expressions, in the stable form that attnflow derives."""
    hy = import_module("heyoka")
    flow = derive_flow(find(paradigm))
    weights = {alpha: attention, complement: inattention, rho: 1, tau: 1}
    rates = [stable(r).subs(weights) for r in (flow.mu_dot, flow.nu_dot)]
    rates = [r.xreplace({i: sp.Float(int(i)) for i in r.atoms(sp.Integer)}) for r in rates]
    table = {
        "exp": hy.exp,
        "log": hy.log,
        "log1p": lambda u: hy.log(1.0 + u),
        "expm1": lambda u: hy.exp(u) - 1.0,
        "log_quotient": lambda n, d, gap: hy.log(n / d),
    }
    variables = hy.make_vars("mu", "nu")
    formulas = sp.lambdify((mu, nu, B, C), rates, [table], cse=True)(*variables, ratio, classes)
    return list(zip(variables, formulas, strict=True))


def heyoka_dense(
    paradigm: str, segments: int, classes: int, times: np.ndarray
) -> Callable[[], Any]:
    """A call that gives mu and nu at ascending times."""
    hy = import_module("heyoka")
    flow = heyoka_flow(paradigm, float(segments - 1), float(classes))
    integrator = hy.taylor_adaptive(flow, [0.0, 0.0], tol=HEYOKA)

    def call() -> tuple[np.ndarray, np.ndarray]:
        integrator.time = 0.0
        integrator.state[:] = 0.0
        return tuple(integrator.propagate_grid(times)[-1].T)

    return call


def heyoka_batch(paradigm: str) -> Callable[..., Any]:
    """(segments, classes, times) -> mu, nu of n settings, a vector of them at a time."""
    hy = import_module("heyoka")
    lanes = hy.recommended_simd_size()
    flow = heyoka_flow(paradigm, hy.par[0], hy.par[1])
    first = hy.taylor_adaptive_batch(flow, np.zeros((2, lanes)), tol=HEYOKA)
    threads = len(os.sched_getaffinity(0))

    def run(segments: np.ndarray, classes: np.ndarray, times: np.ndarray) -> Any:
        order = np.argsort(times / (segments * classes))
        places = np.concatenate([order, np.repeat(order[-1:], -len(order) % lanes)])
        found = np.empty((2, len(times)))

        def share(rows: np.ndarray) -> None:
            integrator = copy.deepcopy(first)
            for here in rows:
                integrator.set_time(0.0)
                integrator.state[:] = 0.0
                integrator.pars[0], integrator.pars[1] = segments[here] - 1, classes[here]
                integrator.propagate_until(times[here])
                found[:, here] = integrator.state

        rows = places.reshape(-1, lanes)
        shares = [rows[i::threads] for i in range(threads)]
        if threads == 1:
            share(rows)
        else:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(share, shares))
        return found

    return run


def euler_python(paradigm: str, segments: int, classes: int, dt: float, steps: int) -> float:
    """Seconds a step of the published loop, from a measured part."""
    begin = time.perf_counter()
    textbook.euler(paradigm, segments, classes, dt, steps)
    return (time.perf_counter() - begin) / steps


def euler_compiled(paradigm: str, every: int) -> Callable[..., Any]:
    """(segments, classes, dt, array as long as what is kept) -> mu, nu, each ``every``-th."""
    velocity = _velocity(paradigm)

    def run(segments: Any, classes: Any, dt: Any, kept: Any) -> Any:
        def step(_: Any, state: Any) -> Any:
            weights = focus_weights(state[1], segments - 1)
            rates = velocity(*weights, state[0], classes, 1.0, 1.0)
            return tuple(value + dt * rate for value, rate in zip(state, rates, strict=True))

        def stretch(state: Any, _: Any) -> Any:
            state = lax.fori_loop(0, every, step, state)
            return state, state

        zero = jnp.zeros(())
        return lax.scan(stretch, (zero, zero), kept)[1]

    return run
