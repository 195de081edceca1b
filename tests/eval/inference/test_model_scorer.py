"""The model behind the `Scorer` protocol: padding rows, masks, scalings, shuffled positions."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from lengthwise.eval.inference.inference import Batching, Inference
from lengthwise.eval.inference.model_scorer import BoundModel
from lengthwise.eval.inference.programs import Architecture
from lengthwise.eval.inference.scorer import Setting, batched_scores, score
from lengthwise.model import transformer
from lengthwise.model.attention.masks import Mask
from lengthwise.model.config import ModelConfig
from lengthwise.model.positions.rope_scaling import RopeScaling
from lengthwise.model.positions.rotation import rope_tables
from lengthwise.model.spec import ModelSpec
from lengthwise.train.config import MeshConfig
from lengthwise.train.mesh import batch_sharding, default_view, mesh_view
from tests.model.positions.schemes import position_settings

VOCABULARY, LENGTH, ROWS = 11, 16, 7
PLAIN = RopeScaling("none", 1.0)
DYNAMIC = RopeScaling("dynamic", 1.0, original_length=8)
SETTINGS = ModelConfig(
    layers=1,
    embed_dim=16,
    num_heads=2,
    num_kv_heads=1,
    head_dim=8,
    mlp_dim=16,
    positions=position_settings(rope={"theta": 100.0}),
    layer_pattern=(),
    qk_norm="none",
    attention_softcap=0.0,
    attention_weights="softmax",
    logit_softcap=0.0,
    dropout=0.0,
    tie_embeddings=False,
    compute_dtype="auto",
    attention="dense",
    attention_block=0,
    layer_execution="auto",
    remat="none",
)
MODEL = ModelSpec.of(SETTINGS, VOCABULARY, "cpu")


def data_sharding(batch, length):
    shape = default_view(length, batch, MeshConfig(slices=1, tensor=1), 2)
    return batch_sharding(mesh_view(shape, jax.devices()[:2]))


@pytest.fixture(scope="module")
def params():
    return transformer.init_params(MODEL, 0)


@pytest.fixture(scope="module")
def inference(params):
    everywhere = NamedSharding(data_sharding(4, LENGTH).mesh, PartitionSpec())
    abstract = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=everywhere), params
    )
    architecture = Architecture(MODEL, abstract, data_sharding)
    return Inference(architecture, Batching(4 * LENGTH, seed=0, pad=0))


@pytest.fixture(scope="module")
def tokens():
    return np.random.default_rng(0).integers(0, VOCABULARY, (ROWS, LENGTH + 1))


def expected(params, tokens, tables, mask, positions=None):
    """Nats by the model itself, with the log-softmax in float64."""
    logits = logits_of(params, tokens, tables, mask, positions)
    log_partition = np.log(np.exp(logits).sum(-1))
    return log_partition - np.take_along_axis(logits, tokens[:, 1:, None], -1)[..., 0]


def logits_of(params, tokens, tables, mask, positions=None):
    inputs = jnp.asarray(tokens[:, :-1], jnp.int32)
    counted = jnp.broadcast_to(jnp.arange(LENGTH), inputs.shape)
    logits = transformer.apply(
        MODEL,
        params,
        inputs,
        positions_BL=counted if positions is None else jnp.asarray(positions),
        segment_ids_BL=None,
        tables=tables,
        mask=mask,
        key=None,
    )
    return np.asarray(logits, np.float64)


def placed(params, inference):
    return jax.tree.map(
        lambda x, a: jax.device_put(x, a.sharding), params, inference.architecture.abstract_params
    )


@pytest.mark.parametrize(
    "trained", [PLAIN, RopeScaling("linear", 4.0), RopeScaling("ntk", 4.0, ceiling=6)]
)
@pytest.mark.parametrize("window", [None, 5])
def test_scores_are_the_models_under_the_trained_scaling(
    params, inference, tokens, trained, window
):
    sinks = 0 if window is None else 2
    make = BoundModel(inference, placed(params, inference), trained)
    scorer = make(Setting(mask=Mask(window=window, sinks=sinks)))
    tables = {"rope": rope_tables(8, 100.0, trained)}
    want = expected(params, tokens, tables, Mask(window=window, sinks=sinks))
    found = scorer(tokens)
    assert found.shape == (ROWS, LENGTH)  # 7 rows in batches of 4
    np.testing.assert_allclose(found, want, rtol=2e-5, atol=1e-5)


def test_a_scorer_says_which_targets_are_greedy_and_takes_position_ids(params, inference, tokens):
    scorer = BoundModel(inference, placed(params, inference), PLAIN)(Setting())
    tables = {"rope": rope_tables(8, 100.0, PLAIN)}
    greedy = logits_of(params, tokens, tables, Mask()).argmax(-1)
    tokens = tokens.copy()
    tokens[:, -1] = greedy[:, -1]  # nothing attends to the last target
    found = scorer.targets(tokens)
    np.testing.assert_array_equal(found.greedy, greedy == tokens[:, 1:])
    np.testing.assert_array_equal(found.nats, scorer(tokens))
    # A gap before the last inputs, another one in each row.
    rng = np.random.default_rng(3)
    positions = np.sort(rng.permuted(np.tile(np.arange(LENGTH), (ROWS, 1)), axis=1)[:, :9])
    positions = np.concatenate([positions, np.tile(LENGTH - 1, (ROWS, LENGTH - 9))], axis=1)
    shifted = scorer.targets(tokens, positions).nats
    want = expected(params, tokens, tables, Mask(), positions)
    np.testing.assert_allclose(shifted, want, rtol=2e-5, atol=1e-5)
    # Far beyond the row, and the table of a scaling that follows the length is that of the end.
    far = positions + 100 * (positions > 7)
    tables = {"rope": rope_tables(8, 100.0, DYNAMIC, PLAIN, length=int(far.max()) + 1)}
    scorer = BoundModel(inference, placed(params, inference), PLAIN)(Setting(DYNAMIC))
    want = expected(params, tokens, tables, Mask(), far)
    np.testing.assert_allclose(scorer.targets(tokens, far).nats, want, rtol=2e-5, atol=1e-5)


def test_a_tested_scaling_changes_the_scores_and_compiles_nothing_new(params, inference, tokens):
    make = BoundModel(inference, placed(params, inference), PLAIN)

    def scores(setting):
        return make(setting)(tokens)

    plain = scores(Setting())
    compiled = len(inference.programs.compiled)
    for setting in (Setting(RopeScaling("linear", 4.0)), Setting(shuffled=True)):
        assert np.abs(scores(setting) - plain).max() > 1e-3
    assert len(inference.programs.compiled) == compiled


def test_under_the_document_mask_a_document_scores_as_if_it_stood_alone(params, inference):
    rng = np.random.default_rng(1)
    tokens = rng.integers(0, VOCABULARY, (ROWS, LENGTH + 1))
    segments = 1 + (np.arange(LENGTH + 1) >= rng.integers(2, LENGTH - 1, (ROWS, 1)))
    make = BoundModel(inference, placed(params, inference), PLAIN)
    found = make.by_document(tokens, segments)
    compiled = len(inference.programs.compiled)
    for segment in (1, 2):
        # Each alone and at the front of a row; what stands behind cannot reach back.
        alone = np.zeros((ROWS, LENGTH + 1), int)
        places = [np.flatnonzero(segments[row] == segment) for row in range(ROWS)]
        for row, inside in enumerate(places):
            alone[row, : inside.size] = tokens[row, inside]
        tables = {"rope": rope_tables(8, 100.0, PLAIN)}
        want = expected(params, alone, tables, Mask())
        for row, inside in enumerate(places):
            np.testing.assert_allclose(
                found[row, inside[:-1]], want[row, : inside.size - 1], rtol=2e-5, atol=1e-5
            )
    make.by_document(tokens[:2], segments[:2])
    assert len(inference.programs.compiled) == compiled


@pytest.mark.parametrize(
    "setting",
    [
        Setting(RopeScaling("yarn", 4.0, original_length=8)),
        Setting(RopeScaling("dynamic", 2.0, original_length=8)),
        Setting(RopeScaling("none", log_n=4)),
        Setting(RopeScaling("ntk", 2.0, ceiling=5), Mask(window=5, sinks=2)),
        Setting(RopeScaling("none", shift=9, shift_kept=2)),
        Setting(mask=Mask(chunk=8)),
    ],
    ids=lambda setting: f"{setting.scaling.kind}-{setting.scaling.extras}-{setting.mask}",
)
def test_settings_reach_the_model(params, inference, tokens, setting):
    trained = RopeScaling("linear", 2.0)
    make = BoundModel(inference, placed(params, inference), trained)
    tables = transformer.position_tables(MODEL, setting.scaling, trained, LENGTH)
    want = expected(params, tokens, tables, setting.mask)
    np.testing.assert_allclose(make(setting)(tokens), want, rtol=2e-5, atol=1e-5)
    assert np.abs(make(Setting())(tokens) - want).max() > 1e-3


def in_calls(scorer, tokens, tokens_per_call, last):
    """Scores of rows as scorers ask for them, some tokens at a time."""

    def scores(some):
        return score(scorer, tokens[some], last=last, first_row=some.start)

    return batched_scores(scores, *tokens[:, 1:].shape, tokens_per_call)


def one_by_one(scorer, tokens):
    return np.concatenate([score(scorer, row[None], first_row=i) for i, row in enumerate(tokens)])


RANDOMIZED = dataclasses.replace(
    SETTINGS, positions=position_settings(randomized=64, rope={"theta": 100.0})
)


@pytest.fixture(scope="module", params=["counted", "randomized"])
def bound(request, params):
    """Makes a checkpoint whose device batches have so many tokens, under counted or drawn ids."""
    settings = SETTINGS if request.param == "counted" else RANDOMIZED
    model = ModelSpec.of(settings, VOCABULARY, "cpu")
    everywhere = NamedSharding(data_sharding(4, LENGTH).mesh, PartitionSpec())
    abstract = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=everywhere), params
    )
    architecture = Architecture(model, abstract, data_sharding)
    placed_params = jax.device_put(params, everywhere)

    @functools.cache
    def make(tokens, chunk=0):
        batching = Batching(tokens, seed=0, pad=0, chunk=chunk, longest=LENGTH)
        return BoundModel(Inference(architecture, batching), placed_params, PLAIN)

    return make


@pytest.mark.parametrize("setting", [Setting(), Setting(shuffled=True)], ids=["plain", "shuffled"])
def test_scores_depend_on_neither_batches_nor_calls(bound, setting):
    """A row is scored as it is alone: whatever rows stand beside it, in the device batch or in the
    call. Draws are a row's own."""
    rng = np.random.default_rng(5)
    for length in (LENGTH, 12):
        tokens = rng.integers(0, VOCABULARY, (ROWS, length + 1))
        expected = one_by_one(bound(LENGTH)(setting), tokens)
        for batch_tokens in (LENGTH, 4 * LENGTH):
            for call_tokens, last in ((40, None), (64, 3), (1000, 1)):
                scores = in_calls(bound(batch_tokens)(setting), tokens, call_tokens, last)
                np.testing.assert_allclose(scores, expected[:, -(last or length) :], atol=1e-5)


def test_draws_of_rows_differ_and_are_those_of_rows_in_chunks(bound):
    tokens = np.tile(np.random.default_rng(6).integers(0, VOCABULARY, (1, LENGTH + 1)), (3, 1))
    shuffled = Setting(shuffled=True)
    scores = in_calls(bound(4 * LENGTH)(shuffled), tokens, 32, None)
    assert min(np.abs(scores[i] - scores[j]).max() for i, j in ((0, 1), (1, 2), (0, 2))) > 1e-3
    in_chunks = in_calls(bound(4 * LENGTH, chunk=8)(shuffled), tokens, 32, None)
    np.testing.assert_allclose(in_chunks, scores, atol=1e-5)


MASKED = Mask(window=2, sinks=1)
FOLLOWS_LENGTH = Setting(RopeScaling("dynamic", 2.0, original_length=8), MASKED)


@pytest.mark.parametrize("setting", [Setting(mask=MASKED), FOLLOWS_LENGTH], ids=["", "dynamic"])
def test_under_a_window_the_last_targets_are_scored_without_what_they_cannot_reach(bound, setting):
    """At the positions, and under the scaling, of the whole row; whole rows too long for one pass
    are not cut into chunks then."""
    tokens = np.random.default_rng(7).integers(0, VOCABULARY, (ROWS, LENGTH + 1))
    for model in (bound(4 * LENGTH), bound(4 * LENGTH, chunk=8)):
        whole = in_calls(model(setting), tokens, 32, None)
        np.testing.assert_allclose(
            in_calls(model(setting), tokens, 32, 3), whole[:, -3:], atol=1e-5
        )


def test_equal_settings_give_the_same_scorer(params, inference):
    make = BoundModel(inference, params, PLAIN)
    assert make(Setting()) is make(Setting())
    assert make(Setting()) is not make(Setting(RopeScaling("linear", 2.0)))
