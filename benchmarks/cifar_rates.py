"""CIFAR-10 mosaics at rates of their own: what a switch gains, what hard attention bears.

    python benchmarks/cifar_rates.py --data DIR              every study, hours on two cores
    python benchmarks/cifar_rates.py --data DIR --study fixed
    python benchmarks/cifar_rates.py --data DIR --write      and put it into docs/results-cifar.md
    python benchmarks/cifar_rates.py --data DIR --study published        on a GPU; three such

A first stage under soft attention or LVML at rate 0.05; from its end soft, hard and LVML, each for
as many epochs at a tenth of the rate; then hard attention alone, whose focus learns at rates of its
own; then seen against unseen images. Runs that are finished under --out are not repeated, and an
interrupted one goes on.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from cifar import PAGE, ROOT, spread
from tables import insert, table

RATE = 0.05
PARADIGMS = ("soft", "hard", "lvml")
RULES = ("argmax", "mixture", "pooled")


@dataclass(frozen=True)
class Run:
    """One training run.

    Attributes:
        name: of its folder, before the seed.
        options: of its config.
        start: name of the run whose weights it begins with.
    """

    name: str
    options: dict[str, Any]
    start: str | None = None


@dataclass(frozen=True)
class Study:
    """Runs that are compared with each other, each with every seed.

    Attributes:
        title: what it is about.
        text: what is done.
        runs: by the label of their row.
        columns: heading -> a number of a run's result.
        seeds: of the networks and the order of inputs.
        pairs: rows whose difference is told, seed by seed.
    """

    title: str
    text: str
    runs: dict[str, Run]
    columns: dict[str, Callable[[dict[str, Any]], float]]
    seeds: tuple[int, ...]
    pairs: tuple[tuple[str, str], ...] = field(default=())


def rate(name: str, rule: str, key: str = "accuracy") -> Callable[[dict[str, Any]], float]:
    """A rate on a set by a rule of inference."""
    return lambda result: result["sets"][name][rule][key]


def focus(name: str) -> Callable[[dict[str, Any]], float]:
    """How often the focus is true on a set."""
    return lambda result: result["sets"][name]["focus_true"]


ON_TEST = {
    "focus true": focus("test"),
    **{f"accuracy, {rule}": rate("test", rule) for rule in RULES},
}
ON_SEEN = {f"seen images: {rule}": rate("heldout", rule) for rule in ("argmax", "pooled")}
LOSS = {"training loss": lambda result: result["loss"]}
LARGEST = {"largest score": lambda result: result["largest_score"]}
UNSEEN = {"train": 30000, "heldout": 5000, "segments": 5, "learning_rates": (RATE,)}
"""The published number of mosaics, and as a second test new ones of the same images."""


def continued(
    key: str,
    train: int,
    first: int,
    more: int,
    seeds: tuple[int, ...],
    *,
    whole: bool = False,
    **options: Any,
) -> Study:
    """A first stage, then each paradigm at a tenth of the rate; ``whole``: and at all of it."""
    options = {"train": train, **options}
    segments = options.setdefault("segments", 5)
    runs = {}
    for begin in ("soft", "lvml"):
        base = f"{key}-{begin}"
        runs[begin] = Run(
            base, {**options, "paradigm": begin, "epochs": first, "learning_rates": (RATE,)}
        )
        for then in PARADIGMS:
            later = {"paradigm": then, "epochs": more, "learning_rates": (RATE / 10,)}
            runs[f"{begin}, then {then}"] = Run(f"{base}-{then}", {**options, **later}, start=base)
            if whole and then in (begin, "hard"):
                later["learning_rates"] = (RATE,)
                name = f"{base}-{then}-whole"
                same = Run(name, {**options, **later}, start=base)
                runs[f"{begin}, then {then}, rate kept"] = same
    fresh = options.get("fresh", False)
    kind = "drawn anew each epoch" if fresh else "that stay the same"
    text = (
        f"{train:,} training mosaics of {segments} segments {kind}: {first} epochs at rate "
        f"{RATE:g}, then {more} at {RATE / 10:g}"
    )
    pairs = tuple(
        (f"{begin}, then {then}", f"{begin}, then soft")
        for begin in ("soft", "lvml")
        for then in ("hard", "lvml")
    )
    title = {5: "A tenth of the rate", 20: "Twenty segments"}[segments]
    size = "the published number of " if train == 30000 else ""
    columns = {**ON_TEST, **(ON_SEEN if "heldout" in options else {}), **LOSS}
    return Study(f"{title}, {size}mosaics {kind}", text, runs, columns, seeds, pairs)


def focus_rates(rates: tuple[float, ...], epochs: int, seeds: tuple[int, ...]) -> Study:
    """Hard attention alone, whose focus learns more slowly."""
    runs = {
        f"{r:g}": Run(
            f"hard-{r:g}",
            {
                "train": 12288,
                "segments": 5,
                "epochs": epochs,
                "learning_rates": (RATE,),
                "paradigm": "hard" if r == RATE else f"hard:rate.focus={r:g}",
            },
        )
        for r in rates
    }
    columns = {**ON_TEST, **LOSS, **LARGEST}
    text = (
        f"12,288 training mosaics of five segments, {epochs} epochs under hard attention, the "
        f"classifier at {RATE:g}, the focus at the rate of the row"
    )
    return Study("How fast hard attention's focus may learn", text, runs, columns, seeds)


def seen(epochs: int, seeds: tuple[int, ...]) -> Study:
    """The published number of mosaics, judged on new mosaics of seen and of unseen images."""
    options = {**UNSEEN, "epochs": epochs}
    runs = {
        "soft": Run("seen-soft", {**options, "paradigm": "soft"}),
        "hard, focus at 0.005": Run(
            "seen-hard", {**options, "paradigm": f"hard:rate.focus={RATE / 10:g}"}
        ),
    }
    columns = {
        f"{told}: {what}": getter
        for name, told in (("heldout", "seen"), ("test", "unseen"))
        for what, getter in (
            ("focus true", focus(name)),
            ("argmax", rate(name, "argmax")),
            ("pooled", rate(name, "pooled")),
        )
    }
    text = (
        f"30,000 training mosaics, {epochs} epochs; rates on 5,000 new mosaics of the images that "
        "training mosaics hold, and on 10,000 of the official test images"
    )
    return Study("Seen and unseen images", text, runs, {**columns, **LOSS}, seeds)


def long(seeds: tuple[int, ...]) -> Study:
    """The published mosaics and epochs: at the published rate, and at a tenth of it from 15 on."""
    options = {**UNSEEN, "epochs": 150}
    runs = {"lvml, rate kept": Run("G-lvml", {**options, "paradigm": "lvml"})}
    for begin, then in (("soft", "soft"), ("soft", "hard"), ("soft", "lvml"), ("lvml", "lvml")):
        stages = f"{begin}@epoch=15:rate={RATE:g},{then}:rate={RATE / 10:g}"
        label = f"{begin}, then {then}"
        runs[label] = Run(f"G-{begin}-{then}", {**options, "paradigm": stages})
    columns = {**ON_TEST, **ON_SEEN, **LOSS, **LARGEST}
    text = (
        f"30,000 training mosaics that stay the same, 150 epochs: at rate {RATE:g} throughout, or "
        f"for 15 epochs and at {RATE / 10:g} from there on"
    )
    pairs = tuple((f"soft, then {then}", "soft, then soft") for then in ("hard", "lvml"))
    return Study("The published number of epochs", text, runs, columns, seeds, pairs)


def exact(seeds: tuple[int, ...]) -> Study:
    """Soft attention as published, to be run with JAX_DEFAULT_MATMUL_PRECISION=highest."""
    run = Run("H-soft", {**UNSEEN, "epochs": 150, "paradigm": "soft"})
    columns = {**ON_TEST, **ON_SEEN, **LOSS, **LARGEST}
    text = (
        f"30,000 training mosaics, 150 epochs at rate {RATE:g} in exact float32 "
        "(`JAX_DEFAULT_MATMUL_PRECISION=highest`)"
    )
    return Study("Soft attention in exact float32", text, {"soft": run}, columns, seeds)


STUDIES = {
    "fixed": continued("A", 12288, 10, 5, (0, 1, 2)),
    "fresh": continued("B", 6144, 12, 5, (0, 1), fresh=True),
    "twenty": continued("C", 3072, 12, 5, (0, 1), segments=20),
    "focus": focus_rates((0.05, 0.02, 0.01, 0.005), 12, (0, 1)),
    "seen": seen(16, (0,)),
}
PUBLISHED = {
    "published": continued("D", 30000, 15, 15, (0, 1, 2), whole=True, heldout=5000),
    "published-fresh": continued("E", 30000, 15, 15, (0, 1, 2), fresh=True, whole=True),
    "published-twenty": continued("F", 30000, 15, 15, (0, 1), segments=20, heldout=5000),
    "published-long": long((0, 1)),
    "published-exact": exact((0, 1)),
}
"""Of the published size, for a GPU."""


def result_of(run: Run, seed: int, data: str, out: Path) -> dict[str, Any]:
    """Train, or read what an earlier sitting left: every rate, the loss, the largest score."""
    from attnflow.train import Training, evaluate, train

    folder = out / f"{run.name}-s{seed}"
    kept = folder / "result.json"
    if kept.exists():
        return {**json.loads(kept.read_text(encoding="utf-8")), "where": where(folder)}
    start = None if run.start is None else str(out / f"{run.start}-s{seed}")
    options = {"heldout": 500, "measure_every": run.options["epochs"], **run.options}
    config = Training(
        task="cifar10", data=data, seeds=(seed,), start_from=start, early_points=0, **options
    )
    folder.parent.mkdir(parents=True, exist_ok=True)
    trained = train(config, folder, resume=True)
    last = trained.rows[-1]
    result = {
        "sets": evaluate(trained)["sets"],
        "loss": float(last["loss"]),
        "largest_score": max(float(row.get("largest_score", np.nan)) for row in trained.rows),
    }
    kept.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return {**result, "where": where(folder)}


def where(folder: Path) -> str:
    """The device that a run was trained on, and its version of JAX."""
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    return f"{record['device'].partition(': ')[2]}, JAX {record['versions']['jax']}"


def told(study: Study, results: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
    """Markdown: one row a run, then differences seed by seed."""
    places = sorted({one["where"] for found in results.values() for one in found})
    count = {len(found) for found in results.values()}
    seeds = ", ".join(map(str, study.seeds[: max(count)]))
    spelt = "mean (range)" if max(count) > 1 else ""
    yield f"### {study.title}"
    yield (
        f"{study.text}. Percent, {spelt + ' of seeds' if spelt else 'seed'} {seeds}. "
        f"{'; '.join(places)}."
    )
    rows = []
    for label, found in results.items():
        cells = []
        for name, getter in study.columns.items():
            values = [getter(result) for result in found]
            if "loss" in name:
                cells.append(f"{np.mean(values):.3f}")
            elif max(values) > 1e5:
                cells.append(", ".join(f"{value:.0e}" for value in values))
            else:
                cells.append(spread(values))
        rows.append([label, *cells])
    yield table(["run", *study.columns], rows)
    for one, other in study.pairs:
        if min(len(results.get(one, ())), len(results.get(other, ()))) < 1:
            continue
        gains = []
        for rule in ("argmax", "pooled"):
            getter = rate("test", rule)
            pairs = zip(results[one], results[other], strict=False)
            each = ", ".join(f"{getter(a) - getter(b):+.1f}" for a, b in pairs)
            gains.append(f"{each} by {rule}")
        yield f"- *{one}* against *{other}*, accuracy seed by seed: {'; '.join(gains)}."


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="as attnflow train --data")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "cifar-rates")
    parser.add_argument("--study", action="append", choices=[*STUDIES, *PUBLISHED])
    parser.add_argument("--seeds", help="by commas, instead of the studies' own")
    parser.add_argument("--only-finished", action="store_true", help="train nothing")
    parser.add_argument("--write", action="store_true", help=f"into {PAGE.relative_to(ROOT)}")
    options = parser.parse_args()
    out = options.out.resolve()
    parts = []
    for name in options.study or STUDIES:
        study = {**STUDIES, **PUBLISHED}[name]
        if options.seeds:
            study = replace(study, seeds=tuple(map(int, options.seeds.split(","))))
        results: dict[str, list[dict[str, Any]]] = {}
        for seed in study.seeds:
            for label, run in study.runs.items():
                if options.only_finished and not finished(out / f"{run.name}-s{seed}"):
                    continue
                found = result_of(run, seed, options.data, out)
                results.setdefault(label, []).append(found)
                print(f"{name}: {label}, seed {seed}", file=sys.stderr)
        parts += [*told(study, results)] if results else []
    text = "\n\n".join(parts) + "\n"
    print(text)
    if options.write:
        insert(PAGE, "published" if name in PUBLISHED else "rates", text)


def finished(folder: Path) -> bool:
    """Whether a run has come to its end."""
    return (folder / "result.json").exists() or (folder / "done").exists()


if __name__ == "__main__":
    main()
