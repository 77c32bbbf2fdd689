"""Types as users see them."""

import subprocess
import sys
from pathlib import Path

SCRIPT = """# pyright: strict
import numpy as np

import attnflow as af

setting = af.Setting(5, 3)
curve = af.solve("soft", setting, np.geomspace(1, 10, 5))
alpha = curve.alpha + 1
hybrid = af.Schedule([("lvml", 80.0), ("hard", None)])
focus = af.simulate(hybrid, setting, 100.0).nu
integral = af.derive("soft").first_integral
switches = af.best_schedule(setting, target=0.9)
custom = af.averaging("custom", af.derive("soft").loss)
dataset = af.compare(custom, setting)
version: str = af.__version__
af.Setting(np.array([2, 3]), 5)
"""
"""What a user writes; no type in it is unknown."""

MISTAKES = """# pyright: strict
import attnflow as af

af.nonsense
af.Setting("a", 20)
af.solve("soft", 3, 1.0)
"""
"""A mistake on each line from the fourth on."""


def pyright(text: str, tmp_path: Path) -> list[str]:
    """The lines of errors that pyright finds in a script."""
    file = tmp_path / "script.py"
    file.write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, str(file)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    return [line.strip() for line in done.stdout.splitlines() if " - error: " in line]


def test_a_users_type_checker_knows_the_public_names(tmp_path):
    assert pyright(SCRIPT, tmp_path) == []


def test_a_users_type_checker_finds_mistakes(tmp_path):
    errors = pyright(MISTAKES, tmp_path)
    for line in (4, 5, 6):
        assert any(f"script.py:{line}:" in error for error in errors), errors
