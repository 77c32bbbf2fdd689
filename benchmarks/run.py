"""Measure attnflow's closed form against other ways to the same trajectories.

    python benchmarks/run.py            everything, some minutes
    python benchmarks/run.py --quick    fewer contenders and rounds, about a minute
    python benchmarks/run.py --write    and put the tables into README.md and docs/benchmark.md

From a checkout, with attnflow and what it needs installed. The record goes to build/benchmarks/.
"""

import argparse
import json
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax
import studies
import tables

from attnflow import environment

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "build" / "benchmarks"
PARADIGMS = ("soft", "hard", "lvml")
STUDIES = ("dense", "batch", "horizon", "designs")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def measure(quick: bool, paradigms: tuple[str, ...] = PARADIGMS) -> dict[str, Any]:
    """The whole record, as plain values."""
    begin = time.perf_counter()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    record: dict[str, Any] = {
        "format": "attnflow benchmark 1",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": quick,
        "device": environment.device(),
        "processor": environment.processor(),
        "cores": environment.cores(),
        "platform": environment.platform(),
        "versions": environment.versions(),
        **{study: [] for study in STUDIES},
    }

    def add(study: str, paradigm: str, **options: Any) -> None:
        _say(f"[{time.perf_counter() - begin:5.0f} s] {study}, {paradigm}")
        record[study] += getattr(studies, study)(paradigm, **options)

    with jax.enable_x64(True):
        for paradigm in paradigms:
            add("dense", paradigm, quick=quick)
        for paradigm in paradigms[-1:] if quick else paradigms:
            solvers = ("Dopri8",) if quick else ("Dopri8", "Tsit5")
            add("batch", paradigm, million=not quick, solvers=solvers)
        if not quick:
            for paradigm in paradigms[::2]:
                add("horizon", paradigm)
            add("designs", paradigms[-1])
    record["load"] = [load, os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")]
    record["seconds"] = time.perf_counter() - begin
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
    options = parser.parse_args()
    if options.source:
        record = json.loads(options.source.read_text(encoding="utf-8"))
    else:
        record = measure(options.quick)
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
