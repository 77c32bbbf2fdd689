"""The fuzz script: what it draws runs without fault, and it sees the faults that it counts."""

import os
import subprocess
import sys
import time

import pytest

fuzz = pytest.importorskip("fuzz", reason="benchmarks/ is in a checkout only")


def test_a_few_seconds_of_random_command_lines_show_no_fault(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(fuzz, "SEEDS", ())  # what takes longer
    tried, counts = fuzz.fuzz(4, seed=0, folder=tmp_path, most=40)
    assert tried and not counts, capsys.readouterr().out


def test_every_option_of_every_command_is_drawn(tmp_path):
    draw = fuzz.Draw(0, tmp_path)
    seen = [" ".join(draw.line()) for _ in range(6000)]
    for command, parameters in draw.commands.items():
        lines = [f"{line} " for line in seen if line.startswith(command)]
        for parameter in parameters:
            if parameter.param_type_name == "option":
                assert any(f" {parameter.opts[0]} " in line for line in lines), parameter.opts
    fetched = [line.split()[2:3] for line in seen if line.startswith("data fetch ")]
    assert not {"cifar10", "cifar100", "hatexplain"} & {name for [name] in fetched}


REFUSED = "attnflow: segments must be a whole number of at least 2, got 1\n"


@pytest.mark.parametrize(
    ("arguments", "outcome", "kind"),
    [
        (["solve"], (0, "t mu\n", "", ""), None),
        (["solve"], (2, "", REFUSED, ""), None),
        (["solve", "--json"], (0, '{"mu": [1.0]}', "", ""), None),
        (["solve"], (None, "", "", ""), "hang"),
        (["solve"], (1, "", "", "TypeError: no number"), "traceback"),
        (["solve"], (1, "", "Traceback (most recent call last)\n", ""), "traceback"),
        (["solve"], (-11, "", "", ""), "traceback"),
        (["solve", "--json"], (0, "{", "", ""), "not JSON"),
        (["solve", "--json"], (0, '{"mu": [null]}', "", ""), "not JSON"),
        (["solve"], (2, "", "no name in front\n", ""), "no sentence"),
        (["solve"], (2, "half a table", REFUSED, ""), "no sentence"),
        (["solve"], (2, "", "attnflow: " + "x" * 9000, ""), "no sentence"),
        (["solve"], (0, "\x1b[2J", "", ""), "control character"),
    ],
)
def test_a_fault_is_seen_and_nothing_else_is_one(tmp_path, arguments, outcome, kind):
    found = fuzz.faults(arguments, fuzz.Outcome(*outcome), tmp_path)
    assert list(found) == [kind] * (kind is not None)


@pytest.mark.parametrize("name", [".a-x1_b2c3d.json", "a.json", "a.svg", "a.csv", "a.png"])
def test_part_of_a_file_is_seen(tmp_path, name):
    (tmp_path / name).write_text("{")
    done = fuzz.Outcome(0)
    assert list(fuzz.faults(["solve"], done, tmp_path)) == ["half-written file"]
    fuzz.tidy(tmp_path)
    assert not os.listdir(tmp_path)


def test_a_process_that_does_nothing_is_a_hang():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        watch = fuzz.Watch(process.pid, 2.0)
        time.sleep(0.1)
        assert not watch.over()
        watch.since -= 2.0
        watch.last = float("inf")
        assert watch.over()
        process.kill()
