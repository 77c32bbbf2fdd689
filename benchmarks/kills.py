"""Kills training by SIGKILL at random moments: what resumes must end as if it had never stopped.

    python benchmarks/kills.py --kills 20 --seed 0

Digits, posts and captions are trained once unbroken, and once with so many kills, each at a random
moment after at least one more checkpoint. Exits with 1 where weights or metrics differ.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TASKS = {
    "digits": "--task digits --train 800 --heldout 400 --test 400 --batch 32 --seed 0,1"
    " --paradigm soft@epoch={half},hard-sampled --epochs {epochs}",
    "posts": "--task hatexplain --data posts --paradigm lvml --batch 16 --epochs {epochs}",
    "captions": "--task coco --data coco --encoder-width 8 --encoder-blocks 2 --image-size 32"
    " --hidden 16 --attention 8 --embedding 8 --batch 8 --min-count 1 --checkpoint-steps 2"
    " --paradigm soft@epoch={half},hard-sampled --epochs {epochs}",
}
"""Task -> options; each keeps a checkpoint an epoch, captions also within one."""
EPOCHS = {"digits": 40, "posts": 5, "captions": 3}
"""Epochs for each kill, so that the run does not end before the last."""
DATA = {
    "posts": "hatexplain --data posts --posts 200",
    "captions": "coco --data coco --train 64 --val 8 --side 32",
}


def attnflow(*arguments: str) -> list[str]:
    """The command line."""
    return [sys.executable, "-m", "attnflow", *arguments]


def rows(run: Path) -> list[dict[str, object]]:
    """The metrics of a run without what tells the time."""
    lines = (run / "metrics.jsonl").read_text().splitlines()
    timed = ("seconds", "per_second")
    return [
        {name: value for name, value in json.loads(line).items() if not name.endswith(timed)}
        for line in lines
    ]


def weights(run: Path) -> str:
    """SHA-256 of the weights that a run ended with."""
    done = subprocess.run(attnflow("evaluate", str(run), "--json"), capture_output=True, check=True)
    found = json.loads(done.stdout)
    return " ".join(one["weights"] for one in (found if isinstance(found, list) else [found]))


def steps(run: Path) -> int:
    """The number of the newest checkpoint, 0 where there is none."""
    names = [path.name for path in (run / "checkpoints").glob("*")]
    return max((int(name) for name in names if name.isdigit()), default=0)


def killed(command: list[str], run: Path, kills: int, rng: random.Random) -> int:
    """Train, killed so many times; how many there were before the run ended by itself."""
    for count in range(kills):
        resume = ["--resume"] if steps(run) else []
        before, delay = steps(run), rng.uniform(0, 0.3)
        with (run.parent / "said").open("wb") as said:
            process = subprocess.Popen([*command, *resume], stdout=said, stderr=said)
            while process.poll() is None and steps(run) <= before:
                time.sleep(0.002)
            time.sleep(delay)
            ended = process.poll()
            process.kill()
            process.wait()
        if ended is not None:
            if ended:
                raise SystemExit((run.parent / "said").read_text())
            return count
    subprocess.run([*command, "--resume"], check=True, stdout=subprocess.DEVNULL)
    return kills


def main() -> int:
    """Kill every task."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--task", choices=TASKS, action="append")
    asked = parser.parse_args()
    rng, wrong = random.Random(asked.seed), 0
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for task in asked.task or TASKS:
            if task in DATA:
                subprocess.run(
                    attnflow("data", "generate", *DATA[task].split()),
                    check=True,
                    stdout=subprocess.DEVNULL,
                )
            epochs = EPOCHS[task] * asked.kills + 5
            options = TASKS[task].format(epochs=epochs, half=epochs // 2).split()
            whole, broken = Path(folder, f"{task}-whole"), Path(folder, f"{task}-killed")
            subprocess.run(
                attnflow("train", *options, "--out", str(whole)),
                check=True,
                stdout=subprocess.DEVNULL,
            )
            command = attnflow("train", *options, "--out", str(broken))
            count = killed(command, broken, asked.kills, rng)
            equal = weights(whole) == weights(broken) and rows(whole) == rows(broken)
            wrong += not equal
            print(f"{task}: {count} kills, weights and metrics {'equal' if equal else 'DIFFER'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
