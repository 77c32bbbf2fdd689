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


def _kind(record: Record) -> str:
    """What a row of the short table is: the same tolerance for all paradigms, or equal accuracy."""
    return f"{record['name']}, to 1e-12" if record.get("equal") else _label(record)


def where(run: Record) -> str:
    """What it was measured on, and with."""
    versions = run["versions"]
    names = ("python", "jax", "diffrax", "scipy", "numpy")
    used = ", ".join(f"{name} {versions[name]}" for name in names if name in versions)
    cores = f", {run['cores']} cores" if run["device"].startswith("cpu") else ""
    return f"{run['device']}{cores}; {used}; {run['created'][:10]}"


def short(run: Record) -> str:
    """The README's part."""
    parts = [
        f"Measured on {where(run)}, by `python benchmarks/run.py --write`. Contenders run in turn; "
        "times are medians and ratios refer to the closed form in the same round, over the "
        "paradigms soft, hard and LVML. Errors are the largest relative ones in μ, ν and 1 - α "
        "against an mpmath reference. All of it: [docs/benchmark.md](docs/benchmark.md).",
    ]
    rows = []
    for kind, group in _grouped(run["dense"], _kind).items():
        compiling = [r["trace_s"] + r["compile_s"] for r in group if "compile_s" in r]
        rows.append(
            [
                kind,
                seconds(sum(r["steady_s"] for r in group) / len(group)),
                _span(r["ratio"] for r in group),
                _worst(group),
                seconds(max(compiling)) if compiling else "",
            ]
        )
    parts.append(
        "One trajectory, *m* = 100, *C* = 1000, 4001 equally spaced times to 4·10⁵ "
        '("to 1e-12": at the loosest tolerance with such an error; Python\'s Euler loop is '
        "extrapolated from a measured part):"
    )
    parts.append(table(["", "time", "ratio", "error", "trace and compile"], rows))
    rows = []
    for (size, name), group in _grouped(run["batch"], lambda r: (r["size"], r["name"])).items():
        note = " (extrapolated)" if group[0]["extrapolated"] else ""
        rows.append(
            [
                f"{size:,}: {name}{note}",
                _span(r["rate"] for r in group),
                _span(r["ratio"] for r in group),
                _worst(group),
            ]
        )
    parts.append(
        "Batches of random settings (*m*, *C* log-uniform to 10⁶, one time each, within "
        "10⁻² to 10² *mC*), each solver at the loosest tolerance with an error of 1e-12:"
    )
    parts.append(table(["settings", "settings a second", "ratio of times", "error"], rows))
    return "\n\n".join(parts) + "\n"


def full(run: Record) -> str:
    """docs/benchmark.md."""
    command = "python benchmarks/run.py" + (" --quick" if run["quick"] else "")
    before, after = run["load"]
    parts = [
        "# Benchmark",
        f"Measured on {where(run)}, by `{command}`; load average {before:.1f} before and "
        f"{after:.1f} after. On a CPU, read ratios first: absolute times are indicative.",
        "**Method.** Contenders are timed in turn, round after round, each call after an "
        "untimed one (calls under 50 ms) and waited for; *time* is the median, *ratio* the "
        "median over rounds of the time over the closed form's in the same round. Trace (with "
        "the symbolic derivation where it is the first), compilation by XLA, and the first call"
        " of the executable stand apart. diffrax is jitted with parameters and tolerances "
        "traced, forward mode only, the state a pair of scalars; it interpolates between its "
        "steps unless said (*onto each time*). SciPy gets scalar right-hand sides from `math` "
        "and the Jacobian where it is used. All integrate the flow in the stable form that "
        "attnflow derives (for hard attention diffrax gets a spelling by hand that is up to three "
        "times as fast). *Error* is the largest relative error of μ, ν and 1 - α against an "
        "mpmath reference of 20 digits.",
        "## One trajectory",
        "*m* = 100, *C* = 1000, 4001 equally spaced times to 4·10⁵; errors at about 60 of the "
        "times, half of them equally spaced and half geometrically. *Equal*: the loosest "
        "tolerance with an error of at most 1e-12. The paper's explicit Euler loop takes 4·10⁷ "
        "steps of 0.01; in Python it is extrapolated from a measured part, its error taken from"
        " the compiled loop.",
    ]
    for paradigm, group in _grouped(run["dense"], lambda r: r["paradigm"]).items():
        rows = [
            [
                _label(r) + (" (equal)" if r.get("equal") else ""),
                seconds(r["steady_s"]),
                number(r["ratio"], 3),
                power(r["error"]),
                f"{r['steps']:,}" if "steps" in r else "",
                *(seconds(r.get(k)) for k in ("trace_s", "compile_s", "first_s")),
            ]
            for r in group
        ]
        heads = [paradigm, "time", "ratio", "error", "steps", "trace", "compile", "first call"]
        parts.append(table(heads, rows))
    parts += [
        "## Batches",
        "Random settings, *m* and *C* log-uniform in [2, 10⁶], one time each, log-uniform in "
        "10⁻² *mC* to 10² *mC*; errors on the first 50. diffrax at the loosest tolerance with "
        "an error of at most 1e-12, settings sorted by *t/(mC)* and on a CPU in chunks of 1000 "
        "(the best of several sizes). A million settings with diffrax: extrapolated from every "
        "hundredth chunk.",
    ]
    rows = [
        [
            r["paradigm"],
            f"{r['size']:,}",
            _label(r) + (" (extrapolated)" if r["extrapolated"] else ""),
            seconds(r["steady_s"]),
            number(r["rate"]),
            number(r["ratio"], 3),
            power(r["error"]),
            *(seconds(r.get(k)) for k in ("trace_s", "compile_s", "first_s")),
        ]
        for r in run["batch"]
    ]
    heads = ["paradigm", "settings", "", "time", "a second", "ratio", "error"]
    parts.append(table([*heads, "trace", "compile", "first call"], rows))
    if run["horizon"]:
        parts += [
            "## Cost against horizon",
            "*m* = 100, *C* = 1000, 200 times spaced geometrically from 1 to the horizon; "
            "diffrax steps onto each of them, in *t* or in log(1 + *t/(mC)*).",
        ]
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
            for r in run["horizon"]
        ]
        heads = ["paradigm", "horizon", "", "time", "ratio", "error", "steps"]
        parts.append(table(heads, rows))
    if run["designs"]:
        parts += [
            "## Designs tried",
            "Times of one setting may each keep their own panel of the quadrature while the "
            "march goes by, or share a table of inverted panels; and settings of a batch may be"
            " computed more or fewer side by side. *Ratio* is to the first of each group.",
        ]
        rows = [
            [
                f"{r['size']:,}",
                str(r["times"]),
                r["name"],
                seconds(r["steady_s"]),
                number(r["ratio"], 3),
                seconds(r["compile_s"]),
            ]
            for r in run["designs"]
        ]
        heads = ["settings", "times each", "", "time", "ratio", "compile"]
        parts.append(table(heads, rows))
    return "\n\n".join(parts) + "\n"
