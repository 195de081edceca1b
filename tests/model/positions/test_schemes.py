"""Every position scheme in a whole decoder: numbers, gradients, causality, masks."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lengthwise.model.attention.masks import Mask
from lengthwise.model.positions.rope_scaling import UNSCALED
from lengthwise.model.transformer import apply, position_tables
from tests.model.decoder_reference import LENGTH, make_params, reference_logits
from tests.model.positions.schemes import CASES, SPAN, decoder

CAUSAL = Mask()


@functools.cache
def batch():
    """Tokens of two rows, each token once a row; documents packed, and padding; skipped positions,
    which start again in each document."""
    rng = np.random.default_rng(3)
    tokens = np.stack([rng.permutation(31)[:LENGTH] for _ in range(2)]).astype(np.int32)
    segments = np.array([[1] * 9 + [2] * 8 + [0] * 3, [1] * LENGTH], np.int32)
    positions = np.zeros((2, LENGTH), np.int32)
    for row, start, stop in ((0, 0, 9), (0, 9, 17), (1, 0, LENGTH)):
        drawn = rng.choice(SPAN, stop - start, replace=False)
        positions[row, start:stop] = np.sort(drawn)
    return tokens, positions, segments


@functools.cache
def compiled(config, mask=CAUSAL):
    """The logits, and the gradient of sum(logits * weights)."""
    tables = position_tables(config, UNSCALED, UNSCALED, LENGTH)

    def loss(params, tokens, positions, segments, weights):
        logits = apply(
            config,
            params,
            tokens,
            positions_BL=positions,
            segment_ids_BL=segments,
            tables=tables,
            mask=mask,
            key=None,
        )
        return jnp.sum(logits * weights), logits

    gradient = jax.jit(jax.grad(loss, has_aux=True))

    def run(params, tokens, positions, segments, weights):
        grads, logits = gradient(params, tokens, positions, segments, weights)
        return np.asarray(logits), grads

    return run


def weights_of_logits(segments):
    rng = np.random.default_rng(4)
    weights = rng.standard_normal((2, LENGTH, 31)).astype(np.float32)
    return weights * (segments > 0)[..., None]


def assert_matches_the_formulas(config, mask=CAUSAL):
    """Logits, and the gradient along a direction, against float64 numpy."""
    params = make_params(config)
    tokens, positions, segments = batch()
    weights = weights_of_logits(segments)
    logits, grads = compiled(config, mask)(params, tokens, positions, segments, weights)

    def exact(params):
        logits = reference_logits(config, params, tokens, positions, segments, mask=mask)
        return logits * (segments > 0)[..., None]

    logits = logits * (segments > 0)[..., None]
    np.testing.assert_allclose(logits, exact(params), atol=2e-5, rtol=2e-5)
    # A random direction, in which every array matters about as much as any other.
    gradient = jax.tree.map(lambda x: np.asarray(x, np.float64), grads)
    rng = np.random.default_rng(5)
    direction = jax.tree.map(
        lambda g: rng.standard_normal(g.shape) / max(np.linalg.norm(g), 0.1), gradient
    )

    def along(step):
        there = jax.tree.map(lambda x, d: np.asarray(x, np.float64) + step * d, params, direction)
        return np.sum(exact(there) * weights)

    expected = (along(1e-6) - along(-1e-6)) / 2e-6
    actual = sum(jax.tree.leaves(jax.tree.map(lambda g, d: np.sum(g * d), gradient, direction)))
    assert actual == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("case", CASES)
def test_logits_and_gradients_match_the_papers_formulas_in_float64(case):
    assert_matches_the_formulas(decoder(case))


# In every run a pattern, whose scan has two periods, and a scheme that needs whole rows of scores.
EXECUTED = [
    pytest.param(case, marks=() if case in ("learned + t5/none", "cope") else pytest.mark.slow)
    for case in CASES
]


@pytest.mark.parametrize("case", EXECUTED)
def test_scanned_recomputed_and_blockwise_they_match_too(case):
    execution = {"layer_execution": "scan", "remat": "full", "attention": "blockwise"}
    assert_matches_the_formulas(decoder(case, periods=2, **execution), Mask(window=5, sinks=2))


@pytest.mark.parametrize("case", CASES)
def test_a_logit_depends_on_the_tokens_before_it_in_its_document_alone(case):
    config = decoder(case)
    params = make_params(config)
    tokens, positions, segments = batch()
    for row, column, first in ((0, 12, 9), (1, 11, 0)):
        weights = np.zeros((2, LENGTH, 31), np.float32)
        weights[row, column] = 1 + np.arange(31)
        _, grads = compiled(config)(params, tokens, positions, segments, weights)
        reached = np.abs(np.asarray(grads["embedding"])).max(-1) > 0
        assert reached[tokens[row]].nonzero()[0].tolist() == list(range(first, column + 1))
