"""Measure what captions cost: images through the pipeline, and a training step at full size.

    python benchmarks/captions.py                     small batches, this machine's device
    python benchmarks/captions.py --batch 64          as in training at full size
    python benchmarks/captions.py --write             and put the table into its page

Images are random noise as JPEG, 640 x 480 (noise is slower to decode than photographs), cropped to
224; the grid is 196 x 512, five captions of 12 words an image, 10,000 words, float32. Every
measurement is a process of its own, so that peak memory is its own. An epoch of COCO 2017 is
118,287 images with five captions each; its time is computed from the slower of pipeline and step.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from tables import insert

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "benchmark-captions.md"
IMAGES, WORDS, LENGTH, EPOCH = 64, 10_000, 12, 118_287
PIPELINES = {
    "decoded": "pipeline: JPEG decoded and resized by threads",
    "processes": "the same by processes, one for two cores",
    "stored": "pipeline: feature store",
}


def corpus(folder: Path, times: int = 1) -> Any:
    """Random images and captions, as the pipeline takes them; each image so many times."""
    from PIL import Image

    from attnflow.captions.coco import CaptionSet, Corpus, Picture
    from attnflow.captions.vocabulary import SPECIAL, Vocabulary

    random = np.random.default_rng(0)
    pictures = []
    for number in range(IMAGES):
        path = folder / f"{number}.jpg"
        if not path.exists():
            coarse = random.integers(0, 256, (60, 80, 3), dtype=np.uint8)
            Image.fromarray(coarse).resize((640, 480)).save(path, quality=90)
        pictures.append(Picture(number, path, 640, 480, ("",) * 5, ((),) * 5))
    count = times * IMAGES
    words = random.integers(4, WORDS, (5 * count, LENGTH)).astype(np.int32)
    first = np.arange(0, 5 * count + 1, 5)
    references = ((("w",),) * 5,) * count
    part = CaptionSet("train", tuple(pictures) * times, references, words, first, None)
    known = Vocabulary((*SPECIAL, *(f"w{i}" for i in range(WORDS - 4))))
    return Corpus({"train": part}, known, 2017)


def pipeline(folder: Path, stored: bool, batch: int, workers: int = 0) -> float:
    """Images a second, decoded or from a store, over an epoch long enough to hide its start."""
    from attnflow.captions.feature_store import open_store
    from attnflow.captions.pipeline import Pixels, batches

    part = corpus(folder, 100 if stored else 20).sets["train"]
    source: Any = Pixels(224, "crop")
    if stored:
        numbers = [picture.id for picture in part.pictures[:IMAGES]]
        np.save(folder / "features.npy", np.zeros((IMAGES, 196, 512), np.float16))
        (folder / "index.json").write_text(json.dumps({"images": numbers, "recipe": {}}))
        source = open_store(folder)
    sum(1 for _ in batches(part, source, batch, each=5, seed=0, limit=IMAGES))  # imports
    begin = time.perf_counter()
    found = batches(part, source, batch, each=5, seed=0, workers=workers)
    count = sum(int((one.rows >= 0).sum()) for one in found)
    return count / (time.perf_counter() - begin)


def step(folder: Path, paradigm: str, batch: int, steps: int) -> float:
    """Images a second through the step from stored features."""
    import jax

    from attnflow.captions.config import CaptionTraining
    from attnflow.captions.program import build
    from attnflow.train import parallel
    from attnflow.train.objective import objective

    random = np.random.default_rng(1)
    stored = random.normal(size=(IMAGES, 196, 512)).astype(np.float16)
    np.save(folder / "features.npy", stored)
    document = {"images": list(range(IMAGES)), "recipe": {}}
    (folder / "index.json").write_text(json.dumps(document))
    run = CaptionTraining(data="", features=str(folder), batch=batch)
    engine = build(corpus(folder), run, parallel.devices(1))
    pixels = np.resize(stored, (batch, 196, 512))
    words = random.integers(4, WORDS, (batch, 5, LENGTH)).astype(np.int32)
    state, goal = engine.start(), objective(paradigm)
    state = jax.block_until_ready(engine.step(goal, state, pixels, words))
    begin = time.perf_counter()
    for _ in range(steps):
        state = engine.step(goal, state, pixels, words)
    jax.block_until_ready(state)
    return batch * steps / (time.perf_counter() - begin)


def child(kind: str, batch: int, steps: int) -> None:
    """One measurement, printed as JSON: images a second and peak memory."""
    with tempfile.TemporaryDirectory() as held:
        folder = Path(held)
        if kind in PIPELINES:
            from attnflow.environment import cores

            workers = cores() // 2 if kind == "processes" else 0
            rate = pipeline(folder, kind == "stored", batch, workers)
        else:
            rate = step(folder, kind, batch, steps)
    scale = 1 if sys.platform == "darwin" else 1024
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale
    print(json.dumps({"rate": rate, "memory": memory}))


def table(kinds: list[str], batch: int, steps: int) -> str:
    """All measurements as a table."""
    import jax

    from attnflow import environment

    lines = [
        f"Measured on {environment.device()}, {environment.cores()} cores, JAX {jax.__version__}, "
        f"load {os.getloadavg()[0]:.1f} at the start, batch {batch}, {steps} steps; memory is of "
        "the host's process.",
        "",
        "| what | images a second | peak memory | an epoch of COCO 2017 would take |",
        "|---|---:|---:|---:|",
    ]
    for kind in kinds:
        command = [sys.executable, __file__, "--child", kind, str(batch), str(steps)]
        out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        found = json.loads(out.splitlines()[-1])
        lines.append(
            f"| {PIPELINES.get(kind, f'step, {kind}')} | {found['rate']:.3g} "
            f"| {found['memory'] / 2**30:.2f} GiB | {EPOCH / found['rate'] / 3600:.3g} h |"
        )
        print(lines[-1], file=sys.stderr)
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument(
        "--kinds",
        nargs="+",
        default=[*PIPELINES, "soft", "hard-sampled", "hard", "lvml"],
    )
    parser.add_argument("--write", action="store_true", help=f"into {PAGE.relative_to(ROOT)}")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    # on a GPU, this process and its children share the memory
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    if options.child:
        kind, batch, steps = options.child
        child(kind, int(batch), int(steps))
        return
    text = table(options.kinds, options.batch, options.steps)
    print(text)
    if options.write:
        insert(PAGE, "benchmark", text)


if __name__ == "__main__":
    main()
