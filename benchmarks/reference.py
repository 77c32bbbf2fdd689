"""What errors are measured against: the tests' mpmath oracle, 20 digits; and their Euler loop."""

import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from oracles import high_precision, textbook

__all__ = ["COLUMNS", "error", "high_precision", "reference", "textbook"]

COLUMNS = ("mu", "nu", "complement")


def reference(paradigm: str, segments: Any, classes: Any, times: Any) -> np.ndarray:
    """mu, nu and 1 - alpha, shape (3, n), at n times (settings broadcast), rounded to float64."""
    rows = []
    for m, c, t in zip(*np.broadcast_arrays(segments, classes, times), strict=True):
        found = high_precision.trajectory(paradigm, int(m), int(c), float(t), digits=20)
        rows.append([float(found[name]) for name in COLUMNS])
    return np.array(rows).T


def error(mu: Any, nu: Any, segments: Any, truth: np.ndarray) -> float:
    """Largest relative error of mu, nu and 1 - alpha."""
    mu, nu = np.asarray(mu, float), np.asarray(nu, float)
    found = np.array([mu, nu, 1 / (1 + np.exp(nu) / (np.asarray(segments) - 1))])
    worst = np.max(np.abs(found / truth - 1))
    return float(worst) if np.isfinite(worst) else float("inf")
