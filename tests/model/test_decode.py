"""Greedy decoding against whole passes, sampling against the softmax."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chisquare

from lengthwise.model.attention.masks import Mask
from lengthwise.model.decode import Sampling, choose, decode, penalized
from lengthwise.model.positions.rope_scaling import UNSCALED
from lengthwise.model.transformer import position_tables
from tests.model.decoder_reference import CONFIG, changed, make_params
from tests.model.positions.schemes import decoder
from tests.model.test_cache import COUNTED, LENGTH, ROWS, TOKENS, empty, extended, whole_pass

LENGTHS = np.array([3, 13], np.int32)
GREEDY = Sampling(0.0, 0, 1.0)
MASK = Mask(chunk=7, sinks=2)


@functools.partial(jax.jit, static_argnums=0, static_argnames=("sampling", "count", "end"))
def decoded(config, params, cache, last, rows, seed, tables, seen, *, sampling, count, end):
    return decode(
        config,
        params,
        cache,
        last,
        LENGTHS,
        rows,
        seed,
        tables,
        seen_BV=seen,
        mask=MASK,
        sampling=sampling,
        max_tokens=count,
        end_of_text=end,
    )[0]


def written(config, tokens, sampling, end=-1, count=8, numbers=(0, 1), seed=0, seen=None):
    """What rows of LENGTHS go on with, behind a cache that holds all tokens: those that don't
    belong to a row must not matter."""
    params, tables = make_params(config), position_tables(config, UNSCALED, UNSCALED, LENGTH)
    cache = empty(config, COUNTED, tables, MASK)
    for first in (0, 12):
        part = tokens[:, first : first + 12]
        place = np.array([first], np.int32)
        _, cache = extended(config, params, part, cache, place, tables, MASK)
    last = tokens[np.arange(ROWS), LENGTHS - 1]
    rows = np.array(numbers, np.int32)
    return np.asarray(
        decoded(
            config,
            params,
            cache,
            last,
            rows,
            np.uint32(seed),
            tables,
            seen,
            sampling=sampling,
            count=count,
            end=end,
        )
    )


@pytest.mark.parametrize("case", ["rope", pytest.param("abacus + fire", marks=pytest.mark.slow)])
def test_greedy_tokens_are_the_likeliest_of_a_whole_pass_at_each_step(case):
    config = CONFIG if case == "rope" else decoder(case)
    found = written(config, TOKENS, GREEDY)
    tokens = TOKENS.copy()
    for row, length in enumerate(LENGTHS):
        tokens[row, length : length + 8] = found[row]
    tables = position_tables(config, UNSCALED, UNSCALED, LENGTH)
    logits = whole_pass(config, make_params(config), tokens, COUNTED[:, :LENGTH], tables, MASK)
    likeliest = np.asarray(logits).argmax(-1)
    for row, length in enumerate(LENGTHS):
        np.testing.assert_array_equal(found[row], likeliest[row, length - 1 : length + 7])
    assert len(np.unique(found)) > 2


def test_ids_without_a_token_are_never_generated():
    config = changed(CONFIG, vocab_rows=60)
    found = written(config, TOKENS, GREEDY)
    assert found.max() < config.vocab_size
    tokens = TOKENS.copy()
    tokens[1, 13 : 13 + 8] = found[1]
    tables = position_tables(config, UNSCALED, UNSCALED, LENGTH)
    logits = whole_pass(config, make_params(config), tokens, COUNTED[:, :LENGTH], tables, MASK)
    logits = np.asarray(logits)[1, 12:20]
    np.testing.assert_array_equal(found[1], logits[:, : config.vocab_size].argmax(-1))
    assert (logits.argmax(-1) >= config.vocab_size).any()  # or nothing was kept from it


def test_a_row_ends_with_the_end_of_text_and_others_go_on():
    free = written(CONFIG, TOKENS, GREEDY)
    end = int(free[0, 2])
    first = int(np.flatnonzero(free[0] == end)[0])
    found = written(CONFIG, TOKENS, GREEDY, end=end)
    np.testing.assert_array_equal(found[0, :first], free[0, :first])
    assert (found[0, first:] == end).all()
    stop = np.flatnonzero(free[1] == end)
    stop = int(stop[0]) if stop.size else 8
    np.testing.assert_array_equal(found[1, :stop], free[1, :stop])


def test_a_sample_goes_by_its_own_number_and_the_seed():
    sampling = Sampling(2.0, 0, 1.0)
    same = TOKENS[[1, 1]]
    lengths = written(CONFIG, same, sampling, numbers=(0, 7))
    again = written(CONFIG, TOKENS, sampling, numbers=(5, 7))
    np.testing.assert_array_equal(lengths[1], again[1])  # beside another row
    other = written(CONFIG, TOKENS, sampling, numbers=(5, 7), seed=1)
    assert (again[1] != other[1]).any()


LOGITS = np.array([1.0, -0.5, 2.0, 0.3, 0.3, -3.0, 1.9, 0.0], np.float32)


def shares(sampling):
    """The probabilities by their definition, one token after the other."""
    p = np.exp(LOGITS.astype(np.float64) / sampling.temperature)
    order = sorted(range(len(p)), key=lambda i: (-p[i], i))
    order = order[: sampling.top_k or None]
    p = {i: p[i] / sum(p[j] for j in order) for i in order}
    kept, total = [], 0.0
    for i in order:
        if total >= sampling.top_p:
            break
        kept.append(i)
        total += p[i]
    kept = [i for i in kept if p[i] >= sampling.min_p * p[order[0]]]
    total = sum(p[i] for i in kept)
    return np.array([p[i] / total if i in kept else 0.0 for i in range(len(LOGITS))])


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(1.0, 0, 1.0),
        Sampling(0.5, 0, 1.0),
        Sampling(1.0, 4, 1.0),
        Sampling(1.0, 0, 0.7),
        Sampling(2.0, 6, 0.8),
        Sampling(1.0, 0, 1.0, min_p=0.2),
        Sampling(2.0, 0, 0.95, min_p=0.45),
    ],
    ids=str,
)
def test_sampled_frequencies_are_those_of_the_softmax(sampling):
    count = 20_000
    keys = jax.random.split(jax.random.key(0), count)
    logits = jnp.broadcast_to(LOGITS[None], (count, len(LOGITS)))
    counts = np.bincount(choose(logits, keys, sampling), minlength=len(LOGITS))
    expected = count * shares(sampling)
    assert (counts[expected == 0] == 0).all()
    assert chisquare(counts[expected > 0], expected[expected > 0]).pvalue > 1e-3


def test_the_likeliest_token_is_always_kept():
    keys = jax.random.split(jax.random.key(0), 50)
    logits = jnp.broadcast_to(LOGITS[None], (50, len(LOGITS)))
    for sampling in (Sampling(1.0, 0, 1e-9), Sampling(1.0, 1, 1.0), GREEDY):
        assert (choose(logits, keys, sampling) == 2).all()


def test_the_repetition_penalty_is_that_of_ctrl():
    logits = np.array([[2.0, -2.0, 1.0, -1.0]], np.float32)
    seen = np.array([[True, True, False, False]])
    np.testing.assert_allclose(penalized(logits, seen, 2.0), [[1.0, -4.0, 1.0, -1.0]])


def test_tokens_under_a_huge_penalty_never_come_again():
    sampling = Sampling(0.0, 0, 1.0, repetition_penalty=1e6)
    seen = np.zeros((ROWS, CONFIG.vocab_size), np.bool_)
    for row, length in enumerate(LENGTHS):
        seen[row, TOKENS[row, :length]] = True
    found = written(CONFIG, TOKENS, sampling, seen=seen)
    for row, length in enumerate(LENGTHS):
        tokens = [*TOKENS[row, :length], *found[row]]
        assert len(set(found[row])) == 8
        assert not set(found[row]) & set(tokens[:length])
