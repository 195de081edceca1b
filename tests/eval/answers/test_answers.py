"""Scores of answers: against counting by hand, greedy decoding, and the model on single rows."""

import functools
import hashlib
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lengthwise.data.tasks.samples import SampleBatch, TaskSamples
from lengthwise.data.tasks.sequences import rows_of
from lengthwise.data.tasks.symbols import END
from lengthwise.eval.answers.next_tokens import NextTokenScorer, TokenRows
from lengthwise.eval.answers.score import Hits, by_row_length, decoded, score_answers
from lengthwise.eval.answers.summary import summarize
from lengthwise.eval.inference.inference import Batching, Inference
from lengthwise.eval.inference.programs import Architecture
from lengthwise.model import transformer
from lengthwise.model.config import ModelConfig
from lengthwise.model.positions.rope_scaling import UNSCALED
from lengthwise.model.spec import ModelSpec
from tests.data.tasks.test_formats import task_config
from tests.eval.inference.test_model_scorer import SETTINGS, data_sharding
from tests.model.positions.schemes import position_settings

SAMPLES = TaskSamples(task_config("reverse", lengths=(1, 40)))


def documents(length: int, count: int = 30) -> SampleBatch:
    return SAMPLES.scored("report", length, np.arange(count))


class Fallible:
    """Mostly goes on as the sample it began like does; else with what a hash of its prefix says."""

    def __init__(self, batches: list[SampleBatch], mistakes: float):
        self.mistakes = mistakes
        self.answers = {}
        for batch in batches:
            for row, size in zip(rows_of(batch.tokens), batch.prompt.tolist(), strict=True):
                self.answers[tuple(row[:size])] = row

    def __call__(self, rows: TokenRows) -> np.ndarray:
        tokens = rows.tokens
        out = np.full(tokens.shape, -7)
        for number, row in enumerate(tokens.tolist()):
            known = next(
                (
                    self.answers[tuple(row[:n])]
                    for n in range(1, len(row) + 1)
                    if tuple(row[:n]) in self.answers
                ),
                None,
            )
            for place in range(len(row)):
                digest = hashlib.blake2b(repr(row[: place + 1]).encode(), digest_size=8).digest()
                draw = int.from_bytes(digest, "little") / 2**64
                right = known is not None and place + 1 < len(known) and draw > self.mistakes
                out[number, place] = known[place + 1] if right else int(draw * 1e6) % 50
        return out


def test_a_model_that_knows_all_is_right_and_one_that_errs_is_counted():
    batches = {n: documents(n) for n in (3, 9, 17)}
    perfect = Fallible(list(batches.values()), 0.0)
    for hits in score_answers(batches, perfect):
        assert hits.exact_N.all()
        np.testing.assert_array_equal(hits.tokens_N, hits.length + 1)  # the end is asked for too

    def errs(rows: TokenRows) -> np.ndarray:
        found = perfect(rows)
        found[:, 7] += 1  # behind the 8th token, of which only some samples ask
        return found

    short, middle, long = score_answers(batches, errs)
    # Length 3: answer behind token 4 to 7; 9: 10 to 19; 17: 18 to 35.
    np.testing.assert_array_equal(short.hits_N, 4)
    assert middle.exact_N.all()
    assert long.exact_N.all()
    errs_at_5 = lambda rows: np.where(np.arange(rows.tokens.shape[1]) == 5, -9, perfect(rows))
    short, middle, _ = score_answers(batches, errs_at_5)
    np.testing.assert_array_equal(short.hits_N, 3)
    assert not short.exact_N.any()
    assert middle.exact_N.all()


def test_rows_of_a_power_of_two_share_a_pass():
    assert by_row_length({n: documents(n, 2) for n in (2, 3, 7, 8)}) == {
        8: [2, 3],
        16: [7],
        32: [8],
    }


@pytest.mark.parametrize("mistakes", [0.0, 0.03, 0.2])
def test_exact_match_under_teacher_forcing_is_that_of_greedy_decoding(mistakes: float):
    batch = documents(12, 80)
    model = Fallible([batch], mistakes)
    (hits,) = score_answers({12: batch}, model)
    np.testing.assert_array_equal(decoded(batch, model), hits.exact_N)
    wanted = 0.97**13 if mistakes == 0.03 else 0.8**13 if mistakes else 1.0
    assert hits.exact_N.mean() == pytest.approx(wanted, abs=0.17)


def test_an_answer_that_goes_on_or_stops_early_is_wrong():
    batch = documents(4, 3)
    perfect = Fallible([batch], 0.0)

    def never_ends(rows: TokenRows) -> np.ndarray:
        found = perfect(rows)
        return np.where(found == END, 5, found)

    def ends_at_once(rows: TokenRows) -> np.ndarray:
        return np.full(rows.tokens.shape, END)

    for model in (never_ends, ends_at_once):
        assert not decoded(batch, model).any()
        assert not score_answers({4: batch}, model)[0].exact_N.any()


def programs_of(scheme: str, tokens_per_call: int, **positions: int):
    """(model, parameters, programs) of an untrained model."""
    settings = ModelConfig(
        **{
            **vars(SETTINGS),
            "positions": position_settings(scheme=scheme, **positions),
            "attention": "auto",
        }
    )
    model = ModelSpec.of(settings, len(SAMPLES.symbols), "cpu")
    params = transformer.init_params(model, 0)
    everywhere = jax.sharding.NamedSharding(data_sharding(4, 16).mesh, jax.sharding.PartitionSpec())
    abstract = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=everywhere), params
    )
    architecture = Architecture(model, abstract, data_sharding)
    inference = Inference(architecture, Batching(tokens_per_call, seed=0, pad=END))
    return model, params, NextTokenScorer(inference)


def test_drawn_positions_are_a_rows_own_whatever_is_filled_up_behind_it():
    _, params, programs = programs_of("sinusoidal", 256, randomized=64)
    next_tokens = programs.bind(params, UNSCALED)
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 9, (6, 4))
    sizes, numbers = np.full(6, 4), np.arange(6)
    found = next_tokens(TokenRows(tokens, sizes, numbers))
    wide = np.pad(tokens, ((0, 0), (0, 8)), constant_values=-1)
    np.testing.assert_array_equal(next_tokens(TokenRows(wide, sizes, numbers))[:, :4], found)
    # As far as it is decoded, and the same rows in other places.
    begun = np.where(np.arange(4) < 3, tokens, -1)
    np.testing.assert_array_equal(
        next_tokens(TokenRows(begun, sizes, numbers))[:, :3], found[:, :3]
    )
    turned = TokenRows(tokens[::-1], sizes, numbers[::-1])
    np.testing.assert_array_equal(next_tokens(turned)[::-1], found)
    # Other samples have other draws.
    same = np.broadcast_to(tokens[0], (64, 4))
    drawn = next_tokens(TokenRows(same, np.full(64, 4), np.arange(64)))
    assert len(np.unique(drawn, axis=0)) > 1


@pytest.mark.parametrize(("scheme", "tokens_per_call"), [("rope", 64), ("alibi", 4096)])
def test_rows_are_scored_as_the_model_computes_them_alone(scheme: str, tokens_per_call: int):
    plain, params, programs = programs_of(scheme, tokens_per_call)
    next_tokens = programs.bind(params, UNSCALED)
    batch = documents(11, 7)
    found = next_tokens(TokenRows(batch.tokens, np.full(7, batch.tokens.shape[1]), np.arange(7)))
    apply = functools.partial(transformer.apply, plain, params)
    for row, got in zip(rows_of(batch.tokens), found, strict=True):
        logits = apply(
            jnp.array([row]),
            positions_BL=jnp.arange(len(row))[None],
            segment_ids_BL=None,
            tables=transformer.position_tables(plain, UNSCALED, UNSCALED, len(row)),
            mask=transformer.Mask(),
            key=None,
        )
        np.testing.assert_array_equal(got[: len(row)], np.argmax(logits[0], axis=-1))


def wilson(right: int, count: int, z: float) -> tuple[float, float]:
    share, spread = right / count, z * z / count
    middle = share + spread / 2
    half = z * math.sqrt(share * (1 - share) / count + spread / count / 4)
    return (middle - half) / (1 + spread), (middle + half) / (1 + spread)


def hits(length: int, right: int, count: int = 50) -> Hits:
    tokens_N = np.full(count, 10)
    return Hits(length, np.where(np.arange(count) < right, 10, 5), tokens_N)


def summary(*of: Hits, trained: tuple[int, int] = (1, 4)):
    settings = {"threshold": 0.85, "confidence": 0.95, "bootstrap_samples": 500, "seed": 0}
    return summarize(of, trained, [0.0] * len(of), **settings)


def test_accuracies_have_wilson_and_bootstrap_intervals():
    one, two = summary(hits(2, 50), hits(8, 20)).scores
    assert (one.exact.value, one.token.value, one.in_range) == (1.0, 1.0, True)
    assert (two.exact.value, two.token.value, two.in_range) == (0.4, 0.7, False)
    assert (two.exact.low, two.exact.high) == pytest.approx(wilson(20, 50, 1.959964), rel=1e-6)
    assert (one.exact.low, one.exact.high) == pytest.approx(wilson(50, 50, 1.959964), rel=1e-6)
    # All tokens right in 50 samples: about as sure as Wilson's, not certain.
    assert 0.9 < one.token.low < 0.99
    # Tokens of a sample are right or half right together: a spread of 0.25 of single samples.
    assert two.token.low == pytest.approx(0.7 - 1.96 * 0.5 * math.sqrt(0.24 / 50), abs=0.02)


def test_accuracy_falls_at_the_first_length_below_the_threshold():
    answers = summary(hits(2, 50), hits(4, 43), hits(5, 42), hits(8, 50))
    assert answers.falls_at == 5
    assert "falls under 0.85 at length 5" in answers.table()
    assert answers.mean_exact(True) == pytest.approx(0.93)
    assert answers.mean_exact(False) == pytest.approx(0.92)
    holding = summary(hits(2, 50), hits(4, 43))
    assert holding.falls_at is None
    assert holding.mean_exact(False) is None
    assert "0.85 or more at all tested lengths" in holding.table()
