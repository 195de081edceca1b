"""Losses of tokens, chunk by chunk and on several devices, against the formula in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lengthwise.model import token_losses as module
from lengthwise.model.parallel.mesh import use_mesh
from lengthwise.model.token_losses import chunks_of, token_losses, token_scores

B, L, D, V = 4, 16, 8, 11


def case():
    rng = np.random.default_rng(0)
    x, weight = rng.normal(size=(B, L, D)), rng.normal(size=(V, D))
    return x.astype(np.float32), rng.integers(0, V, (B, L)), weight.astype(np.float32)


def reference(x, targets, weight, cap):
    logits = x.astype(np.float64) @ weight.astype(np.float64).T
    logits = logits if cap is None else cap * np.tanh(logits / cap)
    log_partition = np.log(np.exp(logits).sum(-1))
    return log_partition - np.take_along_axis(logits, targets[..., None], -1)[..., 0], log_partition


@pytest.mark.parametrize("chunk_bytes", [2**28, 5 * V * 4])
@pytest.mark.parametrize("view", [None, (1, 2, 2, 2), (2, 1, 4, 1)])
@pytest.mark.parametrize(("vocab_axis", "cap"), [(0, None), (1, 3.0)])
def test_losses_and_gradients(monkeypatch, chunk_bytes, view, vocab_axis, cap):
    monkeypatch.setattr(module, "_LOGITS_BYTES", chunk_bytes)
    x, targets, weight = case()
    expected = reference(x, targets, weight, cap)
    weight = weight if vocab_axis == 0 else weight.T

    def loss(x, weight):
        nats, log_partition = token_losses(x, targets, weight, vocab_axis, cap)
        return jnp.sum(nats) + jnp.sum(jnp.square(log_partition)), (nats, log_partition)

    def whole(x, weight):
        logits = jnp.einsum("bld,vd->blv" if vocab_axis == 0 else "bld,dv->blv", x, weight)
        nats, log_partition = module.nats_of_logits(
            logits if cap is None else cap * jnp.tanh(logits / cap), targets
        )
        return jnp.sum(nats) + jnp.sum(jnp.square(log_partition))

    run = jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))
    if view is None:
        (_, found), grads = run(x, weight)
    else:
        names = ("slice", "data", "context", "tensor")
        mesh = jax.make_mesh(view, names, (jax.sharding.AxisType.Auto,) * 4)
        with use_mesh(mesh):
            (_, found), grads = run(x, weight)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-6, atol=2e-6)
    for a, b in zip(grads, jax.grad(whole, argnums=(0, 1))(x, weight), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("chunk_bytes", [2**28, 5 * V * 4])
@pytest.mark.parametrize("view", [None, (1, 2, 2, 2)])
def test_greedy_is_whether_the_target_is_the_likeliest_token(monkeypatch, chunk_bytes, view):
    monkeypatch.setattr(module, "_LOGITS_BYTES", chunk_bytes)
    x, targets, weight = case()
    weight[7] = weight[3]  # equally likely: the first of them is greedy
    logits = x.astype(np.float64) @ weight.astype(np.float64).T
    likeliest = logits.argmax(-1)
    assert (likeliest == 3).sum() > 2
    targets[:, ::2] = likeliest[:, ::2]
    targets[:, 1::2] = np.where(likeliest[:, 1::2] == 3, 7, targets[:, 1::2])
    if view is None:
        found = token_scores(x, targets, weight, 0, None)
    else:
        names = ("slice", "data", "context", "tensor")
        mesh = jax.make_mesh(view, names, (jax.sharding.AxisType.Auto,) * 4)
        with use_mesh(mesh):
            found = jax.jit(lambda *given: token_scores(*given, 0, None))(x, targets, weight)
    np.testing.assert_allclose(found[0], reference(x, targets, weight, None)[0], atol=2e-6)
    np.testing.assert_array_equal(found[1], likeliest == targets)


def test_no_array_of_all_logits_is_made(monkeypatch):
    monkeypatch.setattr(module, "_LOGITS_BYTES", 4 * V * 4)
    x, targets, weight = case()
    gradient = jax.grad(lambda w: jnp.sum(token_losses(x, targets, w, 0, None)[0]))
    text = jax.jit(gradient).lower(weight).as_text()
    assert f"{B * L}x{V}xf32" not in text
    assert f"{B}x{L}x{V}xf32" not in text
    assert f"4x{V}xf32" in text


@given(st.integers(1, 2**20), st.integers(1, 2**18))
def test_chunks_are_equal_and_small(tokens, vocab_size):
    parts = chunks_of(tokens, vocab_size)
    assert tokens % parts == 0
    assert tokens // parts * vocab_size * 4 <= max(module._LOGITS_BYTES, vocab_size * 4)
