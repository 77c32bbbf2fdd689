"""What only a process of its own shows: help without JAX, exit codes, streams, interruption."""

import os
import signal
import subprocess
import sys
import time

import pytest

COMMANDS = [
    "compare",
    "plot",
    "solve",
    "simulate",
    "derive",
    "export",
    "switch",
    "crossings",
    "doctor",
    "cite",
]


def python(*arguments, **options):
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=300, **options
    )


def test_help_is_the_same_by_module_and_by_function(attnflow):
    done = python("-m", "attnflow", "--help", env={**os.environ, "COLUMNS": "80"})
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout == attnflow("--help")[1]
    for command in COMMANDS:
        assert f"\n  {command} " in done.stdout


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_help_imports_neither_jax_nor_sympy_nor_numpy(command):
    asked = ["--help"] if command is None else [command, "--help"]
    code = (
        "import sys; from attnflow.cli import run; code = run(sys.argv[1:]);"
        "heavy = ('jax', 'sympy', 'numpy', 'matplotlib', 'rich');"
        "print([m for m in heavy if m in sys.modules], file=sys.stderr);"
        "sys.exit(code)"
    )
    done = python("-c", code, *asked)
    assert done.returncode == 0
    assert done.stderr.strip() == "[]"
    assert "Examples:\n    attnflow " in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_help_takes_less_than_half_a_second_of_processor_time():
    import resource

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    python("-m", "attnflow", "--help")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime) < 0.5


def test_the_exit_code_reaches_the_shell():
    done = python("-m", "attnflow", "solve", "-m", "1")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "attnflow: segments (m) must be a whole number of at least 2, got 1\n"


def test_a_reader_that_goes_away_is_no_error():
    command = f"{sys.executable} -m attnflow cite | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (signal.SIGINT, 130),
        (signal.SIGHUP, 129),
        pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow),
    ],
)
def test_a_signal_ends_a_run_that_leaves_nothing(tmp_path, sent, code):
    script = (
        # a shell may have started this suite with SIGINT ignored, which children inherit
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"
        "import sys, time, attnflow.cli.comparison as c; from attnflow.cli import main\n"
        "def wait(*a, **k):\n    print('ready', flush=True); time.sleep(60)\n"
        "c.compare = c.summary = lambda *a, **k: {}\nc.draw_all = wait\n"
        "main(['compare', '-p', 'soft', '--points', '5', '--out', 'results'])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.2)
    process.send_signal(sent)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert err == ("attnflow: interrupted\n" if sent == signal.SIGINT else "")
    assert os.listdir(tmp_path) == []


TRAINING = ("flax", "optax", "orbax", "PIL", "sklearn")
"""What the extra ``train`` brings."""

WITHOUT = f"import sys; sys.modules.update(dict.fromkeys({TRAINING!r})); from attnflow"


def test_solving_needs_nothing_of_the_extra_for_training():
    code = f"{WITHOUT}.cli import run; sys.exit(run(sys.argv[1:]))"
    done = python("-c", code, "solve", "--paradigm", "soft", "--times", "1")
    assert done.returncode == 0, done.stderr


def test_a_missing_extra_is_one_sentence_and_exit_3():
    done = python("-c", f"{WITHOUT}.cli import run; sys.exit(run(sys.argv[1:]))", "train")
    assert (done.returncode, done.stderr.count("\n")) == (3, 1), done.stderr
    assert "which is not installed: pip install '.[train]'" in done.stderr


def test_from_python_a_missing_extra_is_one_sentence_too():
    code = f"{WITHOUT}.train import Training, train"
    done = python("-c", code)
    assert "MissingPart: training needs the library" in done.stderr.splitlines()[-1]
    assert "pip install '.[train]'" in done.stderr.splitlines()[-1]


def test_a_termination_that_a_callback_swallows_comes_again(tmp_path):
    script = (
        "import gc, os, signal, time, attnflow.environment as e; from attnflow.cli import main\n"
        "def stop(phase, info):\n    if phase == 'start': os.kill(os.getpid(), signal.SIGTERM)\n"
        "    time.sleep(0.01)\n"
        "def work():\n    gc.callbacks.append(stop); gc.collect(); gc.callbacks.clear()\n"
        "    time.sleep(60)\n"
        "e.report = work\nmain(['doctor'])"
    )
    began = time.monotonic()
    done = python("-c", script, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (143, "")
    assert time.monotonic() - began < 50


@pytest.mark.parametrize(
    ("command", "code", "told"),
    [
        ("cite >&-", 0, ""),
        ("cite 2>&-", 0, ""),
        ("cite >/dev/full", 2, "attnflow: cannot write No space left on device\n"),
        ("solve --points x 2>/dev/full", 2, ""),
        ("doctor | head -1", 0, ""),
    ],
)
def test_closed_and_full_streams_are_no_defect(command, code, told):
    first, pipe, rest = command.partition("|")
    line = f"{sys.executable} -m attnflow {first}{pipe}{rest}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (code, told)


def test_an_encoding_without_greek_gets_names():
    env = {**os.environ, "PYTHONIOENCODING": "cp1252"}
    done = python("-m", "attnflow", "derive", "-p", "lvml", "--step", "flow-nu", env=env)
    assert done.returncode == 0 and "nu' =" in done.stdout and "alpha" in done.stdout


def test_what_jax_was_told_to_use_and_cannot_is_a_missing_part():
    env = {**os.environ, "JAX_PLATFORMS": "abacus"}
    done = python("-m", "attnflow", "doctor", env=env)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("attnflow: JAX cannot compute on what JAX_PLATFORMS names, 'abac")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("backend", ["Qt4Agg", "module://nowhere.backend"])
def test_a_backend_for_windows_does_not_matter_to_commands(backend):
    code = (
        "from attnflow.cli.process import set_up; set_up()\n"
        "from attnflow.plots.style import style\n"
        "with style(): from matplotlib.backends import backend_agg"
    )
    done = python("-c", code, env={**os.environ, "MPLBACKEND": backend})
    assert done.returncode == 0, done.stderr
