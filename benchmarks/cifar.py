"""Train every paradigm and several schedules on CIFAR-10 mosaics, and tabulate what they reach.

    python benchmarks/cifar.py --data DIR                   the studies that suit two cores
    python benchmarks/cifar.py --data DIR --study full      published size, for a GPU
    python benchmarks/cifar.py --data DIR --write           and put them into docs/results-cifar.md

Runs that are finished under --out are not repeated, and an interrupted one goes on, so that the
tables may be made in several sittings. Each row names the schedule, each table the command.
"""

import argparse
import json
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from tables import insert

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "results-cifar.md"
FIGURE = ROOT / "docs" / "figures" / "results-cifar.svg"
HELDOUT = 500


@dataclass(frozen=True)
class Study:
    """Runs that are compared with each other.

    Attributes:
        title: what it is about.
        train: training mosaics.
        epochs: of each run.
        early: epoch of the first switch of schedules.
        late: epoch of the second, or only, switch.
        every: epochs between measurements.
        rate: learning rate.
        kinds: which schedules: "all", "hybrid" (those that ask when the hybrid wins) or "four"
            (each paradigm alone, and the hybrid).
        seeds: of the networks and the order of inputs.
    """

    title: str
    train: int
    epochs: int
    early: int
    late: int
    every: int
    rate: float = 0.05
    kinds: str = "all"
    seeds: tuple[int, ...] = (0, 1)

    @property
    def schedules(self) -> tuple[str, ...]:
        """Paradigms alone, soft then hard, early and late, and the orders theory calls better."""
        hybrid = f"soft@epoch={self.late},hard"
        order = f"lvml@epoch={self.early},soft@epoch={self.late},hard"
        if self.kinds == "hybrid":
            return "soft", "lvml", hybrid, order
        if self.kinds == "four":
            return "soft", "hard", "lvml", hybrid
        others = f"soft@epoch={self.early},hard", f"lvml@epoch={self.late},hard"
        return "soft", "hard", "lvml", hybrid, *others, order

    @property
    def shown(self) -> tuple[int, ...]:
        """Epochs of the table: at the late switch, just after it, at the end."""
        return self.late, self.late + self.every, self.epochs


STUDIES = {
    "base": Study("A small set", 4096, 16, 4, 10, 2, seeds=(0, 1, 2)),
    "rate": Study("A smaller learning rate", 4096, 16, 4, 10, 2, rate=0.02, kinds="hybrid"),
    "size": Study("Three times the mosaics", 12288, 6, 2, 4, 1, kinds="hybrid"),
    "mosaics": Study("The published mosaics", 30000, 40, 10, 20, 2, kinds="four", seeds=(0,)),
    "full": Study("Published size", 30000, 150, 25, 75, 5, seeds=(0, 1, 2)),
}
SMALL = ("base", "rate", "size", "mosaics")


def command(study: Study) -> str:
    """What makes a run from a shell."""
    return (
        "attnflow train --task cifar10 --segments 5 --paradigm SCHEDULE "
        f"--train {study.train} --heldout {HELDOUT} --epochs {study.epochs} "
        f"--learning-rate {study.rate:g} --measure-every {study.every} --seed SEED --data DIR "
        "--out RUN"
    )


def run_one(study: Study, schedule: str, seed: int, task: Any, folder: Path) -> dict[str, Any]:
    """Train, or read what an earlier sitting left: rates on test mosaics at measured epochs."""
    from attnflow.train.loop import train

    kept = folder / "result.json"
    if kept.exists():
        return json.loads(kept.read_text(encoding="utf-8"))
    config = configured(study, task.place, schedule, seed)
    begin = time.perf_counter()
    trained = train(config, folder, task=task.task, resume=True)
    result = {
        "schedule": schedule,
        "seed": seed,
        "seconds": time.perf_counter() - begin,
        "epochs": {
            str(row["epoch"]): {
                key: 100 * float(row["sets"]["test"][key]) for key in ("focus_true", "accuracy")
            }
            for row in trained.rows
            if "test" in row["sets"]
        },
        "loss": float(trained.rows[-1]["loss"]),
    }
    kept.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return result


def configured(study: Study, place: str, schedule: str = "soft", seed: int = 0) -> Any:
    """The config of a run."""
    from attnflow.train.config import Training

    return Training(
        early_points=0,
        task="cifar10",
        paradigm=schedule,
        segments=5,
        train=study.train,
        heldout=HELDOUT,
        data=place,
        epochs=study.epochs,
        learning_rates=(study.rate,),
        seeds=(seed,),
        measure_every=study.every,
    )


def spread(values: list[float]) -> str:
    """The mean, and the range over seeds."""
    if len(values) == 1:
        return f"{values[0]:.1f}"
    return f"{np.mean(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def table(study: Study, results: list[dict[str, Any]]) -> str:
    """Markdown: one row a schedule."""
    import jax

    from attnflow import environment

    device = jax.devices()[0]
    where = f"{environment.processor()}, {environment.cores()} cores"
    where = where if device.platform == "cpu" else device.device_kind
    seeds = sorted({r["seed"] for r in results})
    told = f"seeds {', '.join(map(str, seeds))}: focus true / accuracy in percent, mean (range)"
    if len(seeds) == 1:
        told = f"seed {seeds[0]}: focus true / accuracy in percent"
    lines = [
        f"### {study.title}",
        "",
        f"{study.train:,} training mosaics, {study.epochs} epochs, learning rate {study.rate:g}, "
        f"{told}, and the loss of the last epoch. {where}, JAX {jax.__version__}.",
        "",
        "| schedule |" + "".join(f" epoch {e} |" for e in study.shown) + " training loss |",
        "|---|" + "---|" * (len(study.shown) + 1),
    ]
    for schedule in study.schedules:
        found = [r for r in results if r["schedule"] == schedule]
        if not found:
            continue
        cells = []
        for epoch in study.shown:
            at = [r["epochs"][str(epoch)] for r in found]
            focus, accuracy = ([a[key] for a in at] for key in ("focus_true", "accuracy"))
            cells.append(f"{spread(focus)} / {spread(accuracy)}")
        loss = np.mean([r["loss"] for r in found])
        lines.append(f"| `{schedule}` | " + " | ".join(cells) + f" | {loss:.3f} |")
    return "\n".join([*lines, "", f"    {command(study)}", ""])


def draw(study: Study, results: list[dict[str, Any]]) -> None:
    """Focus and accuracy over epochs, mean and range over seeds."""
    from attnflow.plots import style

    with style.style():
        figure = style.new_figure(2, 2.9)
        panels = figure.subplots(1, 2)
        for n, schedule in enumerate(study.schedules):
            found = [r["epochs"] for r in results if r["schedule"] == schedule]
            if not found:
                continue
            epochs = sorted(map(int, found[0]))
            colour = style.COLOURS[n % len(style.COLOURS)]
            dash = style.DASHES[n % len(style.DASHES)]
            for axes, key in zip(panels, ("focus_true", "accuracy"), strict=True):
                values = np.array([[r[str(e)][key] for e in epochs] for r in found])
                axes.fill_between(epochs, values.min(0), values.max(0), color=colour, alpha=0.1)
                axes.plot(epochs, values.mean(0), color=colour, linestyle=dash, label=schedule)
        for axes, name in zip(panels, ("focus true (percent)", "accuracy (percent)"), strict=True):
            axes.set(xlabel="epoch", ylabel=name, xlim=(study.every, study.epochs))
            for switch in (study.early, study.late):
                axes.axvline(switch, color="#999999", linewidth=0.6, linestyle=":")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=4)
        style.save(figure, FIGURE)


@dataclass(frozen=True)
class Placed:
    """A task, and where its data are."""

    task: Any
    place: str


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="as attnflow train --data")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "cifar", help="folder of runs")
    parser.add_argument("--study", action="append", choices=STUDIES, help="default: all but full")
    parser.add_argument("--seeds", help="by commas, instead of the studies' own")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="start no run after")
    parser.add_argument("--write", action="store_true", help=f"into {PAGE.relative_to(ROOT)}")
    options = parser.parse_args()
    from attnflow.train import parallel
    from attnflow.train.loop import task_of

    parallel.use_cores()
    import jax

    # the runs of a study compile to the same programs
    jax.config.update("jax_compilation_cache_dir", str(options.out / "compiled"))
    begin, texts, first = time.perf_counter(), [], True
    for name in options.study or SMALL:
        study, results = STUDIES[name], []
        if options.seeds:
            study = replace(study, seeds=tuple(map(int, options.seeds.split(","))))
        task = Placed(task_of(configured(study, options.data).resolved()), options.data)
        for seed in study.seeds:
            for schedule in study.schedules:
                folder = options.out / name / f"{schedule}-seed{seed}".replace(":", "-")
                late = time.perf_counter() - begin > options.seconds
                if late and not (folder / "result.json").exists():
                    continue
                folder.parent.mkdir(parents=True, exist_ok=True)
                results.append(run_one(study, schedule, seed, task, folder))
                passed = time.perf_counter() - begin
                told = list(results[-1]["epochs"].values())[-1]
                print(f"[{passed:5.0f} s] {name} {schedule}, seed {seed}: {told}", file=sys.stderr)
        if not results:
            continue
        texts.append(table(study, results))
        if options.write and first:
            draw(study, results)
        first = False
    text = "\n".join(texts)
    print(text)
    if options.write:
        insert(PAGE, "results", text)


if __name__ == "__main__":
    main()
