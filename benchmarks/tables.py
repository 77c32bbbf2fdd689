"""The record as Markdown: a short form for the README, all of it for docs/benchmark.md."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

Record = dict[str, Any]


def insert(page: Path, name: str, text: str) -> None:
    """Replace what stands between the comments <!-- name --> and <!-- /name --> of a page.

    Raises:
        SystemExit: the comments are missing.
    """
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, mark, rest = page.read_text(encoding="utf-8").partition(begin)
    _, other, after = rest.partition(end)
    if not (mark and other):
        raise SystemExit(f"{page.name} lacks the lines {begin} and {end}")
    page.write_text(f"{before}{begin}\n\n{text.rstrip()}\n\n{end}{after}", encoding="utf-8")


def _digits(value: float, digits: int) -> str:
    """A number with so many digits before zeros, never with an exponent."""
    return f"{float(f'{value:.{digits}g}'):,.12g}"


def seconds(value: float | None) -> str:
    """A time with three digits and its unit."""
    if value is None:
        return ""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if value >= size:
            return f"{_digits(value / size, 3)} {unit}"
    return f"{_digits(value / 1e-6, 3)} µs"


def number(value: float | None, digits: int = 2) -> str:
    """A number with few digits, three where it exceeds 100; an exponent below 0.01."""
    if value is None:
        return ""
    if abs(value) < 0.01:
        return power(value)
    return _digits(value, digits if abs(value) < 100 else 3)


def power(value: float | None) -> str:
    """A number as 1.2e-13."""
    return "" if value is None else f"{value:.1e}"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, text to the left and the rest to the right."""
    lines = ["| " + " | ".join(heads) + " |", "|---|" + "---:|" * (len(heads) - 1)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def _label(record: Record) -> str:
    tolerance = record.get("tolerance")
    return record["name"] + (f", {tolerance:.0e}" if tolerance else "").replace("e-0", "e-")


def _grouped(records: Iterable[Record], key: Callable[[Record], Any]) -> dict[Any, list[Record]]:
    groups: dict[Any, list[Record]] = {}
    for record in records:
        groups.setdefault(key(record), []).append(record)
    return groups


def _span(values: Iterable[float]) -> str:
    """The range of values over paradigms."""
    shown = sorted(values)
    low, high = number(shown[0]), number(shown[-1])
    return low if low == high else f"{low} to {high}"


def _worst(group: Iterable[Record]) -> str:
    errors = [r["error"] for r in group if r["error"] is not None]
    return power(max(errors)) if errors else ""


def where(run: Record) -> str:
    """What it was measured on, and with."""
    versions = run["versions"]
    names = ("python", "jax", "diffrax", "heyoka", "scipy", "numpy")
    used = ", ".join(f"{name} {versions[name]}" for name in names if name in versions)
    cores = f", {run['cores']} cores" if run["device"].startswith("cpu") else ""
    return f"{run['device']}{cores}; {used}; {run['created'][:10]}"


def short(run: Record) -> str:
    """The README's part: four lines."""
    one = run["parts"]["one core"]

    def ratios(study: str, name: str, part: Record = one) -> str:
        chosen = [r for r in part[study] if r["name"] == name and r.get("size", 10_000) == 10_000]
        if study == "dense" and name.startswith("diffrax"):
            chosen = [r for r in chosen if r.get("equal")]
        return _span(r["ratio"] for r in chosen) if chosen else "not measured"

    dense = [r for r in one["dense"] if r["name"] == "closed form"]
    batch = [r for r in one["batch"] if r["name"] == "closed form" and r["size"] == 10_000]
    typical = seconds(sum(r["steady_s"] for r in dense) / len(dense)) if dense else "not measured"
    first = {r["name"]: r for r in one.get("first", [])}
    lines = [
        f"One trajectory at 4001 times: {typical} (jitted, one core, error {_worst(dense)}); "
        f"heyoka takes {ratios('dense', 'heyoka')} times as long, diffrax's Dopri8 to 1e-12 "
        f"{ratios('dense', 'diffrax Dopri8')}, a plain Python call "
        f"{ratios('dense', 'closed form, plain call')}.",
        f"Batches of settings: {_span(r['rate'] for r in batch)} a second and core; heyoka takes "
        f"{ratios('batch', 'heyoka')} times as long, Dopri8 {ratios('batch', 'diffrax Dopri8')}.",
    ]
    if first:
        plain, peer = first["closed form, plain call"], first["simulation (diffrax)"]
        lines.append(
            f"From the start of Python to the first 4001 values: {seconds(plain['cpu_s'])} of one "
            f"core, nothing compiled; by simulation {seconds(peer['cpu_s'])}."
        )
    lines.append(
        f"Measured on {where(run)} (`python benchmarks/run.py --write`); all of it in "
        "[docs/benchmark.md](docs/benchmark.md)."
    )
    return "\n".join(f"- {line}" for line in lines) + "\n"


AIMS = (
    ("dense", "heyoka", 3, "one trajectory against heyoka"),
    ("dense", "diffrax Dopri8", 10, "one trajectory against diffrax's Dopri8 to 1e-12"),
    ("batch", "heyoka", 5, "batches against heyoka"),
    ("batch", "diffrax Dopri8", 20, "batches against Dopri8 to 1e-12"),
)
"""Study, contender, how many times as long it was aimed to take, and what is said of it."""

TRIED = (
    "Tried on the way: widths by trial and rejection (30 to 60 panels where the rule needs 15 to "
    "20); `cumsum`, `interp`, `searchsorted` and `sort` of XLA, each of which takes longer on a "
    "CPU than all panels (sums by rows, comparisons and a branch for ordered times replace them); "
    "logarithms by bits (a third of XLA's time); relative increments at every point (25 ns each) "
    "in place of x(z) with one relative step at the end (9 ns); more lanes side by side (no gain "
    "above 128). A program of XLA's does its loops on one core, so batches are shared among "
    "threads. A plain call makes some 400 calls of NumPy, about 1 µs each."
)


def _aims(one: Record) -> str:
    """What was aimed at, and by how much it is missed or met."""
    rows = []
    for study, name, aim, text in AIMS:
        chosen = [r for r in one[study] if r["name"] == name and r.get("size", 10_000) == 10_000]
        if study == "dense" and name.startswith("diffrax"):
            chosen = [r for r in chosen if r.get("equal")]
        if chosen:
            rows.append([text, str(aim), _span(r["ratio"] for r in chosen)])
    peers = [r["ratio"] for r in one["dense"] if r["name"] == "heyoka"]
    plain = [r["ratio"] for r in one["dense"] if r["name"] == "closed form, plain call"]
    if peers and plain:
        reached = _span(peer / own for peer, own in zip(peers, plain, strict=True))
        rows.append(["one trajectory by a plain call against heyoka", "0.5", reached])
    return table(["how many times as fast", "aim", "reached"], rows) if rows else ""


METHOD = (
    "**Method.** Contenders are timed in turn, round after round, each call after an untimed one "
    "(calls under 50 ms) and waited for; *time* is the median, *ratio* the median over rounds of "
    "the time over the closed form's in the same round. Each part runs in a process of its own, "
    "pinned to one core or free to use all. Trace (with the symbolic derivation where it is the "
    "first), compilation, and the first call of the executable stand apart. diffrax is jitted with "
    "parameters and tolerances traced, forward mode only, the state a pair of scalars; it "
    "interpolates between its steps unless said (*onto each time*). SciPy gets scalar right-hand "
    "sides from `math` and the Jacobian where it is used. heyoka is a Taylor method compiled by "
    "LLVM, at a tolerance of 1e-15; settings go through its vector lanes, sorted by *t/(mC)*. All "
    "integrate the flow in the stable form that attnflow derives (for hard attention diffrax gets "
    "a spelling by hand that is up to three times as fast). *Error* is the largest relative error "
    "of μ, ν and 1 - α against an mpmath reference of 20 digits."
)
LOOPS = (
    "With `XLA_FLAGS=--xla_backend_extra_options=xla_cpu_small_while_loop_byte_threshold=1000000` "
    "XLA runs the small loops of an integrator without its thread pool; ratios are to the closed "
    "form with the same flag."
)


def full(run: Record) -> str:
    """docs/benchmark.md."""
    command = "python benchmarks/run.py" + (" --quick" if run["quick"] else "")
    before, after = run["load"]
    parts = [
        "# Benchmark",
        f"Measured on {where(run)}, by `{command}`; load average {before:.1f} before and "
        f"{after:.1f} after. On a CPU, read ratios first: absolute times are indicative.",
        METHOD,
        *(["## Aims", _aims(run["parts"]["one core"]), TRIED] if run["parts"] else []),
    ]
    for part, record in run["parts"].items():
        parts.append(f"## {part.capitalize()}")
        parts += [LOOPS] if "loops" in part else []
        parts += _dense(record["dense"]) + _batch(record["batch"])
        parts += _horizon(record["horizon"]) + _growth(record["growth"])
        parts += _first(record.get("first", []))
    return "\n\n".join(parts) + "\n"


COSTS = ("trace_s", "compile_s", "first_s")


def _dense(records: list[Record]) -> list[str]:
    if not records:
        return []
    parts = [
        "### One trajectory",
        "*m* = 100, *C* = 1000, 4001 equally spaced times to 4·10⁵; errors at about 60 of the "
        "times, half of them equally spaced and half geometrically. *Equal*: the loosest "
        "tolerance with an error of at most 1e-12. The paper's explicit Euler loop takes 4·10⁷ "
        "steps of 0.01; in Python it is extrapolated from a measured part.",
    ]
    for paradigm, group in _grouped(records, lambda r: r["paradigm"]).items():
        rows = [
            [
                _label(r) + (" (equal)" if r.get("equal") else ""),
                seconds(r["steady_s"]),
                number(r["ratio"], 3),
                power(r["error"]),
                f"{r['steps']:,}" if "steps" in r else "",
                *(seconds(r.get(k)) for k in COSTS),
            ]
            for r in group
        ]
        heads = [paradigm, "time", "ratio", "error", "steps", "trace", "compile", "first call"]
        parts.append(table(heads, rows))
    return parts


def _batch(records: list[Record]) -> list[str]:
    if not records:
        return []
    rows = [
        [
            r["paradigm"],
            f"{r['size']:,}",
            _label(r) + (" (extrapolated)" if r["extrapolated"] else ""),
            seconds(r["steady_s"]),
            number(r["rate"]),
            number(r["ratio"], 3),
            power(r["error"]),
            *(seconds(r.get(k)) for k in COSTS),
        ]
        for r in records
    ]
    heads = ["paradigm", "settings", "", "time", "a second", "ratio", "error"]
    return [
        "### Batches",
        "Random settings, *m* and *C* log-uniform in [2, 10⁶], one time each, log-uniform in "
        "10⁻² *mC* to 10² *mC*; errors on the first 50. diffrax at the loosest tolerance with "
        "an error of at most 1e-12, settings sorted by *t/(mC)* and on a CPU in chunks of 1000 "
        "(the best of several sizes). A million settings with diffrax: extrapolated from every "
        "hundredth chunk.",
        table([*heads, "trace", "compile", "first call"], rows),
    ]


def _horizon(records: list[Record]) -> list[str]:
    rows = [
        [
            r["paradigm"],
            f"{r['horizon']:.0e}".replace("e+", "e"),
            _label(r),
            seconds(r["steady_s"]),
            number(r["ratio"], 3),
            power(r["error"]),
            f"{r['steps']:,}" if r["steps"] else "",
        ]
        for r in records
    ]
    heads = ["paradigm", "horizon", "", "time", "ratio", "error", "steps"]
    text = (
        "*m* = 100, *C* = 1000, 200 times spaced geometrically from 1 to the horizon; diffrax "
        "steps onto each of them, in *t* or in log(1 + *t/(mC)*)."
    )
    return ["### Cost against horizon", text, table(heads, rows)] if rows else []


def _growth(records: list[Record]) -> list[str]:
    rows = [
        [f"{r['times']:,}", r["name"], seconds(r["steady_s"]), number(r["ratio"], 3)]
        for r in records
    ]
    text = "The trajectory above at more and fewer times."
    heads = ["times", "", "time", "ratio"]
    return ["### Cost against times", text, table(heads, rows)] if rows else []


def _first(records: list[Record]) -> list[str]:
    rows = [[r["name"], seconds(r["cpu_s"]), f"{r['peak_mb']:,.0f} MB"] for r in records]
    text = (
        "CPU seconds from the start of a process to the first 4001 values, and its largest memory; "
        "last, one that has solved for each number of times from 1 to 300 before."
    )
    heads = ["", "CPU time", "memory"]
    return ["### First answer and memory", text, table(heads, rows)] if rows else []
