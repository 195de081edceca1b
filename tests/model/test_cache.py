"""A pass over a cache of keys and values against one over whole rows, for every position scheme."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lengthwise.model.attention.masks import CAUSAL, Mask
from lengthwise.model.cache import cache_capacity, cache_refusal, empty_cache
from lengthwise.model.positions.rope_scaling import UNSCALED, RopeScaling
from lengthwise.model.token_losses import nats_of_logits, project
from lengthwise.model.transformer import apply, extend, position_tables
from tests.model.decoder_reference import CONFIG, PATTERN, VARIANTS, changed, make_params
from tests.model.positions.schemes import CASES, SETTINGS, SPAN, decoder, position_settings

# Blocks of 8 (`CONFIG.attention_block`): a cache of four, of which chunks visit one to three.
ROWS, LENGTH, CHUNK, CAPACITY = 2, 24, 12, 32
TOKENS = np.random.default_rng(0).integers(0, 31, (ROWS, LENGTH)).astype(np.int32)
# Digits of Abacus, at the beginning and over the border of two chunks.
TOKENS[:, :2], TOKENS[0, 10:15] = 5, 7
COUNTED = np.arange(CAPACITY, dtype=np.int32)[None]
DRAWN = np.random.default_rng(1).choice(SPAN, CAPACITY, replace=False)
SKIPPED = np.sort(DRAWN)[None].astype(np.int32)


@functools.partial(jax.jit, static_argnames=("config", "mask"))
def whole_pass(config, params, tokens, positions, tables, mask):
    return apply(
        config,
        params,
        tokens,
        positions_BL=positions,
        segment_ids_BL=None,
        tables=tables,
        mask=mask,
        key=None,
    )


@functools.partial(jax.jit, static_argnames=("config", "mask"))
def empty(config, positions, tables, mask):
    return empty_cache(config, tables, ROWS, positions)


@functools.partial(jax.jit, static_argnames=("config", "mask"), donate_argnames="cache")
def extended(config, params, tokens, cache, first, tables, mask):
    x, (weight, axis), cache = extend(
        config, params, tokens, cache, first, tables=tables, mask=mask
    )
    logits = project(x.reshape(-1, x.shape[-1]), weight, axis, config.logit_softcap)
    return logits.reshape(*tokens.shape, -1), cache


def nats(logits):
    return nats_of_logits(jnp.asarray(logits[:, :-1]), jnp.asarray(TOKENS[:, 1:]))[0]


def assert_equal_passes(config, positions=COUNTED, mask=CAUSAL, scaling=UNSCALED):
    """Chunks against whole rows; returns the logits."""
    params = make_params(config)
    tables = position_tables(config, scaling, UNSCALED, LENGTH)
    whole = whole_pass(config, params, TOKENS, positions[:, :LENGTH], tables, mask)
    cache = empty(config, positions, tables, mask)
    found = []
    for first in range(0, LENGTH, CHUNK):
        part = TOKENS[:, first : first + CHUNK]
        place = np.array([first], np.int32)
        logits, cache = extended(config, params, part, cache, place, tables, mask)
        found.append(logits)
    found = np.concatenate(found, axis=1)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(nats(found), nats(whole), atol=1e-5, rtol=0)
    return np.asarray(whole)


SHIFT = RopeScaling("ntk", 2.0, shift=9, shift_kept=2, log_n=4)


def test_chunks_give_what_a_whole_pass_gives_under_several_schemes_at_a_time():
    """What they do to inputs, keys, scores and softmax, twice over, scanned; other positions than
    places, and a Lambda mask."""
    config = changed(
        CONFIG,
        layers=6,
        positions=position_settings(scheme="abacus", **SETTINGS),
        layer_pattern=("rope", "cope", "fire"),
        layer_execution="scan",
        remat="full",
    )
    assert_equal_passes(config, SKIPPED, Mask(window=9, sinks=3))


def test_chunks_give_what_a_whole_pass_gives_with_smeared_keys():
    """The first key of a chunk has its part of the last key of the one before, by layer."""
    config = changed(
        CONFIG,
        layers=4,
        layer_pattern=("rope", "none"),
        smeared_keys=True,
        layer_execution="scan",
    )
    assert_equal_passes(config, mask=Mask(chunk=7, sinks=2))


def test_a_chunk_written_anew_takes_its_first_key_from_the_slot_before():
    """Rows at slots of their own, with later slots filled: not from the last token written."""
    config = changed(CONFIG, smeared_keys=True)
    params, tables = make_params(config), position_tables(config, UNSCALED, UNSCALED, LENGTH)
    cache = empty(config, COUNTED, tables, CAUSAL)
    for first in (0, CHUNK):
        part, place = TOKENS[:, first : first + CHUNK], np.array([first], np.int32)
        _, cache = extended(config, params, part, cache, place, tables, CAUSAL)
    firsts = np.array([3, 11], np.int32)
    parts = np.stack([TOKENS[b, n : n + CHUNK] for b, n in enumerate(firsts)])
    logits, _ = extended(config, params, parts, cache, firsts, tables, CAUSAL)
    whole = whole_pass(config, params, TOKENS, COUNTED[:, :LENGTH], tables, CAUSAL)
    for b, n in enumerate(firsts):
        np.testing.assert_allclose(logits[b], whole[b, n : n + CHUNK], atol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_chunks_give_what_a_whole_pass_gives_under_every_scheme(case):
    assert_equal_passes(decoder(case), SKIPPED)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if "Gemma" in n else pytest.mark.slow) for n in VARIANTS]
)
def test_chunks_give_what_a_whole_pass_gives_under_every_variant_of_a_block(name):
    assert_equal_passes(VARIANTS[name])


def test_chunks_give_what_a_whole_pass_gives_under_a_pattern_that_is_cut_off():
    assert_equal_passes(PATTERN)


MASKS = [Mask(window=5), Mask(window=9, sinks=3), Mask(chunk=7, sinks=2), Mask(chunk=8)]


@pytest.mark.parametrize(
    "mask", [MASKS[2], *(pytest.param(m, marks=pytest.mark.slow) for m in MASKS)], ids=str
)
def test_chunks_give_what_a_whole_pass_gives_under_every_mask(mask):
    plain = assert_equal_passes(CONFIG)
    masked = assert_equal_passes(CONFIG, mask=mask)
    assert np.abs(masked - plain).max() > 1e-3


def longrope(original_length):
    return RopeScaling(
        "longrope",
        4.0,
        original_length=original_length,
        short_factors=(1.0,) * 4,
        long_factors=(1.0, 2.0, 3.0, 4.0),
    )


SCALINGS = {
    "linear": RopeScaling("linear", 4.0),
    "dynamic": RopeScaling("dynamic", 1.0, original_length=8),
    "longrope": longrope(8),
    "yarn": RopeScaling("yarn", 4.0, original_length=8),
}
FAR = {"ceiling": RopeScaling("none", ceiling=6), "shift": SHIFT}


@pytest.mark.parametrize(
    "name", [*SCALINGS, "shift", pytest.param("ceiling", marks=pytest.mark.slow)]
)
def test_chunks_give_what_a_whole_pass_gives_under_every_scaling(name):
    plain = assert_equal_passes(CONFIG)
    scaled = assert_equal_passes(CONFIG, scaling={**SCALINGS, **FAR}[name])
    assert np.abs(scaled - plain).max() > 1e-3


@pytest.mark.slow
def test_chunks_give_what_a_whole_pass_gives_under_clex():
    clex = {"theta": 100.0, "original_length": 8, "max_factor": 4, "hidden": 4}
    assert_equal_passes(changed(CONFIG, positions=position_settings(scheme="clex", clex=clex)))


def test_a_place_is_an_operand():
    """Chunks at other places, and other numbers of them, run in one program."""
    assert_equal_passes(CONFIG)
    programs = extended._cache_size()
    params, tables = make_params(CONFIG), position_tables(CONFIG, UNSCALED, UNSCALED, LENGTH)
    cache = empty(CONFIG, COUNTED, tables, CAUSAL)
    for first in (0, 7, 19):
        place = np.array([first], np.int32)
        _, cache = extended(CONFIG, params, TOKENS[:, :CHUNK], cache, place, tables, CAUSAL)
    assert extended._cache_size() == programs


def test_what_a_cache_cannot_serve_is_refused_with_the_reason():
    assert cache_refusal(CONFIG, Mask(window=3, sinks=1)) is None
    assert "see later ones" in cache_refusal(CONFIG, Mask(prefix=4))
    assert "lssar" in cache_refusal(changed(CONFIG, attention_weights="lssar"), CAUSAL)


def test_capacities_are_whole_blocks():
    assert [cache_capacity(CONFIG, n) for n in (1, 8, 9, 16)] == [1, 8, 16, 16]
    with pytest.raises(ValueError, match="multiple of 8"):
        empty_cache(CONFIG, {}, ROWS, jnp.zeros((1, 12), jnp.int32))
