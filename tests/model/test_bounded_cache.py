"""Caches bounded by the window of a layer, token by token against a pass over whole rows."""

import functools

import jax
import numpy as np
import pytest

from lengthwise.model.attention.masks import CAUSAL, Mask
from lengthwise.model.cache import empty_cache
from lengthwise.model.positions.rope_scaling import UNSCALED, RopeScaling
from lengthwise.model.token_losses import project
from lengthwise.model.transformer import apply, extend, position_tables
from tests.model.decoder_reference import CONFIG, changed, make_params

ROWS, LENGTH, STEP, BLOCK = 2, 44, 4, 4
TOKENS = np.random.default_rng(0).integers(0, 31, (ROWS, LENGTH)).astype(np.int32)
POSITIONS = np.arange(LENGTH, dtype=np.int32)[None]
# A window of 5 keeps 5 - 1 + STEP tokens of 44; the last period of the pattern is cut off.
LOCAL = changed(
    CONFIG,
    layers=3,
    layer_pattern=("rope/window:size=5", "fire/full"),
    attention_block=BLOCK,
    layer_execution="scan",
)
PLAIN = changed(CONFIG, attention_block=BLOCK)
SMEARED = changed(PLAIN, smeared_keys=True)
FAR = RopeScaling("none", near=4, grouped=2)
CASES = {
    "pattern": (LOCAL, CAUSAL, UNSCALED, (8, 44)),
    "window": (PLAIN, Mask(window=9), UNSCALED, (12,)),
    "window and sinks": (PLAIN, Mask(window=6, sinks=3), FAR, (16,)),
    "chunks and sinks, smeared": (SMEARED, Mask(chunk=7, sinks=5), UNSCALED, (20,)),
}


@functools.partial(jax.jit, static_argnames=("config", "mask"))
def whole(config, params, tables, mask):
    return apply(
        config,
        params,
        TOKENS,
        positions_BL=POSITIONS,
        segment_ids_BL=None,
        tables=tables,
        mask=mask,
        key=None,
    )


@functools.partial(jax.jit, static_argnames=("config", "mask"))
def passed(config, params, tokens, cache, first, count, tables, mask):
    x, (weight, axis), cache = extend(
        config, params, tokens, cache, first, tables=tables, mask=mask, count_B=count
    )
    logits = project(x.reshape(-1, x.shape[-1]), weight, axis, config.logit_softcap)
    return logits.reshape(*tokens.shape, -1), cache


class Case:
    """A model, its logits of whole rows, and a cache that forgets."""

    def __init__(self, name):
        self.config, self.mask, scaling, self.slots = CASES[name]
        self.params = make_params(self.config)
        self.tables = position_tables(self.config, scaling, UNSCALED, LENGTH)
        self.expected = np.asarray(whole(self.config, self.params, self.tables, self.mask))

    def cache(self):
        make = functools.partial(empty_cache, self.config, mask=self.mask, step=STEP)
        cache = make(self.tables, ROWS, POSITIONS)
        assert tuple(layer.k.shape[3] for layer in cache.layers) == self.slots
        return cache

    def run(self, cache, firsts, tokens, count=None):
        """A pass over `tokens` tokens of each row from firsts on, checked against whole rows."""
        firsts = np.asarray(firsts, np.int32)
        index = np.broadcast_to(firsts[:, None] + np.arange(tokens), (ROWS, tokens))
        row = np.arange(ROWS)[:, None]
        part, count = TOKENS[row, index], None if count is None else np.asarray(count, np.int32)
        logits, cache = passed(
            self.config, self.params, part, cache, firsts, count, self.tables, self.mask
        )
        real = np.ones_like(index, bool) if count is None else index < count[:, None]
        np.testing.assert_allclose(logits[real], self.expected[row, index][real], atol=2e-5)
        return cache


@functools.cache
def case(name):
    return Case(name)


@pytest.mark.parametrize("name", CASES)
def test_tokens_one_by_one_and_in_blocks_are_those_of_whole_rows(name):
    """Over several turns of the ring, with blocks across its end."""
    one = case(name)
    cache = one.cache()
    for first in range(0, 28, STEP):
        cache = one.run(cache, [first], STEP)
    for first in range(28, LENGTH):
        cache = one.run(cache, [first], 1)


@pytest.mark.parametrize("name", ["pattern", "window and sinks"])
def test_rows_of_other_lengths_and_tokens_written_anew(name):
    """A prefill in which one row has ended long before, then rows at their own slots; and passes
    that begin a few tokens back, as candidates of one prompt do."""
    one = case(name)
    cache = one.cache()
    count = [17, 32]
    for first in range(0, 32, STEP):
        cache = one.run(cache, [first], STEP, count)
    for _ in range(2):
        cache = one.run(cache, np.array(count) - 1, STEP)
    for n in range(8):
        cache = one.run(cache, np.array(count) - 1 + n, 1)


def test_a_pass_that_would_forget_what_it_needs_is_an_error():
    with pytest.raises(ValueError, match="a pass of 5 tokens under window 9"):
        case("window").run(case("window").cache(), [0], 5)
