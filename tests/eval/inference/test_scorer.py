"""Rows scored in calls of so many tokens."""

import numpy as np
import pytest

from lengthwise.eval.inference.scorer import batched_scores, row_batches, token_bar


@pytest.mark.parametrize("tokens_per_call", [1, 8, 24, 1000])
def test_every_row_is_scored_once_in_order_in_calls_of_so_many_tokens(tokens_per_call):
    rows, length = np.arange(7.0)[:, None] * np.ones(3), 8
    calls = []

    def score_rows(some):
        calls.append(some)
        return rows[some]

    with token_bar(rows.shape[0] * length, "scoring") as progress:
        found = batched_scores(score_rows, len(rows), length, tokens_per_call, progress)
        assert progress.n == 7 * length
    np.testing.assert_array_equal(found, rows)
    sizes = [some.stop - some.start for some in calls]
    assert all(size * length <= max(tokens_per_call, length) for size in sizes)
    assert calls == row_batches(7, length, tokens_per_call)
    assert len(calls) == -(-7 // max(1, tokens_per_call // length))
