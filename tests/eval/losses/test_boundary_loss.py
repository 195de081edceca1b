"""What a document boundary costs: zero for a model that looks at its own document alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lengthwise.data.store.splits import Split
from lengthwise.eval.losses.boundary_loss import boundary_rows, pack_documents
from lengthwise.eval.losses.results import (
    BOUNDARY_GAP,
    BOUNDARY_NLL,
    Results,
    RunIdentity,
    load_results,
    save_results,
)
from tests.eval.planted import VOCAB, CountingScorer, Documents, eval_config

L_TRAIN = 64
IDENTITY = RunIdentity("corpus-1", 10, L_TRAIN, "rope")


def documents(lengths, seed=0):
    """Documents with odds of their own, in both splits by turns."""
    rng = np.random.default_rng(seed)
    texts = [rng.choice(VOCAB, size=n, p=rng.dirichlet(np.full(VOCAB, 0.3))) for n in lengths]
    splits = [Split.SELECTION if i % 3 == 2 else Split.REPORT for i in range(len(texts))]
    return Documents(texts, splits, list(range(len(texts))))


@settings(max_examples=60)
@given(
    lengths=st.lists(st.integers(1, 200), min_size=1, max_size=40),
    l_train=st.sampled_from([1, 8, 32]),
    most=st.integers(1, 30),
)
def test_rows_hold_the_ends_of_documents_each_once(lengths, l_train, most):
    source = documents(lengths)
    packed = pack_documents(source, l_train, eval_config(documents=most))
    assert packed.tokens.shape[1] == packed.segments.shape[1] == l_train + 1
    assert len(np.unique(packed.documents_D)) == len(packed.documents_D) <= most
    assert set(source.document_splits[packed.documents_D]) <= {Split.REPORT}
    for place, document in enumerate(packed.documents_D):
        row, first, size = packed.row_D[place], packed.first_D[place], packed.tokens_D[place]
        end = source.document_offsets[document + 1]
        length = lengths[document]
        assert size == (length if length <= l_train else (length - 1) % l_train + 1) > 1
        piece = slice(first, first + size)
        np.testing.assert_array_equal(packed.tokens[row, piece], source.tokens[end - size : end])
        assert len(set(packed.segments[row, piece])) == 1
        assert packed.segments[row, first - 1] == packed.segments[row, first] - 1  # a boundary
        if first + size <= l_train:
            assert packed.segments[row, first + size] == packed.segments[row, first] + 1


def bigram(tokens):
    """Looks at the token before alone."""
    return ((7 * tokens[:, :-1] + tokens[:, 1:]) % 11 / 5).astype(np.float32)


def counting_within(tokens, segments, first_row=0):
    """Counts the tokens of each segment by itself."""
    nats = np.zeros((tokens.shape[0], tokens.shape[1] - 1), np.float32)
    for row in range(tokens.shape[0]):
        for segment in np.unique(segments[row]):
            (inside,) = np.nonzero(segments[row] == segment)
            if inside.size > 1:
                alone = CountingScorer(memory=1000)(tokens[row, inside][None])[0]
                nats[row, inside[:-1]] = alone
    return nats


@pytest.fixture(scope="module")
def source():
    return documents(np.random.default_rng(3).integers(5, 60, 400).tolist())


def scored(source, naive, masked, **changes):
    config = eval_config(**{"documents": 200, "min_documents": 20, **changes})
    return boundary_rows(source, naive, masked, IDENTITY, config)


def gaps(rows):
    return {(r.context_from, r.context): r for r in rows if r.metric == BOUNDARY_GAP}


def test_a_model_that_uses_its_own_document_alone_shows_no_difference(source):
    rows, left_out = scored(source, bigram, lambda tokens, segments, first_row: bigram(tokens))
    assert left_out == ()
    for row in gaps(rows).values():
        assert row.value == pytest.approx(0, abs=1e-12)
        assert row.high - row.low == pytest.approx(0, abs=1e-12)


def test_a_model_that_reads_across_documents_shows_it_near_the_boundary(source):
    rows, _ = scored(source, CountingScorer(memory=1000), counting_within)
    found = gaps(rows)
    assert list(found)[:5] == [(1, 1), (2, 2), (3, 4), (5, 8), (9, 16)]
    assert found[9, 16].low > 0.05
    assert found[9, 16].value > found[17, 32].value > 0
    # Over all: the means of the bins, weighed by their targets.
    everything = found[1, L_TRAIN]
    bins = [row for key, row in found.items() if key != (1, L_TRAIN)]
    assert everything.n_targets >= sum(row.n_targets for row in bins)
    for key, gap in found.items():
        named = {
            r.method: r.value
            for r in rows
            if r.metric == BOUNDARY_NLL and (r.context_from, r.context) == key
        }
        assert gap.value == pytest.approx(named["naive"] - named["masked"])


def test_the_means_are_those_of_the_targets_behind_boundaries(source):
    config = eval_config(documents=200, min_documents=2)
    rows, _ = boundary_rows(source, CountingScorer(1000), counting_within, IDENTITY, config)
    packed = pack_documents(source, L_TRAIN, config)
    nats = CountingScorer(1000)(packed.tokens)
    for fewest, most in ((1, 1), (3, 4), (1, L_TRAIN)):
        values = [
            nats[row, first + distance - 1]
            for row, first, size in zip(packed.row_D, packed.first_D, packed.tokens_D, strict=True)
            for distance in range(fewest, min(most, size - 1) + 1)
        ]
        (row,) = (
            r
            for r in rows
            if r.metric == BOUNDARY_NLL
            and r.method == "naive"
            and (r.context_from, r.context) == (fewest, most)
        )
        assert row.n_targets == len(values)
        assert row.value == pytest.approx(np.mean(values, dtype=np.float64))


def test_too_few_documents_are_said_and_bins_with_too_few_left_out(source, tmp_path):
    rows, (reason,) = scored(source, bigram, counting_within, documents=12)
    assert rows == []
    assert "stand behind another one in rows of 64 tokens" in reason
    rows, _ = scored(source, CountingScorer(1000), counting_within, min_documents=60)
    assert (9, 16) in gaps(rows)
    assert (33, 64) not in gaps(rows)
    assert all(row.n_clusters >= 60 for row in rows)
    results = Results(tuple(rows), {}, ("a reason",))
    save_results(results, tmp_path / "results.json")
    assert load_results(tmp_path / "results.json") == results
