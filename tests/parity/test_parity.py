"""Our decoder against the figures of `transformers`.

Without more said, against those in figures.json. `make parity` computes them anew with torch, names
their folder in LENGTHWISE_PARITY_FIGURES, and then figures.json must agree with them too.
"""

import functools
import json
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lengthwise.model.attention.attention import attend
from lengthwise.model.attention.masks import Mask
from lengthwise.model.positions.rope_scaling import UNSCALED, RopeScaling
from lengthwise.model.positions.rotation import rope_frequencies
from lengthwise.model.positions.schemes.alibi import Alibi
from lengthwise.model.positions.schemes.t5 import T5Buckets, t5_buckets
from lengthwise.model.transformer import apply, position_tables
from tests.model.decoder_reference import PLAIN, changed, position_settings
from tests.parity import cases

HERE = Path(__file__).parent
FROZEN = HERE / "figures.json"
FRESH = os.environ.get("LENGTHWISE_PARITY_FIGURES")
FIGURES = json.loads((Path(FRESH) / "figures.json" if FRESH else FROZEN).read_text())
CAUSAL = Mask(window=None, sinks=0)
CONFIG = changed(
    PLAIN,
    vocab_size=cases.VOCABULARY,
    layers=cases.LAYERS,
    embed_dim=cases.WIDTH,
    num_heads=cases.HEADS,
    num_kv_heads=cases.KV_HEADS,
    head_dim=cases.HEAD_DIM,
    mlp_dim=cases.MLP,
    positions=position_settings(rope={"theta": cases.THETA}),
    tie_embeddings=False,
    attention="blockwise",
    attention_block=16,
)


@functools.cache
def compiled(length, mask):
    """One executable, whatever the scaling."""

    def logits(params, tokens, positions, tables):
        return apply(
            CONFIG,
            params,
            tokens,
            positions_BL=positions,
            segment_ids_BL=None,
            tables=tables,
            mask=mask,
            key=None,
        )

    return jax.jit(logits)


def our_logits(length, scaling, mask=CAUSAL):
    tokens = cases.tokens(length)[None].astype(np.int32)
    positions = np.arange(length, dtype=np.int32)[None]
    tables = position_tables(CONFIG, scaling, UNSCALED, length)
    return cases.kept(compiled(length, mask)(cases.weights(), tokens, positions, tables)[0])


@pytest.mark.parametrize("length", cases.LENGTHS)
@pytest.mark.parametrize("name", cases.ROPE)
def test_rope_scalings_match_a_llama(name, length):
    theirs = FIGURES["rope"][f"{name} {length}"]
    scaling = RopeScaling(**cases.ROPE[name][0])
    ours = rope_frequencies(cases.HEAD_DIM, cases.THETA, scaling, length=length)
    np.testing.assert_allclose(ours, theirs["frequencies"], rtol=1e-6)
    assert scaling.temperature == pytest.approx(theirs["temperature"], rel=1e-7)
    np.testing.assert_allclose(our_logits(length, scaling), theirs["logits"], atol=1e-5)
    owned = position_tables(changed(CONFIG, rope_scaling=scaling), UNSCALED, UNSCALED, length)
    jax.tree.map(
        np.testing.assert_array_equal, owned, position_tables(CONFIG, scaling, UNSCALED, length)
    )


@pytest.mark.parametrize("length", cases.LENGTHS)
def test_the_figures_of_scalings_differ(length):
    """Equal ones would prove nothing; dynamic is plain RoPE up to the original length."""
    found = [np.array(FIGURES["rope"][f"{name} {length}"]["logits"]) for name in cases.ROPE]
    names = list(cases.ROPE)
    for i, one in enumerate(found):
        for j, other in enumerate(found[:i]):
            same = {names[i], names[j]} == {"default", "dynamic"} and length <= cases.ORIGINAL
            assert (np.abs(one - other).max() < 1e-3) == same


@pytest.mark.parametrize(
    ("name", "mask"),
    [
        ("window", Mask(window=cases.WINDOW, sinks=0)),
        ("window and sinks", Mask(window=cases.WINDOW, sinks=cases.SINKS)),
    ],
)
def test_windows_match_a_mistral_and_sinks_a_masked_llama(name, mask):
    ours = our_logits(cases.LENGTHS[-1], RopeScaling("none"), mask)
    np.testing.assert_allclose(ours, FIGURES["masks"][name], atol=1e-5)


def biased_attention(scheme, params, heads):
    q, k, v = (x[None] for x in cases.heads_inputs(heads))
    terms = scheme.terms(params, None, q, k)
    out = attend(
        terms.q_BLHC,
        terms.k_BLKC,
        v,
        mask=CAUSAL,
        segment_ids_BL=None,
        bias=terms.bias,
        backend="blockwise",
        softcap=0.0,
        block_size=16,
    )
    return cases.kept(np.asarray(out[0]).reshape(cases.BIAS_LENGTH, -1))


@pytest.mark.parametrize("heads", cases.BIAS_HEADS)
def test_alibi_matches_a_bloom(heads):
    ours = biased_attention(Alibi(), {}, heads)
    np.testing.assert_allclose(ours, FIGURES["alibi"][str(heads)], atol=1e-5)


@pytest.mark.parametrize("heads", cases.BIAS_HEADS)
def test_relative_buckets_match_a_t5(heads):
    scheme = T5Buckets(cases.BUCKETS, cases.MAX_DISTANCE)
    ours = biased_attention(scheme, {"table": jnp.asarray(cases.bucket_biases(heads))}, heads)
    np.testing.assert_allclose(ours, FIGURES["t5"][str(heads)], atol=1e-5)


@pytest.mark.parametrize("name", cases.BUCKET_TABLES)
def test_buckets_are_those_of_t5(name):
    number, most, distances = cases.BUCKET_TABLES[name]
    ours = t5_buckets(number, most)[np.minimum(np.arange(distances), most)]
    np.testing.assert_array_equal(ours, FIGURES["t5 buckets"][name])


@pytest.mark.skipif(FRESH is None, reason="`make parity` computes the figures anew")
@pytest.mark.parametrize("name", ["figures.json", "families.json"])
def test_the_frozen_figures_are_the_fresh_ones(name):
    fresh, frozen = (json.loads((folder / name).read_text()) for folder in (Path(FRESH), HERE))

    def compare(fresh, kept, where):
        assert type(fresh) is type(kept), where
        if isinstance(fresh, dict):
            assert fresh.keys() == kept.keys(), where
            for name in fresh:
                compare(fresh[name], kept[name], f"{where} {name}")
        elif isinstance(fresh, str | None) or (isinstance(fresh, list) and not _numbers(fresh)):
            assert fresh == kept, where
        else:
            np.testing.assert_allclose(fresh, kept, atol=4e-6, err_msg=where)

    compare(fresh, frozen, name)


def _numbers(values):
    return all(isinstance(each, list | float | int) for each in values)
