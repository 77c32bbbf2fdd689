"""On a GPU the same numbers as on a processor: theory in float64, training in its precision.

JAX_PLATFORMS=cuda,cpu pytest -n 0 -m gpu
"""

import os
import subprocess
import sys
from dataclasses import replace

import jax
import numpy as np
import pytest

import attnflow as af
from attnflow.train import losses
from attnflow.train.config import Training
from attnflow.train.engine import build
from attnflow.train.loop import train
from attnflow.train.objective import objective
from attnflow.train.parallel import Devices
from attnflow.train.tasks import Mosaics, Task
from training_runs import SMALL

pytestmark = pytest.mark.gpu
ROUNDING = 5e-3
"""Of TF32, in which a GPU multiplies float32 numbers."""


@pytest.fixture(autouse=True)
def platforms():
    """(GPU, processor)."""
    if jax.default_backend() == "cpu":
        pytest.skip("no GPU that JAX computes on: set JAX_PLATFORMS=cuda,cpu")
    return jax.devices()[0], jax.devices("cpu")[0]


def on(device, function):
    """The result of a function whose arrays are on that device, as NumPy arrays."""
    with jax.default_device(device):
        return jax.tree.map(np.asarray, function())


@pytest.mark.parametrize("paradigm", ["soft", "hard", "lvml", "power-1/2"])
def test_closed_form_and_simulation_are_those_of_the_processor(platforms, paradigm):
    setting = af.Setting(np.array([2.0, 20.0, 100.0]), np.array([2.0, 20.0, 1000.0]))
    times = np.geomspace(1e-3, 1e9, 50)
    for function, rounding in ((af.solve, 1e-12), (af.simulate, 1e-8)):
        found = [on(d, lambda f=function: f(paradigm, setting, times).mu) for d in platforms]
        assert found[0].dtype == np.float64
        np.testing.assert_allclose(*found, rtol=rounding, atol=1e-300)


def images(count=512, segments=3):
    random = np.random.default_rng(0)
    inputs = Mosaics(
        random.integers(60, size=(count, segments)).astype(np.int32),
        random.integers(3, size=count).astype(np.int32),
        random.integers(segments, size=count).astype(np.int32),
    )
    pixels = random.integers(0, 256, (60, 32, 32, 3), dtype=np.uint8)
    return Task("random", pixels, {"train": inputs}, 3, scale=2 / 255, offset=-1.0)


@pytest.mark.parametrize("paradigm", ["soft", "hard", "lvml", "hard-sampled", "lvml-em"])
def test_an_epoch_of_the_convolutional_pair_is_that_of_the_processor(platforms, paradigm):
    plain = Training(task="cifar10", paradigm=paradigm, networks="cifar", batch=128)

    def epoch():
        engine = build(images(), plain.resolved(), "cifar", Devices())
        state, metrics = engine.epoch(objective(paradigm), engine.start(), 0)
        return metrics["loss"], metrics["alpha"], engine.measure(state, objective(paradigm))

    here, there = (on(device, epoch) for device in platforms)
    np.testing.assert_allclose(here[0], there[0], rtol=ROUNDING)
    np.testing.assert_allclose(here[1], there[1], rtol=ROUNDING)
    for name in ("alpha", "beta"):
        mine, known = (found[2]["train"][name] for found in (here, there))
        np.testing.assert_allclose(mine, known, rtol=10 * ROUNDING)


def test_losses_have_the_processors_gradients(platforms):
    keys = jax.random.split(jax.random.key(0))
    scores, each = (np.asarray(jax.random.normal(key, (64, 7))) for key in keys)

    def gradient():
        log_weights = jax.nn.log_softmax(scores)
        return [
            jax.grad(lambda w, f=f: f(w, -np.abs(each)).mean())(log_weights)
            for f in (losses.hard, losses.lvml)
        ]

    for here, there in zip(*(on(device, gradient) for device in platforms), strict=True):
        np.testing.assert_allclose(here, there, rtol=1e-5, atol=1e-7)


def test_digits_are_learned_in_both_precisions():
    for dtype in ("float32", "bfloat16"):
        last = train(replace(SMALL, epochs=12, paradigm="lvml", dtype=dtype)).rows[-1]
        assert last["sets"]["heldout"]["accuracy"] > 0.6  # chance: a third


SCRIPT = """
import sys
from attnflow.train.loop import train
from training_runs import TINY, weights

def stop(done, total, rows):
    if done == 4:
        raise KeyboardInterrupt

if sys.argv[2] == "unbroken":
    print(weights(train(TINY, sys.argv[1])))
else:
    try:
        train(TINY, sys.argv[1], progress=stop)
    except KeyboardInterrupt:
        print(weights(train(None, sys.argv[1], resume=True)))
"""


def test_a_run_resumes_bit_for_bit_with_deterministic_kernels(tmp_path):
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_gpu_deterministic_ops=true"
    paths = os.pathsep.join([os.path.dirname(__file__), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "XLA_FLAGS": flags, "PYTHONPATH": paths}
    environment["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # this process has most of the memory
    found = []
    for kind in ("unbroken", "broken"):
        command = [sys.executable, "-c", SCRIPT, str(tmp_path / kind), kind]
        done = subprocess.run(
            command, env=environment, check=True, stdout=subprocess.PIPE, text=True
        )
        found.append(done.stdout.split()[-1])
    assert found[0] == found[1]
