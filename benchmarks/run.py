"""Measure attnflow's closed form against other ways to the same trajectories.

    python benchmarks/run.py            everything, some minutes
    python benchmarks/run.py --quick    fewer contenders and rounds, about a minute
    python benchmarks/run.py --write    and put the tables into README.md and docs/benchmark.md

From a checkout, with attnflow and what it needs installed. The record goes to build/benchmarks/.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import tables

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "build" / "benchmarks"
PARADIGMS = ("soft", "hard", "lvml")
STUDIES = ("dense", "batch", "horizon", "growth")
LOOPS = "--xla_backend_extra_options=xla_cpu_small_while_loop_byte_threshold=1000000"
"""What lets XLA run small loops, such as an integrator's steps, without a thread pool."""
PARTS = {"one core": {}, "all cores": {}, "one core, small loops": {"XLA_FLAGS": LOOPS}}
"""Each in a process of its own, which begins on its cores and with its flags."""


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def measure(part: str, quick: bool, paradigms: tuple[str, ...] = PARADIGMS) -> dict[str, Any]:
    """The studies of one part, as plain values."""
    import jax
    import studies

    begin = time.perf_counter()
    record: dict[str, Any] = {study: [] for study in STUDIES}

    def add(study: str, paradigm: str, **options: Any) -> None:
        _say(f"[{time.perf_counter() - begin:5.0f} s] {part}: {study}, {paradigm}")
        record[study] += getattr(studies, study)(paradigm, **options)

    whole = part == "one core" and not quick
    solvers = ("Dopri8", "Tsit5") if whole else ("Dopri8",)
    with jax.enable_x64(True):
        for paradigm in paradigms:
            if part != "all cores":
                add("dense", paradigm, quick=not whole)
            if not quick or paradigm == paradigms[-1]:
                sizes = (100, 10_000) if part == "one core" else (10_000,)
                add("batch", paradigm, sizes=sizes, million=whole, solvers=solvers)
        if whole:
            for paradigm in paradigms[::2]:
                add("horizon", paradigm)
            add("growth", paradigms[0])
            record["first"] = studies.first_answer()
    record["seconds"] = time.perf_counter() - begin
    return record


def measure_all(quick: bool) -> dict[str, Any]:
    """The whole record: every part, and what it was measured on."""
    from attnflow import environment

    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    record: dict[str, Any] = {
        "format": "attnflow benchmark 2",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": quick,
        "device": environment.device(),
        "processor": environment.processor(),
        "cores": environment.cores(),
        "platform": environment.platform(),
        "versions": environment.versions(),
        "parts": {},
    }
    if find_spec("heyoka"):
        record["versions"]["heyoka"] = version("heyoka")
    for part, flags in PARTS.items() if not quick else [*PARTS.items()][:1]:
        command = [sys.executable, __file__, "--part", part, *(["--quick"] if quick else [])]
        done = subprocess.run(
            command, env=os.environ | flags, stdout=subprocess.PIPE, text=True, check=True
        )
        record["parts"][part] = json.loads(done.stdout)
    record["load"] = [load, os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")]
    record["seconds"] = sum(part["seconds"] for part in record["parts"].values())
    return record


def write(record: dict[str, Any]) -> None:
    """The tables into README.md and docs/benchmark.md."""
    (ROOT / "docs").mkdir(exist_ok=True)
    (ROOT / "docs" / "benchmark.md").write_text(tables.full(record), encoding="utf-8")
    tables.insert(ROOT / "README.md", "benchmark", tables.short(record))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer contenders and rounds")
    parser.add_argument("--write", action="store_true", help="into README.md, docs/benchmark.md")
    parser.add_argument("--from", dest="source", type=Path, help="a record, instead of measuring")
    parser.add_argument("--part", choices=[*PARTS], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        if options.part != "all cores" and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        print(json.dumps(measure(options.part, options.quick)))
        return
    if options.source:
        record = json.loads(options.source.read_text(encoding="utf-8"))
    else:
        record = measure_all(options.quick)
        OUT.mkdir(parents=True, exist_ok=True)
        stamp = record["created"].replace(":", "").replace("+0000", "Z")
        place = OUT / f"{record['device'].partition(':')[0]}-{stamp}.json"
        place.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        _say(f"[{record['seconds']:5.0f} s] record in {place.relative_to(ROOT)}")
    print(tables.full(record))
    if options.write:
        write(record)


if __name__ == "__main__":
    main()
