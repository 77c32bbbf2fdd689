"""Imports go downwards only, and what need not load JAX or sympy does not."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def test_import_contracts_hold():
    linter = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run(
        [sys.executable, "-c", linter, "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 kept, 0 broken" in done.stdout


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("attnflow", ("jax", "sympy", "numpy")),
        ("attnflow.cli", ("jax", "sympy", "numpy")),
        ("attnflow.settings", ("jax", "sympy")),
        ("attnflow.symbols", ("jax",)),
        ("attnflow.symbolic.derivation.derived", ("jax", "scipy", "matplotlib")),
        ("attnflow.export.document", ("jax", "scipy", "matplotlib")),
        ("attnflow.export.explorer", ("jax", "scipy", "matplotlib")),
        ("attnflow.numeric.closed_form", ("diffrax", "matplotlib", "xarray")),
    ],
)
def test_a_module_loads_without(module, absent):
    code = f"import sys, {module}; print([m for m in {absent} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def test_every_public_name_is_there():
    import attnflow

    for name in attnflow.__all__:
        assert getattr(attnflow, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'solv'"):
        attnflow.solv  # noqa: B018


def test_every_public_name_of_training_is_there():
    import attnflow.train

    for name in attnflow.train.__all__:
        assert getattr(attnflow.train, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        attnflow.train.trian  # noqa: B018
