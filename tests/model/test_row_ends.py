"""States of the last tokens alone are those of a pass over all tokens of the rows."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lengthwise.model.attention.attention import attend
from lengthwise.model.attention.masks import CAUSAL, Mask
from lengthwise.model.config import BlockConfig
from lengthwise.model.parallel.mesh import use_mesh
from lengthwise.model.positions.rope_scaling import UNSCALED, RopeScaling
from lengthwise.model.receptive_field import receptive_columns
from lengthwise.model.transformer import position_tables, target_scores
from lengthwise.train.mesh import ViewShape, mesh_view
from tests.model.decoder_reference import CONFIG, LENGTH, changed, make_params, position_settings
from tests.model.positions.schemes import decoder
from tests.model.positions.test_schemes import batch

LAST = 3
FAR = RopeScaling("none", ceiling=6)


@functools.partial(jax.jit, static_argnums=(0, 5))
def both_ways(config, params, tables, tokens_BL, rows, mask):
    """(nats, hits) of all targets and of the last ones, the former cut to the latter."""
    positions_BL, segments_BL = rows
    targets_BL = jnp.roll(tokens_BL, -1, axis=1)
    run = functools.partial(
        target_scores,
        *(config, params, tokens_BL),
        positions_BL=positions_BL,
        segment_ids_BL=segments_BL,
        tables=tables,
        mask=mask,
        key=None,
    )
    return [x[:, -LAST:] for x in run(targets_BL)], run(targets_BL[:, -LAST:], last=LAST)


def check(config, *, scaling=UNSCALED, mask=CAUSAL, segmented=False):
    tokens, positions, segments = batch()
    params = make_params(config)
    tables = position_tables(config, scaling, UNSCALED, LENGTH)
    rows = positions, segments if segmented else None
    whole, ends = both_ways(config, params, tables, tokens, rows, mask)
    np.testing.assert_allclose(ends[0], whole[0], rtol=0, atol=2e-6)
    np.testing.assert_array_equal(ends[1], whole[1])
    assert np.ptp(np.asarray(whole[0])) > 0.1  # targets differ


@pytest.mark.parametrize("case", ["alibi", "cope", "learned + t5/none", "abacus + fire"])
def test_under_every_position_scheme(case):
    check(decoder(case, attention="blockwise"), segmented=case in ("alibi", "cope"))


@pytest.mark.parametrize("mask", [Mask(window=5, sinks=2), Mask(chunk=8)], ids=str)
def test_under_masks_and_a_far_field_in_scanned_layers(mask):
    config = changed(CONFIG, layers=3, layer_execution="scan", attention="blockwise")
    check(config, scaling=FAR, mask=mask, segmented=True)


@pytest.mark.parametrize(
    "changes",
    [{"attention_weights": "lssa"}, {"block": BlockConfig(parallel=True, norm="layer")}],
    ids=["weights of whole rows", "parallel"],
)
def test_in_other_blocks(changes):
    check(changed(CONFIG, layer_execution="scan", **changes))


TALL = 64  # tokens of a row


@pytest.mark.parametrize(
    ("mask", "changes"),
    [
        (Mask(window=4), {"smeared_keys": True}),
        (Mask(window=5, sinks=3), {"positions": position_settings(scheme="cope")}),
        (CAUSAL, {"layer_pattern": ("rope/window:size=3", "rope/window:size=6")}),
        (Mask(chunk=8), {"smeared_keys": True}),
        (Mask(chunk=8, sinks=3), {"positions": position_settings(scheme="alibi")}),
    ],
    ids=lambda case: str(case) if isinstance(case, Mask) else "",
)
def test_columns_that_the_last_tokens_depend_on_are_enough_and_none_too_many(mask, changes):
    config = changed(CONFIG, layers=3, **changes)
    columns = receptive_columns(config, mask, TALL, LAST)
    rng = np.random.default_rng(2)
    tokens = rng.integers(0, config.vocab_size, (2, TALL)).astype(np.int32)
    positions = np.broadcast_to(3 * np.arange(TALL), tokens.shape).astype(np.int32)
    params = make_params(config)

    @jax.jit
    def nats(tokens, positions):
        targets = jnp.arange(2 * LAST).reshape(2, LAST)
        tables = position_tables(config, UNSCALED, UNSCALED, TALL)
        options = {"segment_ids_BL": None, "tables": tables, "mask": mask, "key": None}
        return target_scores(
            *(config, params, tokens, targets), positions_BL=positions, last=LAST, **options
        )[0]

    whole = nats(tokens, positions)
    alone = nats(tokens[:, columns], positions[:, columns])
    np.testing.assert_allclose(alone, whole, rtol=0, atol=2e-6)
    # What is left out doesn't matter; what begins the columns does.
    others = np.setdiff1d(np.arange(TALL), columns)
    assert others.size > TALL // 4
    changed_tokens = tokens.copy()
    changed_tokens[:, others] = (tokens[:, others] + 1) % config.vocab_size
    np.testing.assert_array_equal(nats(changed_tokens, positions), whole)
    stretch = columns[columns >= others[-1]][0]
    changed_tokens = tokens.copy()
    changed_tokens[:, stretch] = (tokens[:, stretch] + 1) % config.vocab_size
    assert np.abs(nats(changed_tokens, positions) - whole).max() > 0


@pytest.mark.parametrize("mask", [Mask(window=9), Mask(window=4, sinks=3), Mask(chunk=16)], ids=str)
def test_for_several_devices_the_columns_are_a_half_of_the_row_or_a_quarter(mask):
    config, length = changed(CONFIG, layers=2), 256
    fewest = receptive_columns(config, mask, length, LAST)
    halved = receptive_columns(config, mask, length, LAST, halved=True)
    assert length % len(halved) == 0
    assert len(fewest) <= len(halved) < 2 * len(fewest)
    assert set(fewest) <= set(halved)


@pytest.mark.parametrize("mask", [CAUSAL, Mask(window=20)], ids=str)
def test_all_columns_are_computed_where_leaving_some_out_does_not_pay(mask):
    assert receptive_columns(changed(CONFIG, layers=3), mask, TALL, LAST) is None


def test_all_columns_are_computed_where_a_scheme_reads_more_than_their_positions():
    for case in ("abacus + fire", "seqpe"):
        assert receptive_columns(decoder(case), Mask(window=2), TALL, LAST) is None


def test_devices_that_share_a_row_refuse_queries_of_its_end_alone():
    q = jnp.zeros((1, 2, 2, 4))
    k = jnp.zeros((1, 8, 2, 4))
    mesh = mesh_view(ViewShape(slices=1, data=1, context=2, tensor=1), jax.devices()[:2])
    options = {"mask": CAUSAL, "segment_ids_BL": None, "softcap": 0.0, "block_size": 0}
    with use_mesh(mesh), pytest.raises(ValueError, match="queries of the last 2 alone"):
        attend(q, k, k, backend="blockwise", **options)
