"""Formulas as documents, LaTeX, NumPy code and the interactive page."""
