"""The explorer's JavaScript run by node, and its page in a headless browser."""

import json
import shutil
import subprocess

import pytest

from attnflow.export.explorer.program import program
from attnflow.symbolic.catalogue import HARD, LVML, SOFT

DRIVER = """
const ask = JSON.parse(require("fs").readFileSync(0, "utf8"));
const number = (v) => v === null ? Infinity : v;
console.log(JSON.stringify(ask.map(([name, ...values]) => {
  if (name === "solve") values[0] = values[0].map(([p, end]) => [p, number(end)]);
  return eval(name)(...values);
}), (key, v) => v === Infinity ? "Infinity" : v));
"""


def run_node(source, questions):
    """Values of functions of a program: each question is [name, *arguments]."""
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    done = subprocess.run(
        ["node", "-e", source + DRIVER],
        input=json.dumps(questions),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def ask():
    """Ask the built-in paradigms' program."""
    source = program([SOFT, HARD, LVML])
    return lambda *questions: run_node(source, list(questions))
