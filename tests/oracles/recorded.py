"""Where 25-digit trajectories lie, for who has them: beside the checkout, never in it."""

from pathlib import Path

REFERENCE = Path(__file__).resolve().parents[3] / "shared" / "data" / "reference-trajectories.json"
