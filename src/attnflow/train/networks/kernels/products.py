"""The matrix product under the convolutions on a CPU, in the orders that are fast there."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


@jax.custom_vjp
def product(
    kernel: Float[Array, "*b k d"], columns: Float[Array, "*b k n"]
) -> Float[Array, "*b d n"]:
    """Each column times the kernel.

    The kernel's gradient is summed over very many columns; XLA does that nearly twice as fast
    with the longer side of the result first.
    """
    return jnp.einsum("...kd,...kn->...dn", kernel, columns)


def _forward(kernel: Any, columns: Any) -> Any:
    return product(kernel, columns), (kernel, columns)


def _backward(saved: Any, gradient: Any) -> Any:
    kernel, columns = saved
    inputs, outputs = kernel.shape[-2:]
    if outputs > inputs:
        turned = jnp.einsum("...dn,...kn->...dk", gradient, columns)
        # else XLA undoes the order
        of_kernel = jnp.swapaxes(jax.lax.optimization_barrier(turned), -1, -2)
    else:
        of_kernel = jnp.einsum("...kn,...dn->...kd", columns, gradient)
    return of_kernel, jnp.einsum("...kd,...dn->...kn", kernel, gradient)


product.defvjp(_forward, _backward)
