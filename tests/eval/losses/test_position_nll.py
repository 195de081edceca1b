import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lengthwise.data.store.splits import Split
from lengthwise.eval.inference.scorer import Method, Setting
from lengthwise.eval.losses.position_nll import position_bins, position_rows, score_positions
from lengthwise.eval.losses.results import RunIdentity
from lengthwise.eval.losses.targets import choose_targets
from tests.eval.planted import eval_config, skewed_documents

IDENTITY = RunIdentity("corpus", 1, 32, "rope")


def method(scorer):
    return Method("plain", lambda c: Setting(), lambda setting: scorer)


@given(st.integers(1, 5000))
def test_bins_tile_the_pass_and_split_at_every_power_of_two(length):
    bins = position_bins(length)
    covered = [n for fewest, most in bins for n in range(fewest, most + 1)]
    assert covered == list(range(1, length + 1))
    ends = {most for _, most in bins}
    assert ends == {2**k for k in range(14) if 2**k <= length} | {length}


def rows_of(scorer, targets, config):
    methods = [method(scorer)]
    scored = score_positions(methods, targets, config)
    return position_rows(scored, methods, identity=IDENTITY, config=config, role="result")


def test_each_bin_is_the_mean_over_its_own_targets():
    """A scorer whose nats are the number of preceding tokens; nats mean = mean of the bin."""
    config = eval_config(tokens_per_call=300)

    def preceding(tokens):
        assert tokens.shape[1] == 129
        return np.tile(np.arange(1.0, 129), (len(tokens), 1))

    targets = choose_targets(skewed_documents(64, 200), Split.REPORT, 128, config)
    rows = rows_of(preceding, targets, config)
    assert [(r.context_from, r.context) for r in rows] == position_bins(128)
    for row in rows:
        assert row.value == pytest.approx((row.context_from + row.context) / 2)
        assert row.n_targets == len(targets.documents_N) * (row.context - row.context_from + 1)


def test_a_step_at_l_train_shows_in_the_first_bin_beyond_and_not_before():
    """Position indices 0..31 are trained: 32 preceding tokens are the last ones in range."""
    config = eval_config()

    def breaks(tokens):
        nats = np.ones((len(tokens), tokens.shape[1] - 1))
        nats[:, 32:] = 3.0
        return nats

    targets = choose_targets(skewed_documents(64, 200), Split.REPORT, 128, config)
    rows = rows_of(breaks, targets, config)
    for row in rows:
        expected = 1.0 if row.context <= 32 else 3.0
        assert (row.value, row.low, row.high) == (expected,) * 3
    assert {r.context for r in rows if r.context <= 32} == {1, 2, 4, 8, 16, 32}


def test_intervals_come_from_documents_in_the_order_they_were_scored():
    """Documents score differently, ragged calls: value and interval are those of the means."""
    config = eval_config(tokens_per_call=5 * 128)
    targets = choose_targets(skewed_documents(64, 200), Split.REPORT, 128, config)

    def first_token(tokens):
        return np.repeat(tokens[:, :1].astype(float), tokens.shape[1] - 1, axis=1)

    rows = rows_of(first_token, targets, config)
    firsts = targets.openings(slice(None), 1)[:, 0]
    for row in rows:
        assert row.value == pytest.approx(firsts.mean())
        assert row.low < row.value < row.high
