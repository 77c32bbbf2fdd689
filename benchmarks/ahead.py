"""Compile training steps for a GPU that need not be there, and say what they ask of it.

    pip install ".[gpu]"                       its compiler, some 3 GB; no GPU and no driver
    python benchmarks/ahead.py                 for an NVIDIA H200
    python benchmarks/ahead.py --write         and put the table into its page

XLA compiles the same epoch that ``attnflow train`` would run there. Read off the compiled program:
kernels a step, the memory that they read and write, and what it keeps at most; counted before
compilation: floating-point operations. The roofline is the longer of memory over bandwidth and
operations over peak. **No time is measured here**; ``benchmarks/training.py`` does, on a GPU.
"""

import argparse
import os
from functools import partial
from pathlib import Path
from typing import Any

os.environ["JAX_PLATFORMS"] = "cpu"  # where the arrays are; the GPU is only compiled for
os.environ["JAX_SKIP_CUDA_CONSTRAINTS_CHECK"] = "1"  # which would look for a driver
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # measured sort sizes are not known ahead

import jax
import numpy as np
from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding
from roofline import GPUS, busiest_loop
from tables import insert

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "benchmark-training.md"
NAME, MOSAICS, BATCH = "NVIDIA H200", 30_000, 256
DESCRIPTION = f"""
gpu_device_info {{
  cuda_compute_capability {{ major: 9 }}
  core_count: 132 fpus_per_core: 128 clock_rate_ghz: 1.98 threads_per_warp: 32
  threads_per_block_limit: 1024 threads_per_core_limit: 2048
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
  shared_memory_per_block: 49152 shared_memory_per_block_optin: 232448
  shared_memory_per_core: 233472 l2_cache_size: 62914560
  memory_bandwidth: {GPUS[NAME].bandwidth:.0f} device_memory_size: 149000000000
}}
platform_name: "CUDA" device_description_str: "{NAME}"
dnn_version_info {{ major: 9 minor: 8 }} runtime_version {{ major: 12 minor: 9 }}
"""
"""What the compiler asks about the GPU; from its datasheet."""


def target() -> Any:
    """The GPU as something to compile for.

    Raises:
        SystemExit: the compiler is not installed.
    """
    try:
        found = topologies.get_topology_desc(
            platform="cuda", topology="1x1x1", target_config=DESCRIPTION
        )
    except NotImplementedError:
        raise SystemExit('the compiler for NVIDIA GPUs is missing: pip install ".[gpu]"') from None
    return SingleDeviceSharding(found.devices[0])


def compiled(paradigm: str, networks: str, dtype: str, device: Any) -> tuple[Any, float]:
    """(the compiled epoch of one run, floating-point operations a step)."""
    from attnflow.train import parallel
    from attnflow.train.config import Training
    from attnflow.train.engine import build
    from attnflow.train.epoch import Arrays, Rows, batch_gradient, run_epoch
    from attnflow.train.objective import objective
    from attnflow.train.tasks.task import Mosaics, Task

    classes, images = 50 if networks == "cifar-wide" else 3, 5 * BATCH
    # as many images as a step reads: the text of a program counts an operand in full
    random = np.random.default_rng(0)
    inputs = Mosaics(
        random.integers(images, size=(MOSAICS, 5)).astype(np.int32),
        random.integers(classes, size=MOSAICS).astype(np.int32),
        random.integers(5, size=MOSAICS).astype(np.int32),
    )
    pixels = np.zeros((images, 32, 32, 3), np.uint8)
    task = Task("random", pixels, {"train": inputs}, classes, scale=2 / 255, offset=-1.0)
    run = Training(
        task="cifar10", paradigm=paradigm, networks=networks, dtype=dtype, batch=BATCH
    ).resolved()
    engine = build(task, run, networks, parallel.Devices())
    goal = objective(paradigm)
    state, replica = jax.tree.map(lambda a: a[0], (engine.start(), engine._which(0)[0]))
    fixed = replica, np.int32(0), engine.base, engine.inputs["train"]

    def there(tree: Any) -> Any:
        return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=device), tree)

    function = jax.jit(partial(run_epoch, engine, goal), out_shardings=device)
    epoch = function.lower(*there((state, *fixed))).compile()
    rows = Rows(np.arange(BATCH, dtype=np.int32), np.ones(BATCH, bool))
    arrays = Arrays(state["weights"], state["baseline"], replica, *fixed[2:])
    once = partial(batch_gradient, engine, goal)
    cost: Any = jax.jit(once).lower(arrays, rows).cost_analysis()
    return epoch, float(cost["flops"])


def table() -> str:
    """Every kind of step."""
    jax.default_backend = lambda: "gpu"  # engine and networks ask it how to compute
    gpu, device = GPUS[NAME], target()
    lines = [
        f"Compiled ahead of time for an {NAME} ({gpu.bandwidth / 1e12:g} TB/s, "
        f"{gpu.peak['float32'] / 1e12:g} TFLOP/s in TF32 and {gpu.peak['bfloat16'] / 1e12:g} in "
        f"bfloat16) by JAX {jax.__version__}: {MOSAICS:,} mosaics of 5 segments, batch {BATCH}. "
        "The roofline is the longer of memory over bandwidth and operations over peak. **Nothing "
        "in this table was run or timed.** Made by `python benchmarks/ahead.py --write`.",
        "",
        "| networks | paradigm | numbers | kernels a step | GFLOP a step | memory moved a step "
        "| memory held beside the data | roofline: a step | mosaics a second |",
        "|---|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    kinds = [("cifar", p, "float32") for p in ("soft", "hard", "lvml")]
    kinds += [("cifar", "lvml", "bfloat16"), ("cifar-wide", "lvml", "float32")]
    for networks, paradigm, dtype in kinds:
        epoch, operations = compiled(paradigm, networks, dtype, device)
        step = busiest_loop(epoch.as_text())
        least = max(step.traffic / gpu.bandwidth, operations / gpu.peak[dtype])
        kept = epoch.memory_analysis().temp_size_in_bytes
        lines.append(
            f"| {networks} | {paradigm} | {dtype} | {step.kernels} | {operations / 1e9:.1f} "
            f"| {step.traffic / 1e9:.2f} GB | {kept / 1e9:.2f} GB | {1e3 * least:.2f} ms "
            f"| {float(f'{BATCH / least:.3g}'):,.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true", help=f"into {PAGE.relative_to(ROOT)}")
    options = parser.parse_args()
    text = table()
    print(text)
    if options.write:
        insert(PAGE, "ahead", text)


if __name__ == "__main__":
    main()
