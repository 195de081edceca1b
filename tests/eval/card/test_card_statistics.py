"""The statistics of the card against closed forms, brute force and planted models."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lengthwise.eval.card.contestants import Contestant
from lengthwise.eval.card.judgement import judge
from lengthwise.eval.card.lengths import (
    ABSOLUTE,
    Crossing,
    CrossingPoint,
    absolute_length,
    crossing,
    relative_length,
    safe_length,
    useful_length,
)
from lengthwise.eval.card.shape import areas, sudden_drops
from lengthwise.eval.inference.scorer import Setting
from lengthwise.eval.losses.evaluate import evaluate
from lengthwise.eval.losses.results import RunIdentity
from lengthwise.eval.statistics.bootstrap import ClusterBootstrap, Resamples, over_seeds
from lengthwise.eval.statistics.reach import reach
from lengthwise.eval.statistics.resampling import chance_corrected, resample
from tests.eval.planted import CountingScorer, eval_config, skewed_documents
from tests.eval.report.synthetic_card import evaluation, task_curve

SETTINGS = {"samples": 800, "confidence": 0.95, "seed": 0}
LENGTHS = (64, 128, 256, 512, 1024)


def fixed(values, half_width=0.0):
    """Resamples whose intervals are value +- half_width."""
    value_K = np.asarray(values, np.float64)
    draws_SK = value_K + np.repeat([-half_width, half_width], 50)[:, None]
    return Resamples(value_K, draws_SK, 0.95)


# ---- several seeds


def test_seeds_alone_give_the_interval_of_student():
    """Documents that all agree leave the closed form: mean +- t s / sqrt(R)."""
    for values in ([1.0, 1.3, 1.1], [0.2, 0.9, 0.4, 0.6, 0.5]):
        runs = [Resamples(np.array([v]), np.full((60_000, 1), v), 0.95) for v in values]
        (found,) = over_seeds(runs, seed=1).estimates()
        expected = stats.t.interval(
            0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values)
        )
        assert found.value == pytest.approx(np.mean(values))
        assert (found.low, found.high) == pytest.approx(expected, rel=0.03)


def test_what_is_hard_about_the_documents_does_not_average_out_over_seeds():
    """Seeds that do exactly alike know no more than one: documents are shared."""
    scores_N = np.random.default_rng(0).normal(size=50)
    bootstrap = ClusterBootstrap(np.arange(50), **SETTINGS)
    run = bootstrap.ratios(scores_N[:, None], np.ones((50, 1)))
    (three,), (one,) = over_seeds([run, run, run], seed=0).estimates(), run.estimates()
    assert (three.low, three.high) == pytest.approx((one.low, one.high))
    assert over_seeds([run], seed=0) is run


def seed_coverage(trials, seeds, rng):
    """Share of trials whose interval holds the mean over all seeds and documents, which is 0."""
    covered = 0
    for trial in range(trials):
        document_N = rng.normal(0, 0.3, 40)
        runs = []
        for _ in range(seeds):
            score_N = document_N + rng.normal(0, 0.1) + rng.normal(0, 0.05, 40)
            bootstrap = ClusterBootstrap(np.arange(40), samples=300, confidence=0.95, seed=trial)
            runs.append(bootstrap.ratios(score_N[:, None], np.ones((40, 1))))
        (found,) = over_seeds(runs, seed=trial).estimates()
        covered += found.low <= 0 <= found.high
    return covered / trials


def test_several_seeds_cover_the_truth_as_often_as_they_say():
    assert 0.90 <= seed_coverage(200, 3, np.random.default_rng(0)) <= 0.995


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_several_seeds_cover_the_truth_at_full_size(seeds):
    assert 0.92 <= seed_coverage(1500, seeds, np.random.default_rng(seeds)) <= 0.995


# ---- shares


def test_a_score_without_a_miss_still_has_an_interval():
    """Near that of Clopper and Pearson, where the plain bootstrap has none."""
    for prompts in (20, 40, 200):
        curve = task_curve("passkey", (1.0,), prompts=prompts, lengths=(64,))
        (found,) = resample([curve], **SETTINGS).estimates()
        exact = stats.binomtest(prompts, prompts).proportion_ci(0.95).low
        assert found.value == 1.0
        assert exact - 0.02 <= found.low <= exact + 0.05


def share_coverage(share, prompts, trials):
    covered = 0
    for trial in range(trials):
        curve = task_curve("passkey", (share,), prompts=prompts, lengths=(64,), seed=trial)
        (found,) = resample([curve], samples=300, confidence=0.95, seed=trial).estimates()
        covered += found.low <= share <= found.high
    return covered / trials


@pytest.mark.parametrize("share", [0.5, 0.95])
def test_shares_are_covered_as_often_as_they_say(share):
    assert share_coverage(share, 40, 300) >= 0.92


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.05, 0.25, 0.5, 0.856, 0.95, 0.99])
@pytest.mark.parametrize("prompts", [20, 40, 100])
def test_shares_are_covered_at_full_size(share, prompts):
    assert share_coverage(share, prompts, 1500) >= 0.925


def test_chance_is_corrected_length_by_length():
    chances = np.array([0.25, 0.5])
    curve = task_curve("passkey", (0.625, 0.75), prompts=4000, lengths=(64, 128))
    curve = dataclasses.replace(curve, chance_K=chances)
    scores = resample([curve], **SETTINGS)
    corrected = chance_corrected(curve, scores)
    assert corrected.value_K == pytest.approx((scores.value_K - chances) / (1 - chances))
    assert corrected.value_K == pytest.approx([0.5, 0.5], abs=0.04)
    with pytest.raises(ValueError, match="no chance"):
        chance_corrected(dataclasses.replace(curve, chance_K=None, best=None), scores)


# ---- effective lengths


@given(st.lists(st.booleans(), min_size=1, max_size=8))
def test_a_reach_is_the_longest_length_below_which_nothing_fails(holds):
    lengths = [2**k for k in range(5, 5 + len(holds))]
    found = reach(lengths, holds)
    good = [n for k, n in enumerate(lengths) if all(holds[: k + 1])]
    assert found.tokens == (max(good) if good else None)
    assert found.censored == ("below" if not good else "above" if all(holds) else "")
    assert found.over(32) == (max(good) / 32 if good else None)


def test_absolute_and_relative_lengths_go_by_lower_bounds():
    sure = fixed([1.0, 0.9, 0.88, 0.8, 0.9], 0.01)
    assert absolute_length(LENGTHS, sure).tokens == 256  # 0.88 - 0.01 >= 0.856, then 0.8
    assert absolute_length(LENGTHS, fixed([1.0, 0.9, 0.86, 0.8, 0.9], 0.01)).tokens == 128
    assert absolute_length(LENGTHS, fixed([0.5] * 5)).censored == "below"
    assert absolute_length(LENGTHS, fixed([1.0] * 5)).censored == "above"
    # Relative to 0.6: 0.85 x 0.6 = 0.51. In pairs: both ends move together.
    assert relative_length(LENGTHS, fixed([0.6, 0.55, 0.52, 0.4, 0.6], 0.01)).tokens == 256
    assert relative_length(LENGTHS, fixed([0.05] * 5, 0.06)).censored == "below"  # at chance
    assert relative_length(LENGTHS, fixed([0.0] * 5)).censored == "below"  # nothing to keep


@given(
    st.lists(st.floats(-0.2, 1), min_size=2, max_size=5),
    st.floats(0, 0.2),
    st.integers(0, 4),
    st.floats(0, 0.3),
)
def test_a_better_score_never_shortens_the_absolute_length(values, width, place, gain):
    lengths = LENGTHS[: len(values)]
    before = absolute_length(lengths, fixed(values, width))
    values[place % len(values)] += gain
    assert (absolute_length(lengths, fixed(values, width)).tokens or 0) >= (before.tokens or 0)


def test_a_model_that_forgets_beyond_w_has_the_effective_length_w():
    for k, window in enumerate(LENGTHS):
        odds = [1.0 if length <= window else 0.25 for length in LENGTHS]
        curve = task_curve("passkey", odds, prompts=60)
        corrected = chance_corrected(curve, resample([curve], **SETTINGS))
        for found in (absolute_length(LENGTHS, corrected), relative_length(LENGTHS, corrected)):
            assert found.tokens == window
            assert found.censored == ("above" if k == 4 else "")
        fit = crossing(LENGTHS, corrected, ABSOLUTE)
        if k == 4:
            assert fit.value.censored == "above"
        else:  # between the last length that is remembered and the first that is not
            ends = [end.tokens for end in (fit.low, fit.value, fit.high)]
            assert [window, *ends, LENGTHS[k + 1]] == sorted([window, *ends, LENGTHS[k + 1]])


# ---- the monotone fit


def pooled(values):
    """Pool adjacent violators, written out: non-increasing least squares."""
    blocks = []
    for value in values:
        blocks.append([value, 1])
        while len(blocks) > 1 and blocks[-2][0] < blocks[-1][0]:
            (a, n), (b, m) = blocks[-2:]
            blocks[-2:] = [[(a * n + b * m) / (n + m), n + m]]
    return [mean for mean, count in blocks for _ in range(count)]


def crossed(lengths, values, threshold):
    """First place where the pooled curve falls below the threshold, by a fine walk."""
    fit = pooled(values)
    if fit[0] < threshold:
        return None
    grid = np.linspace(np.log2(lengths[0]), np.log2(lengths[-1]), 200_001)
    on_grid = np.interp(grid, np.log2(lengths), fit)
    below = np.flatnonzero(on_grid < threshold)
    return 2 ** grid[below[0]] if below.size else np.inf


@given(st.lists(st.integers(0, 40), min_size=2, max_size=5), st.floats(0.05, 0.95))
def test_the_crossing_is_that_of_a_walk_along_the_pooled_curve(counts, threshold):
    values = [count / 40 for count in counts]
    lengths = LENGTHS[: len(values)]
    found = crossing(lengths, fixed(values), threshold)
    expected = crossed(lengths, values, threshold)
    if expected is None:
        assert found.value == CrossingPoint(None, "below")
    elif expected == np.inf:
        assert found.value == CrossingPoint(None, "above")
    else:
        assert found.value.tokens == pytest.approx(expected, rel=1e-3)


def test_what_stays_on_the_threshold_has_not_fallen_below_it():
    assert crossing(LENGTHS, fixed([0.9, 0.5, 0.5, 0.2, 0.1]), 0.5).value.tokens == pytest.approx(
        256
    )


def test_each_end_of_the_interval_says_on_which_side_of_the_tested_lengths_it_lies():
    below, above = CrossingPoint(None, "below"), CrossingPoint(None, "above")
    assert crossing(LENGTHS, fixed([0.1] * 5), 0.5) == Crossing(below, below, below)
    assert crossing(LENGTHS, fixed([0.9] * 5), 0.5) == Crossing(above, above, above)
    one_in_ten_fails = np.repeat([[0.1] * 5, [0.9] * 5], [10, 90], axis=0)
    unsure = Resamples(np.full(5, 0.9), one_in_ten_fails, 0.95)
    assert crossing(LENGTHS, unsure, 0.5) == Crossing(above, below, above)


def crossing_coverage(trials, prompts):
    """How often the interval holds 2^8, where a curve that falls in log2 length crosses 0.6."""
    covered = 0
    odds = 0.6 - 0.15 * (np.log2(LENGTHS) - 8.0)
    for trial in range(trials):
        curve = task_curve("passkey", odds, prompts=prompts, seed=trial)
        scores = resample([curve], samples=200, confidence=0.95, seed=trial)
        found = crossing(LENGTHS, scores, 0.6)
        low = found.low.censored == "below" or (found.low.tokens or np.inf) <= 256
        high = found.high.censored == "above" or (found.high.tokens or 0) >= 256
        covered += low and high
    return covered / trials


@pytest.mark.slow
def test_the_crossing_is_covered_as_often_as_it_says():
    assert 0.92 <= crossing_coverage(400, 100) <= 0.995


# ---- areas and drops


@given(
    st.lists(st.floats(0.1, 1), min_size=5, max_size=5),
    st.sampled_from([64, 100, 128, 300, 512, 1024]),
)
def test_areas_are_those_of_a_fine_sum(values, l_train):
    found = areas(LENGTHS, l_train, fixed(values))
    log2 = np.log2(LENGTHS)
    for area, start, end in (
        (found.within, log2[0], np.log2(l_train)),
        (found.beyond, np.log2(l_train), log2[-1]),
    ):
        if end == start:
            assert area is None
            continue
        grid = np.linspace(start, end, 40_001)
        expected = np.trapezoid(np.interp(grid, log2, values), grid) / (end - start)
        assert area.value == pytest.approx(expected, abs=1e-6)
    if found.within and found.beyond:
        assert found.retention.value == pytest.approx(found.beyond.value / found.within.value)
    else:
        assert found.retention is None


def test_retention_needs_something_to_retain():
    at_chance = areas(LENGTHS, 128, fixed([0.01, 0.0, 0.5, 0.5, 0.5], 0.05))
    assert at_chance.retention is None
    assert areas(LENGTHS, 2048, fixed([1.0] * 5)).beyond is None
    assert areas(LENGTHS, 32, fixed([1.0] * 5)).within is None


def test_a_drop_is_sudden_over_half_again_the_length_and_more_than_its_interval():
    finer = (64, 96, 128, 192, 256)
    scores = fixed([0.9, 0.9, 0.9, 0.5, 0.5], 0.0)
    drops = sudden_drops(finer, scores, higher_is_better=True)
    # 96 to 192 is a growth of 2, but 144 is not tested: 192 is the least that is half again longer.
    assert [(d.start, d.end) for d in drops] == [(96, 192), (128, 192)]
    assert drops[0].fall.value == pytest.approx(0.4)
    rising = sudden_drops(finer, scores, higher_is_better=False)
    assert rising == ()
    curve = task_curve("passkey", (0.9, 0.9, 0.9, 0.9, 0.9), prompts=40)
    assert sudden_drops(LENGTHS, resample([curve], **SETTINGS), higher_is_better=True) == ()
    noisy = task_curve("passkey", (0.95, 0.95, 0.3, 0.3, 0.3), prompts=40)
    (drop,) = sudden_drops(LENGTHS, resample([noisy], **SETTINGS), higher_is_better=True)
    assert (drop.start, drop.end) == (128, 256)


# ---- safe and useful


def test_safe_and_useful_are_different_questions():
    flat, falling, rising = (
        fixed([0.0] * 5),
        fixed([0, 0, -0.1, -0.1, 0.05]),
        fixed([0, 0, 1, 2, 3]),
    )
    assert safe_length(LENGTHS, 128, flat).censored == "above"
    assert useful_length(LENGTHS, 128, flat).tokens == 128
    assert safe_length(LENGTHS, 128, falling).tokens == 512
    assert useful_length(LENGTHS, 128, falling).tokens == 512
    assert safe_length(LENGTHS, 128, rising).tokens == 128
    assert safe_length(LENGTHS, 128, fixed([0, 0, 0.01, 0.018, 0.0], 0.005)).tokens == 256
    # Scaled positions may hurt at L_train already, as beyond it.
    assert safe_length(LENGTHS, 128, fixed([2.0] * 5)).censored == "below"
    assert safe_length((256, 512), 128, fixed([0.0, 1.0])).tokens == 256
    assert safe_length((256, 512), 128, fixed([1.0, 1.0])).tokens == 128


class Factory:
    """A model that is what `scorer` is, whatever the setting."""

    def __init__(self, scorer):
        self.scorer = scorer

    def __call__(self, setting: Setting):
        return self.scorer


@pytest.mark.parametrize(
    ("scorer", "safe", "useful"),
    [
        (CountingScorer(32), 128, 32),  # a window of L_train
        (CountingScorer(64, penalty=1.0), 64, 64),  # breaks beyond 64
        (CountingScorer(10_000), 128, 128),
    ],
)
def test_a_windowed_model_is_safe_for_ever_and_useful_never(scorer, safe, useful):
    """L_train is 32; counts of what was seen gain from every token that is remembered."""
    identity = RunIdentity("corpus", 1, 32, "rope")
    config = eval_config(methods=(), ratios=(0.5, 1, 2, 4), documents=60)
    results = evaluate(
        skewed_documents(240, 400),
        Factory(scorer),
        identity,
        config,
        ("all",),
        None,
        reads_positions=False,
    )
    made = evaluation()
    scored = dataclasses.replace(made.scored, curves=results.curves)
    one = Contestant((dataclasses.replace(made, identity=identity, scored=scored),))
    judged = {each.curve.scorer: each for each in judge(one, config)[0]}
    same = judged["same_target_nll"]
    assert (same.holds.tokens, same.useful.tokens) == (safe, useful)
    assert same.holds.censored == ("above" if safe == 128 else "")
    assert judged["position_nll"].useful is None
