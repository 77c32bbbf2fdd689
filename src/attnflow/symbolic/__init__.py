"""Everything derived from a paradigm's loss, in sympy; never imports JAX."""
