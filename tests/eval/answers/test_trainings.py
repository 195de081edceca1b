"""Trainings side by side: intervals over seeds and samples, pairs, what can't be compared."""

import dataclasses
import json
import math

import numpy as np
import pytest
from scipy.stats import t as student

from lengthwise.common.errors import UserError
from lengthwise.data.tasks.samples import SampleBatch, TaskSamples
from lengthwise.eval.answers.runs import EXACT, TOKEN, RunKey, TaskRun, check_comparable, trainings
from lengthwise.eval.answers.score import Hits, constant_guess
from lengthwise.eval.answers.summary import over_seeds
from lengthwise.eval.answers.trainings import compare_trainings, save_comparison, score_training
from lengthwise.eval.card.comparison import Difference
from lengthwise.eval.config import AnswersConfig
from lengthwise.eval.report.answers.wording import comparison_lines
from tests.data.tasks.test_formats import task_config
from tests.eval.planted import eval_config

SAMPLES, TRAINED = 400, (1, 4)
CONFIG = eval_config(
    bootstrap_samples=2000, answers=AnswersConfig((2, 8, 6), (), SAMPLES, 0.85, decoded=0)
)


def run(name: str, training: str, seed: int, shares: tuple[float, float], stream: int = 0):
    """Lengths 2 and 8. Samples that are easy are the same in all runs of a stream."""
    hits = []
    for length, share in zip((2, 8), shares, strict=True):
        easy_N = np.random.default_rng([stream, length]).random(SAMPLES) < share
        hits.append(Hits(length, np.where(easy_N, 3, 1), np.full(SAMPLES, 3)))
    key = RunKey(name, training, (seed, stream), "copy", (2, 8), SAMPLES)
    return TaskRun(key, tuple(hits))


def test_one_run_has_wilsons_interval_and_speaks_of_a_checkpoint():
    (alone,) = trainings([run("a", "t", 0, (1.0, 0.5))])
    scored = score_training(alone, TRAINED, [0.0, 0.0], CONFIG)
    exact = scored.answers.scores[0].exact
    z = student.ppf(0.975, 1e9)
    assert (exact.value, exact.high) == (1.0, 1.0)
    assert exact.low == pytest.approx(SAMPLES / (SAMPLES + z**2), rel=1e-3)
    assert scored.claim == "this checkpoint"


def test_intervals_over_seeds_are_as_wide_as_students_over_seeds_that_differ():
    shares = (0.2, 0.5, 0.8)
    runs = [run(f"s{i}", "t", i, (0.5, share), stream=i) for i, share in enumerate(shares)]
    (three,) = trainings(runs)
    assert three.name == "s0 and 2 more seeds"
    answers = over_seeds(
        three,
        TRAINED,
        [0.0, 0.0],
        threshold=0.85,
        confidence=0.95,
        bootstrap_samples=20_000,
        seed=0,
    )
    near, far = answers.scores
    found = [each.hits[1].exact_N.mean() for each in runs]
    half = student.ppf(0.975, 2) * np.std(found, ddof=1) / math.sqrt(3)
    assert far.exact.value == pytest.approx(np.mean(found))
    assert half > 0.5  # beyond the ends: cut to shares
    assert (far.exact.low, far.exact.high) == (0.0, 1.0)
    # Where seeds agree, samples alone are left: some 1,200 of them.
    spread = np.std([each.hits[0].exact_N.mean() for each in runs], ddof=1) / math.sqrt(3)
    samples = math.sqrt(0.25 / (3 * SAMPLES))
    assert near.exact.high - near.exact.low > 2 * 1.96 * samples * 0.95
    assert near.exact.high - near.exact.low < 2 * (student.ppf(0.975, 2) * spread + 2 * samples)
    assert (near.in_range, far.in_range, near.samples) == (True, False, 3 * SAMPLES)
    assert answers.falls_at == 2


def test_the_same_samples_are_as_hard_for_all_seeds():
    """Three seeds that are right on the same samples know no more than one of them."""

    def width(streams):
        runs = [run(f"s{i}", "t", i, (0.5, 0.5), stream) for i, stream in enumerate(streams)]
        (training,) = trainings(runs)
        exact = score_training(training, TRAINED, [0, 0], CONFIG).answers.scores[1].exact
        return exact.high - exact.low

    one = 2 * 1.96 * math.sqrt(0.25 / SAMPLES)
    assert width((0, 0, 0)) == pytest.approx(one, rel=0.1)


def test_a_share_of_tokens_counts_tokens_and_one_of_answers_whole_ones():
    made = run("a", "t", 0, (0.5, 0.5))
    for metric, worth in ((EXACT, 0.0), (TOKEN, 1 / 3)):
        curve = made.curve(metric)
        share = curve.sums_NK.sum(axis=0) / curve.counts_NK.sum(axis=0)
        right = np.array([each.exact_N.mean() for each in made.hits])
        np.testing.assert_allclose(share, right + (1 - right) * worth)


def test_trainings_are_compared_in_pairs_length_by_length(tmp_path):
    group = trainings(
        [
            run("first", "a", 0, (1.0, 0.5)),
            run("other", "b", 0, (1.0, 0.55)),
            run("second", "a", 1, (1.0, 0.5)),
        ]
    )
    assert [each.name for each in group] == ["first and another seed", "other"]
    (difference,) = compare_trainings(group, CONFIG)
    assert difference.outcomes == (Difference.NONE, Difference.BETTER)
    # Both are right on the same half, so that only what one has more is uncertain.
    assert difference.better[1].high - difference.better[1].low < 0.06
    scored = [score_training(each, TRAINED, [0.0, 0.0], CONFIG) for each in group]
    table, said = comparison_lines(scored, [difference])
    assert table.startswith("first and another seed, this training (2 seeds):")
    assert said == "other beside first and another seed, exact match: better at length 8"
    save_comparison(scored, [difference], tmp_path / "comparison.json")
    stored = json.loads((tmp_path / "comparison.json").read_text())
    assert [each["seeds"] for each in stored["trainings"]] == [2, 1]
    assert stored["comparisons"][0]["said"] == ["no difference detectable", "better"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "sort"}, "'b' is a run on sort, 'a' one on copy; leave it out"),
        ({"lengths": (2, 9)}, "'b' was scored at other lengths"),
        ({"samples": 7}, "on another number of samples"),
        (
            {"training": "t", "seeds": (0, 0)},
            "'b' and 'a' are the same training with the same seed",
        ),
    ],
)
def test_what_can_not_be_compared_is_refused(change, message):
    first = run("a", "t", 0, (1.0, 0.5)).key
    other = dataclasses.replace(first, **{"name": "b", "training": "u", **change})
    with pytest.raises(UserError, match=f"eval.compare: .*{message}"):
        check_comparable([first, other])
    check_comparable([first, dataclasses.replace(first, name="b", seeds=(0, 1))])


def test_a_constant_guess_is_chosen_on_other_samples():
    def answered(*answers: int) -> SampleBatch:
        tokens = np.array([[5, 1, answer, 0] for answer in answers], np.int32)
        return SampleBatch(tokens, np.full(len(answers), 2))

    assert constant_guess(answered(7, 7, 9), answered(9, 9, 9, 7)) == 0.25
    parity = TaskSamples(task_config("parity", lengths=(1, 10)))
    words = TaskSamples(task_config("copy", lengths=(1, 10)))
    for samples, wanted in ((parity, 0.5), (words, 0.0)):
        seen, asked = (samples.scored(name, 8, np.arange(4000)) for name in ("guess", "report"))
        assert constant_guess(seen, asked) == pytest.approx(wanted, abs=0.03)
