import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lengthwise.model.attention.masks import Mask
from lengthwise.model.layers.block import block_keys, dropout
from lengthwise.model.positions.rope_scaling import RopeScaling
from tests.model.decoder_reference import (
    CONFIG,
    LENGTH,
    PATTERN,
    PLAIN,
    VARIANTS,
    changed,
    logits_of,
    make_inputs,
    make_params,
    reference_logits,
)


@pytest.mark.parametrize(
    "config",
    [
        CONFIG,
        PLAIN,
        changed(PLAIN, num_kv_heads=4),
        changed(PLAIN, attention_weights="lssar"),
        changed(CONFIG, attention="blockwise"),
        changed(CONFIG, smeared_keys=True),
        *VARIANTS.values(),
        PATTERN,
        changed(PATTERN, attention="blockwise", layer_execution="scan"),
    ],
    ids=[
        *("all_options", "plain", "no_groups", "softplus", "blockwise", "smeared_keys"),
        *VARIANTS,
        *("pattern", "pattern_blockwise_scan"),
    ],
)
def test_logits_match_an_independent_float64_decoder(config):
    params = make_params(config)
    tokens, positions = make_inputs()
    positions = positions + np.array([[0], [4000]], np.int32)
    actual = logits_of(config, params, tokens, positions)
    assert actual.dtype == jnp.float32
    expected = reference_logits(config, params, tokens, positions)
    np.testing.assert_allclose(actual, expected, atol=2e-5, rtol=2e-5)


def test_log_n_scales_queries_beyond_its_length():
    params = make_params(PLAIN)
    tokens, positions = make_inputs()
    positions = positions + np.array([[0], [4000]], np.int32)
    actual = logits_of(PLAIN, params, tokens, positions, scaling=RopeScaling("none", log_n=8))
    expected = reference_logits(PLAIN, params, tokens, positions, log_n=8)
    np.testing.assert_allclose(actual, expected, atol=2e-5, rtol=2e-5)


def test_execution_choices_change_neither_results_nor_gradients():
    tokens, positions = make_inputs()
    key = jax.random.key(3)
    config = changed(CONFIG, dropout=0.2, smeared_keys=True)
    params = make_params(config)

    def results(config):
        def loss(params):
            return jnp.square(logits_of(config, params, tokens, positions, key=key)).mean()

        return jax.jit(jax.value_and_grad(loss))(params)

    value, gradient = results(config)
    for changes in (
        {"layer_execution": "scan"},
        {"remat": "full"},
        {"remat": "dots"},
        {"layer_execution": "scan", "remat": "full", "attention": "blockwise"},
    ):
        other_value, other_gradient = results(changed(config, **changes))
        np.testing.assert_allclose(value, other_value, rtol=1e-6)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6, rtol=1e-4),
            gradient,
            other_gradient,
        )


def test_unrolled_layers_come_from_one_split_not_padded_sums():
    """The gradient of the stack must be a concatenation, not a sum of zero-padded stacks."""
    params = make_params(CONFIG)
    tokens, positions = make_inputs()
    loss = lambda p: logits_of(CONFIG, p, tokens, positions).sum()
    program = str(jax.make_jaxpr(jax.grad(loss))(params))
    stacked = f"f32[{CONFIG.layers},{CONFIG.embed_dim},{CONFIG.mlp_dim}]"
    lines = [line for line in program.splitlines() if stacked in line]
    assert any("concatenate" in line for line in lines)
    assert not any(word in line for line in lines for word in (" pad[", " add_any ", " scatter"))


@pytest.mark.parametrize("mask", [Mask(), Mask(chunk=7, sinks=2), Mask(window=1)], ids=str)
def test_a_key_is_smeared_with_that_of_a_token_which_its_own_sees(mask):
    """The reference goes by what the token sees, in packed rows with padding too."""
    config = changed(PLAIN, smeared_keys=True)
    params = make_params(config)
    tokens, positions = make_inputs()
    segments = np.repeat([[1, 2, 0], [1, 2, 3]], [6, 9, 5], axis=1).astype(np.int32)
    actual = logits_of(config, params, tokens, positions, segments, mask)
    expected = reference_logits(config, params, tokens, positions, segments, mask=mask)
    valid = segments > 0
    np.testing.assert_allclose(actual[valid], expected[valid], atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize(
    ("backend", "smeared"), [("dense", False), ("blockwise", False), ("blockwise", True)]
)
def test_a_packed_row_scores_as_its_documents_alone(backend, smeared):
    config = changed(CONFIG, attention=backend, smeared_keys=smeared)
    params = make_params(config)
    tokens, positions = make_inputs(batch=1, length=24)
    lengths = (9, 11)  # and 4 of padding
    segments = np.repeat([1, 2, 0], [*lengths, 4])[None].astype(np.int32)
    restarted = np.concatenate([np.arange(n) for n in (*lengths, 4)])[None].astype(np.int32)
    packed = logits_of(config, params, tokens, restarted, segments)
    assert np.isfinite(packed).all()
    start = 0
    for n in lengths:
        alone = logits_of(config, params, tokens[:, start : start + n], positions[:, :n])
        np.testing.assert_allclose(packed[:, start : start + n], alone, atol=3e-6)
        start += n


def test_gradients_stay_finite_with_padding():
    tokens, positions = make_inputs()
    segments = np.where(np.arange(LENGTH) < 11, 1, 0)[None].repeat(2, 0).astype(np.int32)
    segments[1] = 0  # a row of padding alone
    for backend in ("dense", "blockwise"):
        config = changed(CONFIG, attention=backend)
        loss = lambda p: logits_of(config, p, tokens, positions, segments).sum()  # noqa: B023
        gradient = jax.jit(jax.grad(loss))(make_params(config))
        assert all(np.isfinite(x).all() for x in jax.tree.leaves(gradient))


def test_logits_ignore_later_tokens_and_what_lies_outside_the_window():
    config, mask = changed(CONFIG, layers=1), Mask(4, 2)
    params = make_params(config)
    tokens, positions = make_inputs(batch=1)
    before = logits_of(config, params, tokens, positions, mask=mask)
    other = tokens.copy()
    other[0, 9] = (other[0, 9] + 1) % 31
    after = logits_of(config, params, other, positions, mask=mask)
    moved = np.flatnonzero(np.abs(after - before).max((0, 2)))
    assert moved.tolist() == [9, 10, 11, 12]


def test_another_position_scaling_changes_logits():
    params = make_params(CONFIG)
    tokens, positions = make_inputs()
    plain = logits_of(CONFIG, params, tokens, positions)
    for kind in ("linear", "ntk"):
        other = logits_of(CONFIG, params, tokens, positions, scaling=RopeScaling(kind, 4.0))
        assert np.abs(other - plain).max() > 1e-3


def test_dropout_is_a_function_of_its_key():
    config = changed(CONFIG, dropout=0.3)
    params = make_params(config)
    inputs = make_inputs()
    off = logits_of(config, params, *inputs)
    np.testing.assert_array_equal(off, logits_of(CONFIG, params, *inputs))
    first, again, other = (
        logits_of(config, params, *inputs, key=jax.random.key(seed)) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - off).max() > 1e-2
    assert np.abs(first - other).max() > 1e-2


def test_each_dropout_draws_its_own_key():
    key = jax.random.key(0)
    drawn = [jax.random.fold_in(key, 0)]
    for layer in range(4):
        drawn.extend(block_keys(key, layer))
    assert len({tuple(jax.random.key_data(k).tolist()) for k in drawn}) == 9


def test_dropout_keeps_the_mean_and_drops_the_asked_share():
    dropped = dropout(jnp.ones((4, 100, 500)), 0.3, jax.random.key(0), jnp.arange(4))
    assert abs(float((dropped == 0).mean()) - 0.3) < 0.005
    assert abs(float(dropped.mean()) - 1) < 0.01


def test_bfloat16_computes_near_float32():
    params = make_params(PLAIN)
    inputs = make_inputs()
    exact = logits_of(PLAIN, params, *inputs)
    narrow = logits_of(changed(PLAIN, compute_dtype="bfloat16"), params, *inputs)
    assert narrow.dtype == jnp.float32
    difference = float(jnp.abs(narrow - exact).max())
    assert 0 < difference < 0.1 * float(jnp.abs(exact).max())
