"""What position schemes are made of, part by part."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lengthwise.common.errors import UserError
from lengthwise.model.positions.context_extension import randomized_positions
from lengthwise.model.positions.rope_scaling import UNSCALED, RopeScaling
from lengthwise.model.positions.schemes.abacus import digit_places
from lengthwise.model.positions.schemes.alibi import alibi_slopes
from lengthwise.model.positions.schemes.seqpe import contrastive_loss, distillation_loss
from lengthwise.model.positions.schemes.t5 import t5_buckets
from lengthwise.model.transformer import position_penalty, position_tables
from tests.model.decoder_reference import LENGTH, changed, logits_of, make_inputs, make_params
from tests.model.positions.position_reference import places, seqpe_embeddings, t5_bucket
from tests.model.positions.schemes import SETTINGS, SPAN, decoder, position_settings


def test_slopes_of_heads_that_are_no_power_of_two():
    """The slopes of 4 heads, and of 8 every second one, as in the authors' code and Bloom."""
    assert alibi_slopes(6) == [2**-2, 2**-4, 2**-6, 2**-8, 2**-1, 2**-3]
    assert alibi_slopes(1) == [2**-8]


@given(st.integers(2, 64), st.integers(1, 500))
def test_buckets_are_those_of_t5(buckets, beyond):
    max_distance = buckets // 2 + beyond
    found = t5_buckets(buckets, max_distance)
    expected = [t5_bucket(n, buckets, max_distance) for n in range(max_distance + 1)]
    # On the edge of two buckets the reference's own rounding may go either way.
    assert np.abs(found - expected).max() <= 1
    assert (found == expected).mean() > 0.95
    assert (np.diff(found) >= 0).all()
    assert found[-1] == buckets - 1


clex_positions = jax.jit(lambda key, segments: randomized_positions(key, 12, 20, segments))
found_places = jax.jit(lambda tokens, segments: digit_places(tokens, jnp.arange(3, 10), segments))


@given(st.integers(0, 2**31), st.integers(1, 6), st.integers(0, 5), st.booleans())
def test_drawn_positions_are_sorted_in_each_document_and_never_twice_in_a_row(
    seed, first, padding, padding_first
):
    segments = [1] * first + [2] * (12 - first - padding)
    segments = [0] * padding + segments if padding_first else segments + [0] * padding
    segments_BL = jnp.array([segments, [1] * len(segments)])
    key = jax.random.key(seed)
    drawn = np.asarray(clex_positions(key, segments_BL))
    assert ((drawn >= 0) & (drawn < 20)).all()
    assert all(len(set(row)) == len(row) for row in drawn.tolist())
    for row, numbers in zip(drawn, np.asarray(segments_BL), strict=True):
        for segment in set(numbers.tolist()):
            assert (np.diff(row[numbers == segment]) > 0).all()
    np.testing.assert_array_equal(drawn[1:], clex_positions(key, None))


def test_each_position_of_the_range_is_drawn_as_often_in_a_short_document_as_in_a_long_one():
    """A sorted draw cut after some tokens would give the first document low positions."""
    segments = jnp.array([[1] * 3 + [2] * 9])
    draw = jax.jit(lambda key: randomized_positions(key, 12, 24, segments))
    drawn = np.concatenate([draw(jax.random.key(seed)) for seed in range(600)])
    # The mean of 24 positions is 11.5, of 600 x 3 drawn ones its error 0.16.
    assert abs(drawn[:, :3].mean() - 11.5) < 0.7
    assert abs(drawn[:, 3:].mean() - 11.5) < 0.7


@given(st.lists(st.integers(1, 12), min_size=30, max_size=30), st.integers(0, 30))
def test_places_of_digits_begin_anew_in_each_number_and_document(tokens, first):
    segments = [1 + (t >= first) for t in range(len(tokens))]
    found = found_places(jnp.array([tokens]), jnp.array([segments]))
    assert found[0].tolist() == places(tokens, range(3, 10), segments).tolist()


def test_in_training_places_move_together_and_other_tokens_stay():
    scheme = position_settings(**SETTINGS).schemes.make("abacus", "scheme")
    table = jnp.arange(30.0)[:, None]
    tokens = jnp.array([[3, 4, 1, 5]])
    embed = lambda key: scheme.embed({"table": table}, None, tokens, None, None, key)[0, :, 0]
    assert embed(None).tolist() == [1, 2, 0, 1]
    offsets = set()
    for seed in range(30):
        found = embed(jax.random.key(seed)).tolist()
        offsets.add(found[0] - 1)
        assert found == [found[0], found[0] + 1, 0, found[0]]
    assert offsets == {0, 1, 2, 3}


@pytest.mark.parametrize("case", ["learned + t5/none", "rope/fire/fire/none"])
def test_a_position_without_a_vector_gives_no_number_instead_of_anothers(case):
    config = decoder(case)
    tokens, positions = make_inputs()
    for wrong in (2**21, -1):
        positions[0, 7] = wrong
        logits = np.asarray(logits_of(config, make_params(config), tokens, positions))
        assert np.isnan(logits[0, 7]).all()
        assert np.isfinite(logits[1]).all()


def test_too_long_a_sequence_is_refused_with_what_to_do():
    drawn = decoder("learned + t5/none")
    counted = changed(drawn, positions=changed(drawn.positions, randomized=0))
    counted.check_length(SPAN)
    with pytest.raises(UserError, match=r"64 positions, but .* need 65; raise .*learned.positions"):
        counted.check_length(SPAN + 1)
    with pytest.raises(UserError, match="range too small for sequences of 65 tokens; widen it"):
        decoder("none").check_length(SPAN + 1)


def test_a_scaling_of_rope_is_refused_without_rope():
    with pytest.raises(UserError, match=r"'linear' has no meaning for .*'randomized alibi'"):
        position_tables(decoder("alibi"), RopeScaling("linear", 2.0), UNSCALED, LENGTH)
    # Queries scaled by log n have a meaning for all.
    position_tables(decoder("alibi"), RopeScaling("none", log_n=8), UNSCALED, LENGTH)


def test_the_losses_of_seqpe_match_their_formulas_in_float64():
    config = decoder("seqpe")
    (scheme,) = config.layer_schemes
    params = jax.tree.map(lambda x: 3 * x, make_params(config)["positions"]["seqpe"])
    exact = jax.tree.map(lambda x: np.asarray(x, np.float64), params)

    def heads(positions):
        return seqpe_embeddings(scheme, exact, positions).reshape(len(positions), 2, -1)

    pivots, candidates = np.array([5, 321]), np.array([[7, 4, 999], [21, 300, 330]])
    expected = []
    for pivot, others, nearest in zip(pivots, candidates, (1, 2), strict=True):
        for h in range(2):
            logits = heads(others)[:, h] @ heads([pivot])[0, h]
            expected.append(np.log(np.exp(logits).sum()) - logits[nearest])
    encode = jax.jit(lambda x: scheme.encode(params, x.reshape(-1)).reshape(*x.shape, 2, -1))
    found = contrastive_loss(encode(pivots), encode(candidates), jnp.array([1, 2]))
    assert float(found) == pytest.approx(np.mean(expected), rel=1e-5)

    starts, indices = np.array([40, 600]), np.array([[0, 3, 9], [2, 2, 19]])
    expected = []
    for start, row in zip(starts, indices, strict=True):
        for h in range(2):
            near, far = heads(row)[:, h], heads(row + start)[:, h]
            logs = [x @ x.T - np.log(np.exp(x @ x.T).sum(1, keepdims=True)) for x in (near, far)]
            expected.append((np.exp(logs[0]) - np.exp(logs[1])) * (logs[0] - logs[1]))
    found = distillation_loss(encode(indices), encode(indices + starts[:, None]))
    assert float(found) == pytest.approx(np.mean(expected), rel=1e-4)


def test_what_the_losses_of_seqpe_draw():
    (scheme,) = decoder("seqpe").layer_schemes
    for seed in range(3):
        uniform = np.random.default_rng(seed).random((7, 32, 32), np.float32)
        uniform[:, 0, 0], uniform[:, 1, 1] = 0, np.nextafter(np.float32(1), np.float32(0))
        pivots, candidates = scheme.sample_candidates(uniform[:5])
        assert ((candidates >= 0) & (candidates < 1000)).all()
        assert (candidates != pivots[:, None]).all()
        near = np.abs(candidates - pivots[:, None])[1::3]
        assert near.max() <= 128
        here, there = scheme.sample_stretches(uniform[5:], LENGTH)
        assert ((here >= 0) & (here < LENGTH)).all()
        assert ((there >= LENGTH) & (there < 1000)).all()
        assert (np.ptp(there - here, axis=1) == 0).all()
        assert len(set((there - here)[:, 0].tolist())) > 20


def test_seqpe_adds_its_losses_and_others_add_none():
    config = decoder("seqpe")
    params = make_params(config)
    penalty = jax.jit(lambda key: position_penalty(config, params, key, LENGTH))
    values = [float(penalty(jax.random.key(seed))) for seed in (0, 0, 1)]
    assert values[0] == values[1] != values[2]
    assert position_penalty(decoder("none"), {}, jax.random.key(0), LENGTH) == 0
    with pytest.raises(UserError, match=r"regularized=1000 must be at least twice .* 501 tokens"):
        config.layer_schemes[0].penalty({}, jax.random.key(0), 501)
