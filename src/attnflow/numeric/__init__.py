"""From sympy to numbers: the closed form, the simulator and gradient descent, in JAX, float64."""
