"""Derivations as checked steps: a claim, its formula, and the residual that proves it."""
