import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lengthwise.eval.statistics.bootstrap import ClusterBootstrap


def brute_force_ratio(clusters, sums, counts, *, samples, confidence, seed):
    """The same interval by plain resampling of cluster ids, one resample at a time."""
    rng = np.random.default_rng(seed)
    names = np.unique(clusters)
    ratios = []
    for _ in range(samples):
        drawn = rng.choice(names, size=len(names))
        s = sum(sums[clusters == name].sum() for name in drawn)
        c = sum(counts[clusters == name].sum() for name in drawn)
        ratios.append(s / c)
    tail = (1 - confidence) / 2
    return np.quantile(ratios, [tail, 1 - tail])


def test_interval_matches_brute_force_resampling_of_clusters():
    rng = np.random.default_rng(1)
    clusters = rng.integers(100, 125, size=60)
    counts = rng.integers(1, 200, size=60)
    sums = counts * rng.normal(2.0, 0.5, size=60)
    bootstrap = ClusterBootstrap(clusters, samples=8000, confidence=0.9, seed=3)
    estimate = bootstrap.ratio(sums, counts)
    low, high = brute_force_ratio(clusters, sums, counts, samples=8000, confidence=0.9, seed=4)
    width = high - low
    assert estimate.value == pytest.approx(sums.sum() / counts.sum(), rel=1e-12)
    assert estimate.low == pytest.approx(low, abs=0.05 * width)
    assert estimate.high == pytest.approx(high, abs=0.05 * width)


def test_near_duplicates_widen_the_interval():
    """20 documents copied 5 times are 20 observations, not 100."""
    values = np.repeat(np.random.default_rng(0).normal(size=20), 5)
    ones = np.ones(100)
    settings = {"samples": 4000, "confidence": 0.95, "seed": 0}
    clustered = ClusterBootstrap(np.repeat(np.arange(20), 5), **settings).ratio(values, ones)
    naive = ClusterBootstrap(np.arange(100), **settings).ratio(values, ones)
    widening = (clustered.high - clustered.low) / (naive.high - naive.low)
    assert widening == pytest.approx(np.sqrt(5), rel=0.1)


def test_interval_covers_the_truth_about_as_often_as_it_says():
    """Clusters of random size whose mean is correlated with nothing: coverage of 95 %."""
    rng = np.random.default_rng(7)
    covered = 0
    for trial in range(300):
        counts = rng.integers(10, 100, size=40)
        sums = counts * rng.normal(1.5, 1.0, size=40)
        estimate = ClusterBootstrap(np.arange(40), samples=400, confidence=0.95, seed=trial).ratio(
            sums, counts
        )
        covered += estimate.low <= 1.5 <= estimate.high
    assert 0.89 <= covered / 300 <= 0.98


@given(
    shift=st.floats(-3, 3),
    sums=st.lists(st.floats(-10, 10), min_size=2, max_size=20),
    seed=st.integers(0, 5),
)
def test_a_shift_per_token_shifts_value_and_interval_alike(shift, sums, seed):
    """Holds only when each resample is a ratio of sums with the matching counts."""
    counts = np.arange(1, len(sums) + 1)
    bootstrap = ClusterBootstrap(np.arange(len(sums)), samples=50, confidence=0.8, seed=seed)
    plain = bootstrap.ratio(np.array(sums), counts)
    moved = bootstrap.ratio(np.array(sums) + shift * counts, counts)
    for name in ("value", "low", "high"):
        assert getattr(moved, name) == pytest.approx(getattr(plain, name) + shift, abs=1e-9)


def test_same_seed_same_interval_and_a_bad_input_is_refused():
    arguments = {"samples": 100, "confidence": 0.95}
    sums, counts = np.arange(5.0), np.ones(5)
    first = ClusterBootstrap(np.arange(5), seed=1, **arguments).ratio(sums, counts)
    again = ClusterBootstrap(np.arange(5), seed=1, **arguments).ratio(sums, counts)
    other = ClusterBootstrap(np.arange(5), seed=2, **arguments).ratio(sums, counts)
    assert first == again != other
    with pytest.raises(ValueError, match="at least 2"):
        ClusterBootstrap(np.zeros(5), seed=1, **arguments)
    with pytest.raises(ValueError, match="no targets"):
        ClusterBootstrap(np.arange(5), seed=1, **arguments).ratio(sums, np.array([1, 1, 0, 1, 1]))
