"""What is measured: one trajectory, batches, growth, memory, and the first answer."""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from typing import Any

import contenders as ways
import jax
import jax.numpy as jnp
import numpy as np
from measure import Contender, alternate, compiled, timed
from reference import error, reference

EQUAL = 1e-12  # the error that "equal accuracy" means
LADDER = (1e-10, 1e-11, 3e-12, 1e-12, 3e-13, 1e-13, 3e-14, 1e-14, 3e-15, 1e-15, 3e-16)
SEGMENTS, CLASSES, HORIZON, POINTS = 100, 1000, 4e5, 4001
EULER_STEP = 1e-2
SAMPLE = 50


def _arrays(*values: Any) -> tuple[Any, ...]:
    return tuple(jnp.asarray(v, jnp.float64) for v in values)


def _bound(executable: Callable[..., Any], *args: Any) -> Callable[[], Any]:
    return lambda: executable(*args)


def loosest(errors: Callable[[float], float]) -> tuple[float, float] | None:
    """The first tolerance of the ladder that gives EQUAL or better, and the error it gives."""
    for tolerance in LADDER:
        found = errors(tolerance)
        if found <= EQUAL:
            return tolerance, found
    return None


def dense(paradigm: str, *, quick: bool = False, points: int = POINTS) -> list[dict[str, Any]]:
    """Every contender on one trajectory at (100, 1000), equally spaced times to 4e5."""
    times = np.linspace(0, HORIZON, points)
    count = 8 if quick else 30
    places = np.concatenate([np.linspace(1, points - 1, count), np.geomspace(1, points - 1, count)])
    places = np.unique(np.round(places).astype(int))
    truth = reference(paradigm, SEGMENTS, CLASSES, times[places])
    args = _arrays(float(SEGMENTS), float(CLASSES), times)

    def off(found: Sequence[Any]) -> float:
        return error(np.asarray(found[0])[places], np.asarray(found[1])[places], SEGMENTS, truth)

    run, cost = compiled(ways.closed_form(paradigm), *args)
    closed = Contender("closed form", _bound(run, *args), cost)
    entries = [closed, *_diffrax_dense(paradigm, args, off, quick)]
    for method in ("LSODA", "DOP853") if quick else ("LSODA", "DOP853", "Radau"):
        for tolerance in (1e-10,) if quick else (1e-10, 1e-13):
            call = ways.scipy_dense(paradigm, method, SEGMENTS, CLASSES, times, tolerance)
            entries.append(Contender(f"SciPy {method}", call, details={"tolerance": tolerance}))
    if not quick and find_spec("heyoka"):
        begin = time.perf_counter()
        call = ways.heyoka_dense(paradigm, SEGMENTS, CLASSES, times)
        details = {"compile_s": time.perf_counter() - begin, "trace_s": 0.0}
        entries.append(Contender("heyoka", call, {**details, "tolerance": ways.HEYOKA}))
    plain = (float(SEGMENTS), float(CLASSES), times)
    entries.insert(
        1, Contender("closed form, plain call", lambda: ways.plain_call(paradigm, *plain))
    )
    for entry in entries:
        seconds, found = timed(entry.call)
        entry.details = {
            "tolerance": None,
            "first_s": seconds,
            **entry.details,
            "error": off(found),
        }
    records = alternate(entries, rounds=10 if quick else 30, budget=0.3 if quick else 1.0)
    records += _euler(paradigm, records[0]["steady_s"], places, truth, quick, points)
    return [{"paradigm": paradigm, **record} for record in records]


def _diffrax_dense(
    paradigm: str, args: tuple[Any, ...], off: Callable[..., float], quick: bool
) -> Iterator[Contender]:
    for solver in ("Tsit5", "Dopri8") if quick else ("Tsit5", "Dopri8", "Kvaerno5"):
        run, cost = compiled(ways.diffrax_dense(paradigm, solver), *args, 1e-10)
        chosen = [(tolerance, False) for tolerance in (1e-10, 1e-13)]
        if solver != "Kvaerno5":
            best = loosest(lambda tolerance, run=run: off(run(*args, tolerance)))
            chosen += [(best[0], True)] if best else []
        for tolerance, equal in chosen:
            call = _bound(run, *args, tolerance)
            details = {**cost, "tolerance": tolerance, "equal": equal, "steps": int(call()[2])}
            yield Contender(f"diffrax {solver}", call, details)
    if not quick:
        way = ways.diffrax_dense(paradigm, "Dopri8", clip=True)
        run, cost = compiled(way, *args, 1e-10)
        call = _bound(run, *args, 1e-10)
        details = {**cost, "tolerance": 1e-10, "steps": int(call()[2])}
        yield Contender("diffrax Dopri8 onto each time", call, details)


def _euler(
    paradigm: str, base: float, places: Any, truth: Any, quick: bool, points: int
) -> list[dict[str, Any]]:
    total = round(HORIZON / EULER_STEP)
    kept = 40 if quick else points - 1
    every = total // (points - 1)
    args = (*_arrays(float(SEGMENTS), float(CLASSES), EULER_STEP), jnp.arange(kept))
    run, cost = compiled(ways.euler_compiled(paradigm, every), *args)
    seconds, (mu, nu) = timed(_bound(run, *args))
    if kept == points - 1:
        off = error(np.asarray(mu)[places - 1], np.asarray(nu)[places - 1], SEGMENTS, truth)
    else:
        off = None
    measured = 5_000 if quick else 20_000
    seconds *= (points - 1) / kept
    loop = ways.euler_python(paradigm, SEGMENTS, CLASSES, EULER_STEP, measured) * total
    common = {"tolerance": None, "error": off, "runs": 1, "steps": total}
    return [
        {
            **common,
            "name": "Euler, dt = 0.01, Python loop",
            "steady_s": loop,
            "ratio": loop / base,
            "measured_steps": measured,
        },
        {
            **common,
            "name": "Euler, dt = 0.01, compiled",
            **cost,
            "steady_s": seconds,
            "ratio": seconds / base,
            "measured_steps": kept * every,
        },
    ]


def draw(size: int, seed: int = 2) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Settings with m and C log-uniform to 1e6, and a time log-uniform in 1e-2 mC .. 1e2 mC."""
    generator = np.random.default_rng(seed)
    unit = generator.uniform(size=(size, 3))
    low = np.log10(2)
    segments, classes = (np.floor(10 ** (low + (6 - low) * unit[:, i])) for i in (0, 1))
    return segments, classes, segments * classes * 10 ** (4 * unit[:, 2] - 2)


def batch(
    paradigm: str,
    sizes: Sequence[int] = (100, 10_000),
    million: bool = True,
    solvers: Sequence[str] = ("Dopri8", "Tsit5"),
) -> list[dict[str, Any]]:
    """Random settings with one time each; errors on the first 50 of them."""
    segments, classes, times = draw(max(sizes))
    sample = slice(0, SAMPLE)
    truth = reference(paradigm, segments[sample], classes[sample], times[sample])

    def off(found: Sequence[Any]) -> float:
        return error(*(np.asarray(a)[sample] for a in (*found[:2], segments)), truth)

    records = []
    tolerances: dict[str, tuple[float, float]] = {}
    runs = {}
    for size in sizes:
        args = _arrays(segments[:size], classes[:size], times[:size])
        run, cost = compiled(ways.closed_form_batch(paradigm), *args)
        call = _bound(run, *args)
        details = {**cost, "size": size, "tolerance": None, "error": off(call())}
        entries = [Contender("closed form", call, details)]
        if len(os.sched_getaffinity(0)) > 1:
            # one program of XLA's keeps to one core in its loops; two of them do not
            shared = jax.jit(ways.closed_form_batch(paradigm))
            call = ways.on_all_cores(shared, *(np.asarray(a) for a in args))
            details = {"size": size, "tolerance": None, "error": off(call())}
            entries.append(Contender("closed form, a thread a core", call, details))
        for solver in solvers:
            run, cost = compiled(ways.diffrax_batch(paradigm, solver), *args, 1e-10)
            runs[solver] = run
            if solver not in tolerances:
                best = loosest(lambda tolerance, run=run, args=args: off(run(*args, tolerance)))
                if best is None:
                    raise SystemExit(f"diffrax {solver} does not reach {EQUAL} for {paradigm}")
                tolerances[solver] = best
            call = _bound(run, *args, tolerances[solver][0])
            tolerance = tolerances[solver][0]
            details = {**cost, "size": size, "tolerance": tolerance, "error": off(call())}
            entries.append(Contender(f"diffrax {solver}", call, details))
        if find_spec("heyoka"):
            run, numbers = ways.heyoka_batch(paradigm), [np.asarray(a) for a in args]
            call = _bound(run, *numbers)
            details = {"size": size, "tolerance": ways.HEYOKA, "error": off(call())}
            entries.append(Contender("heyoka", call, details))
        records += alternate(entries, rounds=7, budget=1.5)
    if million:
        records += _million(paradigm, max(sizes), tolerances, runs, off)
    for record in records:
        record.setdefault("extrapolated", False)
        record["rate"] = record["size"] / record["steady_s"]
    return [{"paradigm": paradigm, **record} for record in records]


def _million(
    paradigm: str, part: int, tolerances: Any, runs: Any, off: Callable[..., float]
) -> Iterator[dict[str, Any]]:
    """1e6 settings: the closed form whole, diffrax on evenly chosen chunks of them, sorted."""
    size = 1_000_000
    segments, classes, times = draw(size)
    args = _arrays(segments, classes, times)
    run, cost = compiled(ways.closed_form_batch(paradigm), *args, call=False)
    seconds, found = timed(_bound(run, *args))
    base = {
        "name": "closed form",
        "size": size,
        "tolerance": None,
        "error": off(found),
        **cost,
        "steady_s": seconds,
        "runs": 1,
        "ratio": 1.0,
    }
    yield base
    order = np.argsort(times / (segments * classes))
    chunks = order.reshape(-1, ways.CHUNK)
    stride = size // part
    here = chunks[stride // 2 :: stride].ravel()
    some = _arrays(segments[here], classes[here], times[here])
    for solver, (tolerance, found_error) in tolerances.items():
        call = _bound(runs[solver], *some, tolerance)
        timed(call)
        seconds = timed(call)[0] * size / part
        yield {
            "name": f"diffrax {solver}",
            "size": size,
            "tolerance": tolerance,
            "error": found_error,
            "steady_s": seconds,
            "runs": 1,
            "ratio": seconds / base["steady_s"],
            "extrapolated": True,
            "measured_settings": part,
        }


def horizon(
    paradigm: str, horizons: Sequence[float] = (1e3, 1e6, 1e9, 1e12, 1e15)
) -> list[dict[str, Any]]:
    """Cost against horizon: 200 times from 1 to the horizon, equally spaced in the logarithm."""
    count, tolerance = 200, 1e-11
    setting = _arrays(float(SEGMENTS), float(CLASSES))
    shape = jnp.ones(count)
    made = {"closed form": (*compiled(ways.closed_form(paradigm), *setting, shape.cumsum()), ())}
    for name, log_time in (("linear time", False), ("log time", True)):
        way = ways.diffrax_dense(paradigm, "Dopri8", log_time=log_time, clip=True)
        parts = compiled(way, *setting, shape.cumsum(), tolerance)
        made[f"diffrax Dopri8, {name}"] = (*parts, (tolerance,))
    records = []
    for end in horizons:
        times = np.geomspace(1.0, end, count)
        places = np.linspace(0, count - 1, 6).astype(int)
        truth = reference(paradigm, SEGMENTS, CLASSES, times[places])
        entries = []
        for name, (run, cost, extra) in made.items():
            call = _bound(run, *setting, jnp.asarray(times), *extra)
            found = call()
            details = {
                **cost,
                "horizon": end,
                "tolerance": extra[0] if extra else None,
                "steps": int(found[2]) if extra else None,
                "error": error(*(np.asarray(v)[places] for v in found[:2]), SEGMENTS, truth),
            }
            entries.append(Contender(name, call, details))
        records += alternate(entries, rounds=15, budget=0.3)
    return [{"paradigm": paradigm, **record} for record in records]


def growth(paradigm: str, counts: Sequence[int] = (400, 4001, 100_000, 1_000_000)) -> list[Any]:
    """Cost against the number of times of one trajectory."""
    records = []
    for count in counts:
        times = np.linspace(0, HORIZON, count)
        args = _arrays(float(SEGMENTS), float(CLASSES), times)
        run, cost = compiled(ways.closed_form(paradigm), *args)
        plain = (paradigm, float(SEGMENTS), float(CLASSES), times)
        entries = [
            Contender("closed form", _bound(run, *args), cost),
            Contender("closed form, plain call", _bound(ways.plain_call, *plain)),
        ]
        if find_spec("heyoka"):
            call = ways.heyoka_dense(paradigm, SEGMENTS, CLASSES, times)
            entries.append(Contender("heyoka", call))
        for record in alternate(entries, rounds=15, budget=0.5):
            records.append({"paradigm": paradigm, "times": count, **record})
    return records


FIRST = {
    "closed form, plain call": """
import numpy as np, attnflow as af
{many}
print(af.solve("soft", af.Setting(100, 1000), np.linspace(0, 4e5, 4001)).mu[-1])
""",
    "closed form, compiled": """
import jax, numpy as np, attnflow as af
jax.config.update("jax_enable_x64", True)
run = jax.jit(lambda m, times: af.solve("soft", af.Setting(m, 1000), times).mu)
{many}
print(run(100.0, np.linspace(0, 4e5, 4001))[-1])
""",
    "simulation (diffrax)": """
import numpy as np, attnflow as af
{many}
print(af.simulate("soft", af.Setting(100, 1000), np.linspace(0, 4e5, 4001)).mu[-1])
""",
    "heyoka": """
import numpy as np, contenders as ways
{many}
print(ways.heyoka_dense("soft", 100, 1000, np.linspace(0, 4e5, 4001))()[0][-1])
""",
}
"""Scripts from the start of a process to the last of 4001 values."""

LENGTHS = """
for count in range(1, 301):
    af.solve("soft", af.Setting(100, 1000), np.linspace(0, 4e5, count)).loss
"""


def first_answer() -> list[dict[str, Any]]:
    """CPU seconds and memory of fresh processes, one of which solves for 300 lengths of times."""
    records = []
    scripts = {name: text.format(many="") for name, text in FIRST.items()}
    scripts["closed form, plain call, 300 lengths"] = FIRST["closed form, plain call"].format(
        many=LENGTHS
    )
    for name, text in scripts.items():
        if name == "heyoka" and not find_spec("heyoka"):
            continue
        tail = "import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [sys.executable, "-c", text + tail],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        records.append({"name": name, "cpu_s": used, "peak_mb": int(done.stdout.split()[-1]) / 1e3})
    return records
