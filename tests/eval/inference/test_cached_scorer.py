"""Scores over a cache: long rows in chunks, continuations of one prefix, generation."""

import dataclasses

import jax
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from lengthwise.common.errors import UserError
from lengthwise.eval.inference.cache_programs import NewCache, ScoreChunk
from lengthwise.eval.inference.cached_scorer import score_continuations
from lengthwise.eval.inference.generation import generate
from lengthwise.eval.inference.inference import Batching, Inference
from lengthwise.eval.inference.model_scorer import BoundModel
from lengthwise.eval.inference.programs import Architecture
from lengthwise.eval.inference.scorer import Setting
from lengthwise.model import transformer
from lengthwise.model.attention.masks import Mask
from lengthwise.model.decode import Sampling
from lengthwise.model.positions.rope_scaling import UNSCALED, RopeScaling
from lengthwise.model.spec import ModelSpec
from tests.eval.inference.test_model_scorer import SETTINGS, VOCABULARY, data_sharding
from tests.model.positions.schemes import position_settings

CHUNK, LONGEST = 8, 30
DYNAMIC = RopeScaling("dynamic", 1.0, original_length=8)


def model(settings=SETTINGS, chunk=CHUNK, trained=UNSCALED):
    """A model on two devices, and its compiled programs."""
    spec = ModelSpec.of(settings, VOCABULARY, "cpu")
    params = transformer.init_params(spec, 0)
    everywhere = NamedSharding(data_sharding(4, 16).mesh, PartitionSpec())
    params = jax.device_put(params, everywhere)
    abstract = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=everywhere), params
    )
    architecture = Architecture(spec, abstract, data_sharding)
    batching = Batching(64, seed=0, pad=0, chunk=chunk, longest=LONGEST)
    inference = Inference(architecture, batching)
    return BoundModel(inference, params, trained), inference


@pytest.fixture(scope="module")
def in_parts():
    return model()


@pytest.fixture(scope="module")
def whole():
    return model(chunk=0)[0]


def rows(count, length):
    return np.random.default_rng(length).integers(0, VOCABULARY, (count, length))


def test_rows_score_part_by_part_as_they_do_whole_in_one_program_for_all_lengths(in_parts, whole):
    bound, inference = in_parts
    for length in (30, 13):  # neither is whole chunks
        tokens = rows(3, length + 1)  # in batches of 2
        np.testing.assert_allclose(
            bound(Setting())(tokens), whole(Setting())(tokens), atol=1e-5, rtol=0
        )
    assert [type(each) for each in inference.programs.compiled] == [ScoreChunk, NewCache]


def test_shuffled_positions_are_the_same_part_by_part(in_parts, whole):
    tokens, shuffled = rows(2, 14), Setting(shuffled=True)
    found = in_parts[0](shuffled)(tokens)
    np.testing.assert_allclose(found, whole(shuffled)(tokens), atol=1e-5, rtol=0)
    assert np.abs(found - in_parts[0](Setting())(tokens)).max() > 1e-3


def test_scalings_that_follow_the_length_follow_that_of_the_row(in_parts, whole):
    tokens, dynamic = rows(2, 31), Setting(scaling=DYNAMIC)
    found = in_parts[0](dynamic)(tokens)
    np.testing.assert_allclose(found, whole(dynamic)(tokens), atol=1e-5, rtol=0)
    assert np.abs(found - in_parts[0](Setting())(tokens)).max() > 1e-3


def refused(**changes):
    settings = dataclasses.replace(SETTINGS, **changes)
    bound, inference = model(settings)
    with pytest.raises(UserError) as error:
        inference.prepare(30, Setting(), UNSCALED)
    return str(error.value), bound


def test_long_rows_that_cannot_be_scored_in_parts_are_refused_before_they_are():
    message, bound = refused(attention_weights="lssa")
    assert "whole rows of scores" in message
    assert "eval.chunk=8, 0 scores them whole" in message
    assert bound(Setting()).continuations is None
    learned = position_settings(scheme="learned", learned={"positions": 20})
    assert "20 positions" in refused(positions=learned)[0]


PREFIXES = [rows(1, n)[0] for n in (5, 1, 14, 6)]
CONTINUATIONS = [[rows(1, m)[0] for m in lengths] for lengths in ((2, 1, 3), (4,), (1, 1), ())]


SIXTEEN = {"length": 16, "pad": 3, "tokens_per_call": 48}


class InRows:
    """A scorer that shares no prefixes."""

    def __init__(self, scorer):
        self.targets = scorer.targets


def same(found, expected):
    for ours, theirs in zip(found, expected, strict=True):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(one.nats, other.nats, atol=1e-5, rtol=0)
            np.testing.assert_array_equal(one.likeliest, other.likeliest)


def test_continuations_of_one_prefix_score_as_if_each_had_a_row(in_parts, whole):
    scorer = InRows(whole(Setting()))
    expected = score_continuations(scorer, PREFIXES, CONTINUATIONS, **SIXTEEN)
    scorer = in_parts[0](Setting())
    same(score_continuations(scorer, PREFIXES, CONTINUATIONS, **SIXTEEN), expected)
    positions = np.tile(np.arange(16), (len(PREFIXES), 1))
    ids = {"positions": positions, **SIXTEEN}
    same(score_continuations(scorer, PREFIXES, CONTINUATIONS, **ids), expected)
    ids["positions"] = positions + 15 * (positions > 1)
    ids["positions"] = np.minimum(ids["positions"], 15)
    moved = score_continuations(scorer, PREFIXES, CONTINUATIONS, **ids)
    assert np.abs(moved[2][0].nats - expected[2][0].nats).max() > 1e-3


def test_what_is_greedy_is_what_greedy_decoding_writes(in_parts):
    bound, _ = in_parts
    greedy = Sampling(0.0, 0, 1.0)
    written = generate(
        bound.cached(Setting()),
        PREFIXES,
        sampling=greedy,
        max_tokens=3,
        seed=0,
        end_of_text=VOCABULARY,
    )
    assert [len(tokens) for tokens in written] == [3] * 4
    others = [[*tokens[:2], (tokens[2] + 1) % VOCABULARY] for tokens in written]
    asked = [[tokens, np.array(other)] for tokens, other in zip(written, others, strict=True)]
    for likeliest, other in bound(Setting()).continuations(PREFIXES, asked):
        assert likeliest.greedy
        assert not other.greedy
        assert likeliest.nats[2] < other.nats[2]


def test_a_row_that_grows_keeps_no_cache_under_a_scaling_that_follows_its_length(in_parts):
    with pytest.raises(UserError, match="rows of 4 tokens are others than those of 10"):
        generate(
            in_parts[0].cached(Setting(scaling=DYNAMIC)),
            [PREFIXES[0][:4]],
            sampling=Sampling(0.0, 0, 1.0),
            max_tokens=7,
            seed=0,
            end_of_text=VOCABULARY,
        )


@pytest.mark.parametrize("mask", [Mask(window=5, sinks=2)], ids=str)
def test_masks_hold_for_continuations(in_parts, whole, mask):
    scorer = whole(Setting(mask=mask))
    asked = (PREFIXES[2:3], CONTINUATIONS[2:3])
    found = score_continuations(in_parts[0](Setting(mask=mask)), *asked, **SIXTEEN)
    same(found, score_continuations(InRows(scorer), *asked, **SIXTEEN))
