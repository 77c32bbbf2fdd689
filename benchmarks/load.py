"""What large amounts cost: python benchmarks/load.py [lengths|settings|runs|epochs ...].

lengths: 300 solves and simulations at 300 numbers of times. settings: a million in one vmap.
runs: a report of 200 (copies of one). epochs: metrics of 10,000, with their report. Each in a
process of its own; prints seconds of processor time and the peak of resident memory.
"""

import json
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

RUN = "train --task orthogonal -m 3 -C 3 --train 12 --epochs 3 --out"


def _memory() -> float:
    """Resident memory in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def _attnflow(line: str) -> None:
    from attnflow.cli import run

    if code := run(line.split()):
        raise SystemExit(code)


def lengths() -> str:
    """Memory after the first and the last of 300 numbers of times."""
    import numpy as np

    import attnflow as af

    told = []
    for function in (af.solve, af.simulate):
        memory = []
        for count in range(1, 301):
            function("soft", af.Setting(20, 20), np.linspace(0, 700, count + 1))
            memory.append(_memory())
        growth = " ".join(f"{memory[at]:.0f}" for at in (0, 99, 199, 299))
        told.append(f"{function.__name__} after 1, 100, 200, 300 lengths: {growth} MB")
    return "; ".join(told)


def settings() -> str:
    """A million settings at once."""
    import jax
    import numpy as np

    import attnflow as af

    rng = np.random.default_rng(0)
    segments, classes = (np.exp(rng.uniform(np.log(2), np.log(1e6), 10**6)) for _ in range(2))
    times = segments * classes * np.exp(rng.uniform(np.log(1e-2), np.log(1e2), 10**6))

    def margin(m: jax.Array, c: jax.Array, t: jax.Array) -> jax.Array:
        return af.solve("lvml", af.Setting(m, c), t).mu

    with jax.enable_x64(True):
        mu = jax.jit(jax.vmap(margin))(np.floor(segments), np.floor(classes), times)
    return f"{mu.size} settings, {int(np.isfinite(mu).sum())} finite"


def runs() -> str:
    """A report of 200 runs."""
    with tempfile.TemporaryDirectory() as folder:
        names = [f"{folder}/run-{number}" for number in range(200)]
        _attnflow(f"{RUN} {names[0]} --json")
        for name in names[1:]:
            shutil.copytree(names[0], name)
        before = resource.getrusage(resource.RUSAGE_SELF)
        _attnflow(f"report {' '.join(names)} --out {folder}/page")
        after = resource.getrusage(resource.RUSAGE_SELF)
        size = sum(file.stat().st_size for file in Path(folder, "page").rglob("*.*"))
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return f"200 runs, report {used:.0f} s, page of {size / 1e6:.1f} MB"


def epochs() -> str:
    """A run of 10,000 epochs, measured after each, and its report."""
    with tempfile.TemporaryDirectory() as folder:
        line = f"{RUN.replace('--epochs 3', '--epochs 10000 --checkpoint-every 1000')} {folder}/run"
        _attnflow(f"{line} --json")
        size = Path(folder, "run", "metrics.jsonl").stat().st_size
        before = resource.getrusage(resource.RUSAGE_SELF)
        _attnflow(f"report {folder}/run --out {folder}/page")
        after = resource.getrusage(resource.RUSAGE_SELF)
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return f"10,000 epochs, metrics of {size / 1e6:.1f} MB, report {used:.0f} s"


LOADS: dict[str, Callable[[], str]] = {
    "lengths": lengths,
    "settings": settings,
    "runs": runs,
    "epochs": epochs,
}


def main() -> None:
    """Each load in a process of its own; with "--here NAME" in this one."""
    if sys.argv[1:2] == ["--here"]:
        told = LOADS[sys.argv[2]]()
        used = resource.getrusage(resource.RUSAGE_SELF)
        record = {
            "what": told,
            "cpu": used.ru_utime + used.ru_stime,
            "peak": used.ru_maxrss / 1024,
        }
        print(json.dumps(record), file=sys.stderr)
        return
    for name in sys.argv[1:] or LOADS:
        command = [sys.executable, __file__, "--here", name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{name}: {done.stderr}")
        record = json.loads(done.stderr.splitlines()[-1])
        print(f"{name}: {record['what']}; {record['cpu']:.0f} s, peak {record['peak']:.0f} MB")


if __name__ == "__main__":
    main()
