"""What claims compare: planted runs, rows of a run, closed forms."""

import dataclasses
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lengthwise.experiments.definition import (
    BEYOND,
    CRITICAL,
    FALL,
    GAP,
    IN_RANGE,
    MEASURES,
    SAMPLES,
    Arm,
    Claim,
    ExperimentDefinition,
)
from lengthwise.experiments.measures import critical_complexity, doublings, gap, negative_gap
from lengthwise.experiments.page import section
from lengthwise.experiments.results import ExperimentResults
from lengthwise.experiments.statistics.verdict import (
    CONTRADICTED,
    INCONCLUSIVE,
    NOT_AT_THIS_SCALE,
    REPRODUCED,
)
from lengthwise.experiments.tables import arm_table, level_table, samples_table
from lengthwise.experiments.trial_results import (
    SelectionScore,
    TrialResult,
    curve,
    plain,
    trial_result_from_json,
)

counts = st.integers(0, 100)


def run(inside=100, beyond=100, *, arm="a", seed=0, curve=()):
    return TrialResult(
        arm,
        seed,
        changes={},
        trained=(1, 2),
        lengths=(1, 2, 3),
        right=(inside, inside, beyond),
        samples=(100,) * 3,
        problems=(100,) * 3,
        targets=7,
        flops=1e9,
        seconds=3.0,
        curve=curve,
    )


def scores(*found):
    """(samples, exact match) of successive scores."""
    return tuple(
        SelectionScore(k, n, 0.1, exact, 1 - exact) for k, (n, exact) in enumerate(found, start=1)
    )


@given(counts, counts)
def test_the_gap_is_what_is_lost_and_never_below_zero(inside, beyond):
    found = run(inside, beyond)
    assert gap(found) == pytest.approx(max(inside - beyond, 0) / 100)
    value, variance = negative_gap(found, all_samples=False)
    assert value == -gap(found)
    assert variance == pytest.approx(found.variance(IN_RANGE) + found.variance(BEYOND))


def test_samples_count_until_the_first_score_that_passes():
    found = run(curve=scores((100, 0.5), (200, 0.99), (400, 0.7), (800, 1.0)))
    assert doublings(found) == (-math.log2(200), pytest.approx(1 / 12))
    # The first score passes: somewhere in the doubling before it.
    assert doublings(run(curve=scores((64, 1.0)))) == (-6, pytest.approx(1 / 12))
    never = run(curve=scores((100, 0.5), (200, 0.6), (300, 0.6)))
    assert doublings(never)[0] == -math.log2(300)
    with pytest.raises(ValueError, match="no scores in training"):
        doublings(run())


@given(st.lists(st.tuples(counts, counts), min_size=1, max_size=5), st.randoms())
def test_the_critical_level_has_the_largest_gap_whatever_the_order(found, random):
    levels = [10 * k for k in range(1, len(found) + 1)]
    runs = [run(*pair) for pair in found]
    value, variance = critical_complexity(runs, levels)
    assert variance > 0
    gaps = dict(zip(levels, map(gap, runs), strict=True))
    if max(gaps.values()) == 0:
        assert value == levels[-1] + 1
    else:
        assert gaps[value] == max(gaps.values())
        assert all(gaps[level] < gaps[value] for level in levels if level < value)
    pairs = list(zip(runs, levels, strict=True))
    random.shuffle(pairs)
    assert critical_complexity([r for r, _ in pairs], [n for _, n in pairs])[0] == value


def results_of(arms, claims, made):
    experiment = ExperimentDefinition("tiny", "?", "-", "-", "-", arms, claims, {"cpu": {}})
    runs = tuple(
        dataclasses.replace(each, arm=arm, seed=seed)
        for arm, found in made.items()
        for seed, each in enumerate(found)
    )
    seeds = len(next(iter(made.values())))
    return experiment, ExperimentResults("tiny", "cpu", seeds, "-", claims, runs)


_TWO = (Arm("a", "A", {}, "-"), Arm("b", "B", {}, "-"))


@pytest.mark.parametrize(
    ("where", "better", "worse", "verdict"),
    [
        (GAP, run(100, 90), run(100, 20), REPRODUCED),
        (GAP, run(100, 20), run(100, 90), CONTRADICTED),
        (GAP, run(100, 90), run(50, 20), NOT_AT_THIS_SCALE),
        (SAMPLES, run(curve=scores((99, 0), (100, 1))), run(curve=scores((800, 0))), REPRODUCED),
        (SAMPLES, run(curve=scores((800, 1))), run(curve=scores((99, 0), (100, 1))), CONTRADICTED),
        # The worse arm never knows the trained lengths: no reason not to judge.
        (
            SAMPLES,
            run(curve=scores((99, 0), (100, 1))),
            run(9, 0, curve=scores((800, 0))),
            REPRODUCED,
        ),
        (SAMPLES, run(9, curve=scores((800, 0))), run(curve=scores((800, 1))), NOT_AT_THIS_SCALE),
        # Never known in as many samples: it may need any number more.
        (
            SAMPLES,
            run(curve=scores((99, 0), (800, 1))),
            run(curve=scores((99, 0), (800, 0))),
            INCONCLUSIVE,
        ),
    ],
)
def test_planted_results_of_two_arms(where, better, worse, verdict):
    claim = Claim("a", "b", 0.1, where)
    experiment, results = results_of(_TWO, (claim,), {"a": [better] * 3, "b": [worse] * 3})
    assert results.verdict(experiment) == verdict


def test_a_fall_compares_an_arm_with_itself():
    claim = Claim("a", "a", 0.1, FALL)
    falls = [run(100, 60), run(100, 50), run(100, 55)]
    experiment, results = results_of(_TWO[:1], (claim,), {"a": falls})
    ((_, measurement, verdict),) = results.verdicts(experiment)
    assert measurement.effect.value == pytest.approx(0.45)
    assert verdict.verdict == REPRODUCED
    experiment, results = results_of(_TWO[:1], (claim,), {"a": [run(100, 100)] * 3})
    assert results.verdict(experiment) == CONTRADICTED


def test_groups_are_compared_by_their_critical_level_and_gated_up_to_it():
    arms = tuple(
        Arm(f"{size}{level}", "-", {}, "-", group=size, level=level)
        for size in ("small", "large")
        for level in (1, 2, 3)
    )
    claim = Claim("large", "small", 1.0, CRITICAL)
    small = {1: run(100, 90), 2: run(100, 20), 3: run(30, 20)}
    large = {1: run(100, 100), 2: run(100, 80), 3: run(100, 20)}
    made = {f"small{k}": [r] * 5 for k, r in small.items()}
    made |= {f"large{k}": [r] * 5 for k, r in large.items()}
    experiment, results = results_of(arms, (claim,), made)
    ((_, measurement, verdict),) = results.verdicts(experiment)
    assert measurement.effect.value == 1  # 3 against 2
    assert measurement.gate_values == (1.0, 1.0)
    assert verdict.verdict == REPRODUCED
    # Sorting isn't learned by the small ones: where their gap is largest says nothing.
    made["small2"] = [run(60, 0)] * 5
    experiment, results = results_of(arms, (claim,), made)
    ((_, measurement, verdict),) = results.verdicts(experiment)
    assert measurement.effect.value == 1
    assert measurement.gate_values == (1.0, 0.6)
    assert verdict.verdict == NOT_AT_THIS_SCALE
    short = dataclasses.replace(experiment, left_out={"cpu": ("small3",)})
    assert short.claims_at("cpu") == ()


def test_the_curve_of_a_run_comes_from_its_rows():
    train = [
        {"step": k, "tokens": 64 * k, "bucket": 8 if k % 2 else 16, "loss": float(k)}
        for k in range(1, 6)
    ]
    evals = [
        {"step": 2, "exact_match": 0.25, "score": 0.3},
        {"step": 5, "exact_match": 0.5, "score": 0.1},
    ]
    # 64 tokens a step are 8 rows of 8 or 4 of 16.
    assert curve(train, evals) == [
        SelectionScore(2, 12, 1.5, 0.25, 0.3),
        SelectionScore(5, 32, 4.0, 0.5, 0.1),
    ]


def test_runs_survive_being_stored():
    made = run(curve=scores((100, 0.5), (200, 1.0)))
    assert trial_result_from_json(json.loads(json.dumps(dataclasses.asdict(made)))) == made
    before = plain(dataclasses.asdict(made))
    del before["curve"], before["selection"]  # what older files have not
    assert trial_result_from_json(before) == dataclasses.replace(made, curve=(), selection=None)


def test_claims_say_what_they_compare():
    said = {where: Claim("a", "b", 0.1, where).text(str.upper) for where in MEASURES}
    assert said[BEYOND] == "A above B, beyond"
    assert len(set(said.values())) == len(MEASURES)


def test_tables_of_samples_and_of_levels():
    """Numbers in the trials are those that the claims compare."""
    quick = [run(curve=scores((100, 0.5), (n, 1.0))) for n in (200, 800)]
    slow = [run(curve=scores((100, 0.5), (1600, 0.6))), quick[1]]
    claim = Claim("a", "b", 1.0, SAMPLES)
    experiment, results = results_of(_TWO, (claim,), {"a": quick, "b": slow})
    (table,) = samples_table(experiment, results)
    assert "A | 400 | 200 to 800 | 2 of 2" in table
    assert "B | at least 1,131 | 800 to 1,600, or more | 1 of 2" in table
    assert level_table(experiment, results) == []

    two = (Arm("x", "X", {}, "-", group="g", level=1), Arm("y", "Y", {}, "-", group="g", level=2))
    made = {"x": [run(100, 90), run(100, 50)], "y": [run(100, 60), run(100, 80)]}
    experiment, results = results_of(two, (Claim("g", "g", 1.0, CRITICAL),), made)
    text = "\n".join(level_table(experiment, results))
    assert "g | 1: X | 0.300 | 0.100 to 0.500 |  |" in text
    assert "g | 2: Y | 0.300 | 0.200 to 0.400 | 2, 1 |" in text
    assert samples_table(experiment, results) == []


@pytest.mark.parametrize(
    ("better", "worse", "words"),
    [
        (4, 0, "both are right in less than 5%"),
        (100, 96, "both are right in more than 95%"),
        (5, 0, None),
        (100, 95, None),
    ],
)
def test_arms_that_fail_or_pass_alike_are_named(better, worse, words):
    made = {"a": [run(beyond=better)], "b": [run(beyond=worse)]}
    experiment, results = results_of(_TWO, (Claim("a", "b", 0.1, BEYOND),), made)
    experiment = dataclasses.replace(experiment, reasons={"cpu": "too small", "h200": "no"})
    text = section(experiment, results, "picture.png")
    assert "Why, as far as known: too small." in text
    assert ("Indistinguishable arms" in text) == (words is not None)
    if words is not None:
        assert f"A above B, beyond: {words}" in text


@pytest.mark.parametrize(
    ("inside", "beyond", "words"),
    [(100, 84, "2"), (100, 85, "3, the longest"), (84, 100, "under 1")],
)
def test_an_arm_is_right_up_to_the_length_before_it_falls(inside, beyond, words):
    made = {"a": [run(inside, beyond)], "b": [run(inside, beyond)]}
    experiment, results = results_of(_TWO, (Claim("a", "b", 0.1, BEYOND),), made)
    assert f" | {words} | - | " in arm_table(experiment, results)
