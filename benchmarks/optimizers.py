"""Real networks under SGD and under Adam: does the gap between the paradigms shrink?

    python benchmarks/optimizers.py                        digits, minutes on two cores
    python benchmarks/optimizers.py --task cifar10 --data DIR        half an hour a seed
    python benchmarks/optimizers.py --write                and put it into docs/steps.md

Every paradigm trains at every rate of a grid. One rate an optimiser is chosen for all paradigms:
that at which they reach the highest held-out accuracy in the mean over paradigms and seeds. At it,
the table tells when the mean focus score of the true segment first passes one half, between
measured epochs on a line, and the gap: the largest difference between paradigms in that score at
the same epoch. Runs that are finished under --out are not repeated.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from cifar import ROOT, spread
from tables import insert, table

PAGE = ROOT / "docs" / "steps.md"
PARADIGMS = ("soft", "hard", "lvml")
RATES = {"sgd": (0.02, 0.05, 0.1), "adam": (0.0003, 0.001, 0.003)}
TASKS: dict[str, dict[str, Any]] = {
    "digits": {"task": "digits", "segments": 20, "epochs": 40},
    "cifar10": {"task": "cifar10", "segments": 5, "train": 4096, "heldout": 1000, "epochs": 12},
}
TOLD = {
    "digits": "Digits, 20 segments, 40 epochs",
    "cifar10": "CIFAR-10, 4,096 mosaics of 5 segments, 12 epochs",
}
SEEDS = (0, 1, 2)


def run_one(
    name: str, optimizer: str, rate: float, paradigm: str, seed: int, data: str | None, out: Path
) -> dict[str, Any]:
    """Train, or read what an earlier sitting left: the focus score by epoch, the accuracy."""
    from attnflow.errors import TrainingFailed
    from attnflow.train import Training, train

    folder = out / f"{name}-{optimizer}-{rate:g}-{paradigm}-s{seed}"
    kept = folder / "result.json"
    if kept.exists():
        return json.loads(kept.read_text(encoding="utf-8"))
    options = {**TASKS[name], "paradigm": paradigm, "optimizer": optimizer, "data": data}
    options["momentum"] = 0.9 if optimizer == "sgd" else 0.0
    folder.parent.mkdir(parents=True, exist_ok=True)
    result: dict[str, Any] = {"alpha": [], "accuracy": 0.0}
    try:
        config = Training(**options, learning_rates=(rate,), seeds=(seed,))
        rows = train(config, folder, resume=True).rows
    except TrainingFailed as failure:
        result["failed"] = str(failure)
        folder.mkdir(exist_ok=True)
    else:
        rows = [row for row in rows if row["epoch"] in range(1, TASKS[name]["epochs"] + 1)]
        result["alpha"] = [float(row["sets"]["train"]["alpha"]) for row in rows]
        result["accuracy"] = 100 * float(rows[-1]["sets"]["heldout"]["accuracy"])
    kept.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return result


def half(alpha: list[float]) -> float:
    """The epoch at which the score passes one half, on a line between epochs; inf if never."""
    above = np.flatnonzero(np.asarray(alpha) >= 0.5)
    if not len(above):
        return float("inf")
    at = int(above[0])
    before = alpha[at - 1] if at else None
    if before is None:
        return 1.0
    return at + (0.5 - before) / (alpha[at] - before)


def gap(curves: list[list[float]]) -> float:
    """The largest difference between curves at the same epoch; nan where one failed."""
    if any(not one for one in curves):
        return float("nan")
    values = np.array(curves)
    return float(np.max(values.max(0) - values.min(0)))


def told(name: str, found: dict[Any, dict[str, Any]], seeds: tuple[int, ...]) -> Iterator[str]:
    """Markdown of a task."""
    import jax

    from attnflow import environment

    yield f"**{TOLD[name]}.**"
    yield (
        f"Seeds {', '.join(map(str, seeds))}, mean (range); "
        f"{environment.device().partition(': ')[2]}, JAX {jax.__version__}."
    )
    rows, chosen = [], {}
    for optimizer, rates in RATES.items():
        for rate in rates:
            each = [[found[optimizer, rate, p, s]["accuracy"] for s in seeds] for p in PARADIGMS]
            chosen[optimizer, rate] = float(np.mean(each))
            rows.append([f"{optimizer}, {rate:g}", *map(spread, each), f"{np.mean(each):.1f}"])
    yield table(["accuracy", *PARADIGMS, "mean"], rows)
    rows = []
    for optimizer, rates in RATES.items():
        rate = max(rates, key=lambda r: chosen[optimizer, r])
        curves = {p: [found[optimizer, rate, p, s]["alpha"] for s in seeds] for p in PARADIGMS}
        halves = [spread([half(one) for one in curves[p]]) for p in PARADIGMS]
        gaps = [100 * gap([curves[p][n] for p in PARADIGMS]) for n in range(len(seeds))]
        rows.append([f"{optimizer}, {rate:g}", *halves, spread(gaps)])
    yield table(["epoch of one half", *PARADIGMS, "gap, percent"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--task", action="append", choices=TASKS, help="default: digits")
    parser.add_argument("--data", help="as attnflow train --data")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "optimizers")
    parser.add_argument("--seeds", default=",".join(map(str, SEEDS)), help="by commas")
    parser.add_argument("--write", action="store_true", help=f"into {PAGE.relative_to(ROOT)}")
    options = parser.parse_args()
    seeds = tuple(map(int, options.seeds.split(",")))
    out = options.out.resolve()
    for name in options.task or ["digits"]:
        data, found = options.data if name == "cifar10" else None, {}
        for seed in seeds:
            for optimizer, rates in RATES.items():
                for rate in rates:
                    for paradigm in PARADIGMS:
                        key = optimizer, rate, paradigm, seed
                        found[key] = run_one(name, optimizer, rate, paradigm, seed, data, out)
                        print(name, *key, found[key]["accuracy"], file=sys.stderr)
        text = "\n\n".join(told(name, found, seeds)) + "\n"
        print(text)
        if options.write:
            insert(PAGE, f"optimizers-{name}", text)


if __name__ == "__main__":
    main()
