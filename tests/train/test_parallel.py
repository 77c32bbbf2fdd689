"""Many devices and many processes take the steps of one device, to rounding."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from attnflow.errors import SettingError
from attnflow.train import parallel

pytestmark = pytest.mark.usefixtures("compiled_once")
PRELUDE = """
import sys, json, jax, numpy as np
from dataclasses import replace
from attnflow.train.config import Training
from attnflow.train.loop import train
from attnflow.train import evaluation as ev

TINY = Training(
    segments=5,
    train=200,
    heldout=50,
    test=50,
    epochs=4,
    batch=30,
    paradigm="soft@epoch=2,hard",
    learning_rates=(0.05,),
)
EXACT = Training(task="orthogonal", segments=4, classes=3, epochs=3, passes=5)

def losses(trained):
    return [row["loss"] for row in trained.rows]

def alike(ours, theirs, rtol=2e-4):
    # float32 sums in another order, carried on by the steps that follow
    np.testing.assert_allclose(losses(ours), losses(theirs), rtol=rtol)
    for a, b in zip(jax.tree.leaves(ours.state), jax.tree.leaves(theirs.state)):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=5e-3, atol=5e-5)
"""


def on_eight(code, *arguments):
    """Run a script on eight simulated devices."""
    flags = "--xla_force_host_platform_device_count=8"
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + code, *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_eight_devices_take_the_steps_of_one():
    on_eight("""
run = replace(EXACT, paradigm="lvml")
one, eight = train(run, devices=1), train(run)
assert (one.engine.devices.count, eight.engine.devices.count) == (1, 8)
assert eight.state["step"].sharding.is_fully_replicated
assert len(eight.state["step"].sharding.device_set) == 8
alike(one, eight, 1e-6)
assert one.rows[0]["loss"] > one.rows[-1]["loss"]
""")


@pytest.mark.slow
def test_eight_devices_give_the_curve_of_one_under_every_way_to_train():
    on_eight("""
for change in (
    {},
    {"paradigm": "hard-sampled"},
    {"paradigm": "lvml-em"},
    {"paradigm": "lvml", "seeds": (1, 2)},
    {"paradigm": "soft", "optimizer": "adam", "learning_rates": (0.002,), "chunk": 2},
    {"paradigm": "lvml", "fixed_focus": (0.4, 0.8)},
):
    run = replace(TINY, **change)
    one, eight = train(run, devices=1), train(run)
    alike(one, eight)
    assert one.rows[0]["loss"] != one.rows[1]["loss"]
    for part in ("heldout", "test"):
        a, b = (ev.evaluate(t)["sets"][part]["pooled"]["accuracy"] for t in (one, eight))
        assert abs(a - b) <= 4  # of 50 inputs, two on the edge
""")


@pytest.mark.slow
def test_posts_in_buckets_share_their_batches_too(tmp_path):
    on_eight(
        """
from attnflow.train.data.generate import write_hatexplain
data = str(write_hatexplain(sys.argv[1], 400))
sizes = dict(train=200, heldout=30, test=30, max_length=24, batch=30, optimizer="sgd")
for change in (
    {"paradigm": "soft"},
    {"paradigm": "lvml-em", "networks": "text-transformer"},
    {"paradigm": "hard-sampled", "seeds": (1, 2)},
):
    run = Training(task="hatexplain", data=data, epochs=2, **sizes, **change)
    run = replace(run, learning_rates=(0.02,))
    one, eight = train(run, devices=1), train(run)
    assert len(eight.engine.buckets) == 2
    alike(one, eight)
    for name in ("alpha", "focus_true", "macro_f1"):
        ours, theirs = (t.rows[-1]["sets"]["test"][name] for t in (one, eight))
        assert abs(ours - theirs) <= 0.1
""",
        tmp_path,
    )


@pytest.mark.slow
def test_convolutional_networks_share_their_batches_too():
    on_eight("""
from attnflow.train.tasks import Task, task
small = task("digits", train=40, heldout=8, test=8)
big = np.kron(np.asarray(small.base), np.ones((1, 4, 4, 3), np.uint8))
images = Task("images", big, small.sets, 3, scale=1 / 8, offset=-1.0)
run = Training(paradigm="lvml", networks="cifar", epochs=2, batch=20)
alike(train(run, task=images, devices=1), train(run, task=images, devices=8))
""")


@pytest.mark.slow
def test_a_run_goes_on_over_another_number_of_devices(tmp_path):
    on_eight(
        """
from pathlib import Path
place = Path(sys.argv[1])
unbroken = train(TINY, devices=1)
class Stop(Exception): pass
def stop(done, total, rows):
    if done == 2: raise Stop
for name, first, then in (("up", 1, 8), ("down", 8, 1)):
    try:
        train(TINY, place / name, devices=first, progress=stop)
    except Stop:
        pass
    resumed = train(None, place / name, devices=then, resume=True)
    assert resumed.engine.devices.count == then and len(resumed.rows) == 4
    alike(resumed, unbroken)
    a, b = (ev.evaluate(ev.load(place / name, devices=n)) for n in (1, 8))
    assert a["weights"] == b["weights"] == ev.evaluate(resumed)["weights"]
""",
        tmp_path,
    )


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def together(arguments, spell):
    """Run the command as two processes; (standard output, standard error) of each."""
    port = free_port()
    started = []
    for number in range(2):
        options, variables = spell(port, number)
        started.append(
            subprocess.Popen(
                [sys.executable, "-m", "attnflow", *map(str, arguments), *options],
                env={**os.environ, "JAX_PLATFORMS": "cpu", **variables},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    try:
        said = [one.communicate(timeout=300) for one in started]
    finally:
        for one in started:
            one.kill()
    return [one.returncode for one in started], said


def by_options(port, number):
    where = ["--coordinator", f"127.0.0.1:{port}", "--processes", "2"]
    return ["--distributed", *where, "--process-id", str(number)], {}


def by_launcher(port, number):
    names = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": 2, "RANK": number}
    return ["--distributed"], {name: str(value) for name, value in names.items()}


def by_variables(port, number):
    address = {"JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{port}"}
    return [], {**address, "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": str(number)}


def curve(folder):
    lines = (Path(folder) / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


@pytest.mark.slow
@pytest.mark.parametrize("spell", [by_options, by_launcher, by_variables])
def test_two_processes_take_the_steps_of_one_and_one_of_them_writes(spell, tmp_path, monkeypatch):
    from attnflow.train.config import Training
    from attnflow.train.loop import train

    task = ["train", "--train", "200", "--heldout", "50", "--test", "50", "--batch", "30"]
    command = [
        *task,
        "-p",
        "soft@epoch=2,hard",
        "--epochs",
        "4",
        "--json",
        "--out",
        tmp_path / "two",
    ]
    codes, said = together(command, spell)
    assert codes == [0, 0], said
    alone = train(
        Training(train=200, heldout=50, test=50, epochs=4, batch=30, paradigm="soft@epoch=2,hard")
    )
    ours = curve(tmp_path / "two")
    np.testing.assert_allclose(ours, [row["loss"] for row in alone.rows], rtol=2e-4)
    shown = json.loads(said[0][0])
    assert shown["epochs"] == 4 and said[1][0] == ""
    record = json.loads((tmp_path / "two" / "run.json").read_text())
    assert (record["processes"], record["shared_by"]) == (2, 2)
    if spell is by_options:
        # the folder's run is over: both read its end from the first process
        codes, said = together(["train", "--out", tmp_path / "two", "--resume", "--json"], spell)
        assert codes == [0, 0], said
        assert json.loads(said[0][0]) == shown
        codes, said = together(command, spell)
        assert codes == [2, 2] and all("holds a run already" in err for _, err in said)


def test_devices_and_processes_that_are_not_there_are_refused(monkeypatch):
    there = jax.device_count()
    with pytest.raises(SettingError, match=f"devices must be a whole number from 1 to {there}"):
        parallel.devices(there + 1)
    with pytest.raises(SettingError, match="coordinator must read HOST:PORT, got 'here'"):
        parallel.join("here")
    with pytest.raises(SettingError, match="process-id must be from 0 to 1, got 2"):
        parallel.join("localhost:1", 2, 2)
    with pytest.raises(SettingError, match="processes must be a whole number of at least 1"):
        parallel.join("localhost:1", 0, 0)
    monkeypatch.setenv("WORLD_SIZE", "many")
    with pytest.raises(SettingError, match="processes must be a whole number, got WORLD_SIZE='ma"):
        parallel.join("localhost:1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SettingError, match="several processes need a coordinator HOST:PORT"):
        parallel.join(None)
