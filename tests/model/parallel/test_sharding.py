"""Matmuls and lookups whose parameters devices share, against one device's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding

from lengthwise.model.parallel.mesh import use_mesh
from lengthwise.model.parallel.sharding import lookup, matmul, parameter_spec
from tests.model.parallel.test_context import mesh_of

B, L, D, E = 4, 8, 16, 6
VIEWS = [(1, 8, 1, 1), (1, 2, 4, 1), (2, 2, 2, 1), (1, 2, 2, 2)]


def both(mesh, function, parameter, axes, data):
    """Value and gradients of a weighted sum of `function(parameter, data)`, sharded and not."""
    shape = jax.eval_shape(function, parameter, data).shape
    weights = jax.random.normal(jax.random.key(9), shape)

    def loss(parameter):
        return jnp.sum(function(parameter, data) * weights)

    lies = NamedSharding(mesh, parameter_spec(axes, parameter.shape, mesh))
    with use_mesh(mesh):
        program = jax.jit(jax.value_and_grad(loss), in_shardings=lies, out_shardings=(None, lies))
        sharded = program(parameter)
        text = program.lower(parameter).compile().as_text()
    return sharded, jax.value_and_grad(loss)(parameter), text


@pytest.mark.parametrize("shape", VIEWS)
@pytest.mark.parametrize("axes", [("embed", "mlp"), ("mlp", "embed")])
def test_a_matmul_and_the_gradient_of_its_weight(shape, axes):
    sizes = {"embed": D, "mlp": E}
    weight = jax.random.normal(jax.random.key(0), tuple(sizes[a] for a in axes))
    x_BLD = jax.random.normal(jax.random.key(1), (B * 2, L, weight.shape[0]))
    found, wanted, text = both(
        mesh_of(*shape), lambda w, x: matmul(x, w, axes), weight, axes, x_BLD
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-4), found, wanted)
    assert "all-gather(" in text
    assert "reduce-scatter(" in text


@pytest.mark.parametrize("shape", VIEWS)
@pytest.mark.parametrize("vocab_size", [5, 1000])  # below and above the tokens of a device
def test_a_lookup_and_the_gradient_of_its_table(shape, vocab_size):
    axes = ("vocab", "embed")
    table = jax.random.normal(jax.random.key(0), (vocab_size, D))
    ids_BL = jax.random.randint(jax.random.key(1), (B * 2, L), 0, vocab_size)
    found, wanted, text = both(
        mesh_of(*shape), lambda t, ids: lookup(t, ids, axes, "float32"), table, axes, ids_BL
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-4), found, wanted)
    assert ("all-to-all(" in text) == (vocab_size == 1000)
