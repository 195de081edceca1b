"""Attention whose rows several devices share, against one device's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lengthwise.model import transformer
from lengthwise.model.attention.attention import attend
from lengthwise.model.attention.backends.splash import splash_attention
from lengthwise.model.attention.biases import BlockBias, ContextBias, FarField, LinearBias
from lengthwise.model.attention.masks import CAUSAL, Mask
from lengthwise.model.parallel.mesh import row_columns, use_mesh
from lengthwise.model.parallel.zigzag import column_at, in_row_order, slot_of
from lengthwise.model.positions.rope_scaling import UNSCALED
from lengthwise.model.positions.scheme import MAX_POSITION
from tests.model.positions.schemes import SPAN, decoder

AXES = ("slice", "data", "context", "tensor")
B, H, K, C = 2, 4, 2, 8


def mesh_of(*shape):
    return jax.make_mesh(shape, AXES, (jax.sharding.AxisType.Auto,) * 4)


@settings(max_examples=12)
@given(st.integers(1, 9), st.integers(1, 40))
def test_the_order_is_a_permutation_with_balanced_halves(ways, chunk):
    length = 2 * ways * chunk
    columns = column_at(np.arange(length), length, ways)
    np.testing.assert_array_equal(np.sort(columns), np.arange(length))
    np.testing.assert_array_equal(slot_of(columns, length, ways), np.arange(length))
    np.testing.assert_array_equal(
        in_row_order(jnp.asarray(columns)[None], 1, ways)[0], range(length)
    )
    pairs = (columns + 1).reshape(ways, -1).sum(1)  # under a causal mask
    assert len(set(pairs.tolist())) == 1 or ways == 1


def test_orders_of_a_million_columns_do_not_overflow():
    places = jnp.arange(MAX_POSITION, dtype=jnp.int32)
    columns = np.asarray(column_at(places, MAX_POSITION, 64))
    np.testing.assert_array_equal(columns, column_at(np.arange(MAX_POSITION), MAX_POSITION, 64))


def made(length):
    keys = iter(jax.random.split(jax.random.key(0), 8))
    q, far_q = (jax.random.normal(next(keys), (B, length, H, C)) for _ in range(2))
    k, v, far_k = (jax.random.normal(next(keys), (B, length, K, C)) for _ in range(3))
    segments = np.stack(
        [np.repeat([1, 2, 0], [length // 3, length - length // 3 - 5, 5]), np.ones(length, int)]
    )
    positions = np.stack([np.arange(length) % 50, np.arange(length)])
    return q, k, v, far_q, far_k, segments, positions


def by_distance(params, q_positions, k_positions):
    distance = q_positions[:, :, None] - k_positions[:, None, :]
    return -params[None, :, None, None] * jnp.sqrt(jnp.abs(distance) + 1.0)[:, None]


BIASES = {
    "none": lambda: None,
    "linear": lambda: LinearBias(jnp.array([0.1, 0.2, 0.3, 0.4])),
    "block": lambda: BlockBias(by_distance, jnp.array([0.1, 0.2, 0.3, 0.4])),
    "context": lambda: ContextBias(jax.random.normal(jax.random.key(3), (20, C))),
    "far": lambda: None,
}
CASES = [
    ("dense", "none", CAUSAL, True),
    ("dense", "block", Mask(window=20, sinks=3), False),
    ("dense", "context", CAUSAL, True),
    ("dense", "far", Mask(prefix=30), False),
    ("blockwise", "none", Mask(chunk=24, sinks=2), True),
    ("blockwise", "linear", CAUSAL, True),
    ("blockwise", "block", Mask(prefix=50), False),
    ("blockwise", "context", Mask(window=33), True),
    ("blockwise", "far", CAUSAL, True),
]


def outcome(mesh, backend, kind, mask, segmented, length=128):
    """Output and gradients, with columns in the order of the row."""
    *arrays, segments, positions = made(length)
    ways = 1 if mesh is None else mesh.shape["context"]
    columns = column_at(np.arange(length), length, ways)
    places = slot_of(np.arange(length), length, ways)
    bias = BIASES[kind]()

    def out(arrays, bias):
        q, k, v, far_q, far_k = arrays
        ids = jnp.asarray(segments[:, columns]) if segmented else None
        index = jnp.asarray(positions[:, columns])
        if backend == "splash":
            return splash_attention(
                q, k, v, mask=mask, segment_ids_BL=ids, positions_BL=index, bias=bias,
                softcap=0.0, interpret=True,
            )  # fmt: skip
        return attend(
            q, k, v, mask=mask, segment_ids_BL=ids, positions_BL=index, bias=bias, softcap=5.0,
            backend=backend, block_size=16,
            far=FarField(far_q, far_k, 40) if kind == "far" else None,
        )  # fmt: skip

    def loss(arrays, bias):
        result = out(arrays, bias)
        weights = jnp.cos(jnp.arange(result.size, dtype=jnp.float32)).reshape(result.shape)
        valid = segments[:, columns] > 0 if segmented else np.ones((B, length), bool)
        return jnp.sum(jnp.where(valid[:, :, None, None], result * weights[:, columns], 0)), result

    gradient = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)
    given_arrays = [x[:, columns] for x in arrays]
    if mesh is None:
        (_, result), grads = jax.jit(gradient)(given_arrays, bias)
    else:
        with use_mesh(mesh):
            (_, result), grads = jax.jit(gradient)(given_arrays, bias)
    valid = (segments > 0) if segmented else np.ones((B, length), bool)
    result = np.where(valid[:, :, None, None], np.asarray(result)[:, places], 0)
    return result, [np.asarray(g)[:, places] for g in grads[0]], jax.tree.leaves(grads[1])


@pytest.mark.parametrize(("backend", "kind", "mask", "segmented"), CASES, ids=str)
def test_shared_rows_give_the_same_output_and_gradients(backend, kind, mask, segmented):
    expected = outcome(None, backend, kind, mask, segmented)
    actual = outcome(mesh_of(1, 1, 4, 2), backend, kind, mask, segmented)
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        # Gradients of slopes are sums of terms a thousand times as large.
        rtol, atol = (1e-3, 1e-3) if a.ndim == 1 else (3e-6, 3e-5)
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


@pytest.mark.parametrize(
    ("case", "smeared"),
    [
        ("cope", False),
        ("learned + t5/none", True),
        ("rope/fire/fire/none", False),
        ("seqpe", False),
    ],
)
def test_losses_of_shared_rows_are_those_of_one_device(case, smeared):
    config = decoder(case, compute_dtype="float32", dropout=0.3, smeared_keys=smeared)
    params = transformer.init_params(config, 0)
    tables = transformer.position_tables(config, UNSCALED, UNSCALED, 32)
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, config.vocab_size, (4, 33))
    segments = np.repeat([[1, 2, 0]], 4, axis=0).repeat([10, 19, 3], axis=1)
    positions = np.sort(rng.choice(SPAN, 32, replace=False))[None].repeat(4, axis=0)
    given_arrays = (tokens[:, :-1], tokens[:, 1:], positions, segments)

    def losses(params, inputs, targets, positions, segments):
        return transformer.target_losses(
            config, params, inputs, targets, positions_BL=positions, segment_ids_BL=segments,
            tables=tables, mask=CAUSAL, key=jax.random.key(1),
        )  # fmt: skip

    def gradient(params, *arrays):
        nats_BL = losses(params, *arrays)[0]
        valid = arrays[-1] > 0
        return jnp.sum(jnp.where(valid, nats_BL, 0)), jnp.where(valid, nats_BL, 0)

    def run(*arrays):  # traced anew each time: the trace depends on the mesh
        return jax.jit(jax.value_and_grad(lambda *x: gradient(*x), has_aux=True))(*arrays)

    (_, expected), expected_grads = run(params, *given_arrays)
    columns, places = (order(np.arange(32), 32, 2) for order in (column_at, slot_of))
    with use_mesh(mesh_of(1, 2, 2, 2)):
        (_, actual), grads = run(params, *(x[:, columns] for x in given_arrays))
    np.testing.assert_allclose(np.asarray(actual)[:, places], expected, rtol=1e-5, atol=1e-5)

    def near(a, b):
        # The rounding of a sum goes by its largest terms, which gradients of near 0 have too.
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=max(1e-5, 3e-6 * np.abs(b).max()))

    jax.tree.map(near, grads, expected_grads)


def test_columns_follow_the_mesh():
    with use_mesh(mesh_of(1, 1, 2, 4)):
        np.testing.assert_array_equal(row_columns(8), [0, 1, 6, 7, 2, 3, 4, 5])
    np.testing.assert_array_equal(row_columns(8), range(8))
