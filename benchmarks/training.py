"""Measure a training step of the CIFAR pair beside the published way and tuned PyTorch.

    python benchmarks/training.py              all contenders, each paradigm in turn
    python benchmarks/training.py --rounds 5   more rounds
    python benchmarks/training.py --paradigm soft --paradigm lvml
    python benchmarks/training.py --write      and put the table into docs/benchmark-training.md

Images are random (their content costs nothing); m = 5, batch 256, SGD 0.05 with momentum 0.9,
float32. Each measurement is a process of its own, so that peak memory is its own and no thread
pool is left behind; contenders take turns, ratios are within a round, medians over rounds. PyTorch
is optional: where it is missing, attnflow stands alone. All start from equal weights, and the
losses of the first steps must agree. On a GPU that ``roofline.py`` knows, attnflow's share of what
its memory allows is told too.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from roofline import GPUS, busiest_loop
from tables import insert

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "benchmark-training.md"
SEGMENTS, CLASSES, BATCH, SIDE, IMAGES = 5, 3, 256, 32, 6000
RATE, MOMENTUM = 0.05, 0.9
PARADIGMS = ("soft", "hard", "lvml")
CONTENDERS = {
    "attnflow": "attnflow",
    "published": "PyTorch as published: float32 mosaics, DataLoader, segment by segment",
    "tuned": "PyTorch tuned: resident uint8, channels last, pool before ReLU",
}


class Clock:
    """Time since it was made: (seconds, seconds of processor time over all threads)."""

    def __init__(self) -> None:
        self.start = self.now()

    @staticmethod
    def now() -> np.ndarray:
        return np.array([time.perf_counter(), time.process_time()])

    def passed(self) -> np.ndarray:
        return self.now() - self.start


def host_memory() -> int:
    """Peak memory of this process, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def least(times: list[np.ndarray], steps: int) -> dict[str, float]:
    """Of the rounds after the first, which warms up: the least of both times for a step."""
    seconds, processor = np.min(times[1:], axis=0) / steps
    return {"seconds": float(seconds), "processor": float(processor)}


def data(mosaics: int) -> dict[str, np.ndarray]:
    """Random images and mosaics of them, the same for every contender."""
    random = np.random.default_rng(0)
    return {
        "images": random.integers(0, 256, (IMAGES, SIDE, SIDE, 3), dtype=np.uint8),
        "segments": random.integers(IMAGES, size=(mosaics, SEGMENTS)).astype(np.int32),
        "labels": random.integers(CLASSES, size=mosaics).astype(np.int32),
        "true": random.integers(SEGMENTS, size=mosaics).astype(np.int32),
    }


def weights(seed: int = 0) -> dict[str, np.ndarray]:
    """Start of both networks, kernels as (height, width, in, out) and (in, out)."""
    from attnflow.train.networks.contract import networks

    focus, classifier, _ = networks("cifar", (SIDE, SIDE, 3), CLASSES, seed)
    found = {}
    for name, module, layers in (
        ("focus", focus, ("first", "second", "third")),
        ("classifier", classifier, ("first", "second")),
    ):
        for layer in layers:
            found[f"{name}.{layer}"] = np.asarray(getattr(module, layer).kernel[...])
        for index, dense in enumerate(module.dense.layers):
            found[f"{name}.dense.{index}"] = np.asarray(dense.kernel[...])
    return found


def run_attnflow(paradigm: str, steps: int, given: dict[str, np.ndarray]) -> dict[str, Any]:
    """Whole compiled epochs; the first, of the same shape, is compilation and warm-up."""
    import jax

    from attnflow.train import parallel
    from attnflow.train.config import Training
    from attnflow.train.engine import build
    from attnflow.train.objective import objective
    from attnflow.train.tasks.task import Mosaics, Task

    inputs = Mosaics(given["segments"], given["labels"], given["true"])
    task = Task("random", given["images"], {"train": inputs}, CLASSES, scale=2 / 255, offset=-1.0)
    run = Training(
        task="cifar10",
        paradigm=paradigm,
        networks="cifar",
        epochs=3,
        batch=BATCH,
        learning_rates=(RATE,),
        momentum=MOMENTUM,
    ).resolved()
    parallel.use_cores()
    engine = build(task, run, "cifar", parallel.devices(None))
    goal, state, times, losses = objective(paradigm), engine.start(), [], []
    for number in range(3):
        begin = Clock()
        state, metrics = jax.block_until_ready(engine.epoch(goal, state, number))
        times.append(begin.passed())
        losses.append(float(metrics["loss"][0]))
    device = jax.devices()[0]
    found = {
        **least(times, steps),
        "losses": losses,
        "device": str(device.device_kind),
        "memory": (device.memory_stats() or {}).get("peak_bytes_in_use", host_memory()),
    }
    if found["device"] in GPUS and steps > 1:
        epoch = jax.jit(lambda state: engine.epoch(goal, state, 0)).lower(state).compile()
        needed = busiest_loop(epoch.as_text()).traffic / GPUS[found["device"]].bandwidth
        found["roofline"] = needed / found["seconds"]
    return found


def run_torch(
    paradigm: str, steps: int, given: dict[str, np.ndarray], tuned: bool, given_weights: str
) -> dict[str, Any]:
    """The same networks, losses and optimiser in PyTorch; order of inputs as they come."""
    import torch
    from torch.nn import functional as F
    from torch_pair import loss_of, pair

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with np.load(given_weights) as stored:
        focus, classifier = (net.to(device) for net in pair(dict(stored), pool_first=tuned))
    if tuned:
        focus, classifier = (n.to(memory_format=torch.channels_last) for n in (focus, classifier))
    optimizers = [
        torch.optim.SGD(net.parameters(), lr=RATE, momentum=MOMENTUM) for net in (focus, classifier)
    ]

    def loss_as_published(x: Any, y: Any) -> Any:
        scores = torch.stack([focus(x[:, i])[:, 0] for i in range(SEGMENTS)], 1)
        log_weights = F.log_softmax(scores, dim=1)
        weights = log_weights.exp()
        if paradigm == "soft":
            pooled = torch.zeros_like(x[:, 0])
            for i in range(SEGMENTS):
                pooled = pooled + weights[:, i, None, None, None] * x[:, i]
            return F.cross_entropy(classifier(pooled), y)
        each = torch.stack(
            [
                F.log_softmax(classifier(x[:, i]), dim=1).gather(1, y[:, None])[:, 0]
                for i in range(SEGMENTS)
            ],
            1,
        )
        if paradigm == "hard":
            return -(weights * each).sum(1).mean()
        return -torch.logsumexp(log_weights + each, dim=1).mean()

    images = np.ascontiguousarray(given["images"].transpose(0, 3, 1, 2))  # as PyTorch reads them
    labels = torch.tensor(given["labels"], dtype=torch.long)
    if tuned:
        resident, index = torch.tensor(images).to(device), torch.tensor(given["segments"]).long()

        def batches() -> Any:
            for at in range(0, steps * BATCH, BATCH):
                here = slice(at, at + BATCH)
                x = resident[index[here].to(device)].float() * (2 / 255) - 1
                yield x, labels[here].to(device)
    else:
        mosaics = torch.tensor(images[given["segments"]].astype(np.float32) * (2 / 255) - 1)
        items = list(zip(mosaics, labels, strict=True))  # one tensor a mosaic, as published
        loader = torch.utils.data.DataLoader(items, batch_size=BATCH)

        def batches() -> Any:
            for x, y in loader:
                yield x.to(device), y.to(device)

    times, losses = [], []
    for _ in range(3):
        begin, total = Clock(), torch.zeros((), device=device)
        for x, y in batches():
            for optimizer in optimizers:
                optimizer.zero_grad(set_to_none=True)
            if tuned:
                loss, _ = loss_of(paradigm, focus, classifier, x, y)
            else:
                loss = loss_as_published(x, y)
            loss.backward()
            for optimizer in optimizers:
                optimizer.step()
            total += loss.detach()
        losses.append(float(total) / steps)  # which waits for a GPU
        times.append(begin.passed())
    there = device.type == "cuda"
    return {
        **least(times, steps),
        "losses": losses,
        "device": torch.cuda.get_device_name() if there else "cpu",
        "memory": torch.cuda.max_memory_allocated() if there else host_memory(),
    }


def child(contender: str, paradigm: str, steps: int, start: str) -> None:
    """One measurement, printed as JSON: seconds a step, the first loss, peak memory."""
    given = data(steps * BATCH)
    if contender == "attnflow":
        found = run_attnflow(paradigm, steps, given)
    else:
        found = run_torch(paradigm, steps, given, contender == "tuned", start)
    print(json.dumps(found))


def measured(contender: str, paradigm: str, steps: int, start: str) -> dict[str, Any]:
    """What ``child`` prints, in a process of its own."""
    command = [sys.executable, __file__, "--child", contender, paradigm, str(steps), start]
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(out.splitlines()[-1])


def agree(names: list[str], paradigms: list[str], start: str) -> None:
    """Refuse to compare what does not compute the same: three steps on one batch.

    Raises:
        SystemExit: the losses differ by more than rounding: of float32 on a CPU, of TF32, which
            both use for float32, on a GPU.
    """
    for paradigm in paradigms:
        found = [measured(name, paradigm, 1, start) for name in names]
        allowed = 1e-5 if found[0]["device"] == "cpu" else 5e-3
        losses = np.array([one["losses"] for one in found])
        apart = float(np.max(np.abs(losses / losses[0] - 1)))
        print(f"{paradigm}: losses agree to {apart:.1e}", file=sys.stderr)
        if not apart < allowed:
            raise SystemExit(f"contenders differ under {paradigm}: {losses.tolist()}")


def measure(rounds: int, steps: int, paradigms: list[str], start: str) -> list[dict[str, Any]]:
    """Contenders in turn, a process each."""
    try:
        import torch  # noqa: F401

        names = list(CONTENDERS)
    except ImportError:
        print("PyTorch is not installed: attnflow alone", file=sys.stderr)
        names = ["attnflow"]
    agree(names, paradigms, start)
    records = []
    for paradigm in paradigms:
        kept: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
        for _ in range(rounds):
            for name in names:
                kept[name].append(measured(name, paradigm, steps, start))
                print(f"{paradigm:5} {name:10} {kept[name][-1]['seconds']:.3f} s", file=sys.stderr)
        for name, found in kept.items():
            ratios = {
                kind: statistics.median(
                    other[kind] / own[kind]
                    for other, own in zip(found, kept["attnflow"], strict=True)
                )
                for kind in ("seconds", "processor")
            }
            records.append(
                {
                    "paradigm": paradigm,
                    "contender": name,
                    "seconds": statistics.median(r["seconds"] for r in found),
                    "ratios": ratios,
                    "memory": max(r["memory"] for r in found),
                    "device": found[0]["device"],
                    "roofline": found[0].get("roofline"),
                }
            )
    return records


def table(records: list[dict[str, Any]], steps: int) -> str:
    """The record as a page."""
    import jax

    from attnflow import environment

    device = records[0]["device"]
    where = f"{environment.processor()}, {environment.cores()} cores" if device == "cpu" else device
    lines = [
        f"Batch {BATCH}, float32, {steps} steps; {where}, JAX {jax.__version__}. Ratios are "
        "medians over rounds in which the contenders took turns, a process each. Made by `python "
        "benchmarks/training.py --write`.",
        "",
        "| paradigm | contender | time relative to attnflow | processor time relative to attnflow "
        "| mosaics a second | peak memory |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {r['paradigm']} | {CONTENDERS[r['contender']]} | {r['ratios']['seconds']:.2f} "
        f"| {r['ratios']['processor']:.2f} | {BATCH / r['seconds']:.0f} "
        f"| {r['memory'] / 2**30:.2f} GiB |"
        for r in records
    ]
    shares = [f"{r['paradigm']} {100 * r['roofline']:.0f} %" for r in records if r["roofline"]]
    if shares:
        lines += ["", f"Share of the roofline (its memory's bandwidth): {', '.join(shares)}."]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8, help="batches an epoch")
    parser.add_argument("--paradigm", action="append", choices=PARADIGMS, help="default: all")
    parser.add_argument("--write", action="store_true", help=f"into {PAGE.relative_to(ROOT)}")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    # on a GPU, this process and its children share the memory
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    if options.child:
        contender, paradigm, steps, start = options.child
        child(contender, paradigm, int(steps), start)
        return
    print(f"load {os.getloadavg()[0]:.1f}", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        start = str(Path(folder) / "weights.npz")  # so that no contender loads another's library
        np.savez(start, **weights())
        paradigms = options.paradigm or list(PARADIGMS)
        records = measure(options.rounds, options.steps, paradigms, start)
    text = table(records, options.steps)
    print(text)
    if options.write:
        insert(PAGE, "beside", text)


if __name__ == "__main__":
    main()
