"""The explorer: a self-contained page with sliders, curves and the formulas that run in it."""

from attnflow.export.explorer.document import page

__all__ = ["page"]
