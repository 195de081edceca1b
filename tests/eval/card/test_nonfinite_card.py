"""Figures that no interval can be given of: the card is written without them and says why."""

import dataclasses
import json

import numpy as np
import pytest

from lengthwise.eval.card.card import CARD
from lengthwise.eval.card.shape import areas
from lengthwise.eval.report.card.page import write_card
from lengthwise.eval.statistics.bootstrap import ClusterBootstrap, Resamples
from lengthwise.eval.statistics.curves import Curve, Group, ScorerResult
from tests.eval.planted import eval_config
from tests.eval.report.synthetic_card import document_curve, evaluation, task_curve

CONFIG = eval_config(bootstrap_samples=1000)
LENGTHS = (32, 64, 128)


def rarely_right(documents=20, right=5):
    """`right` of the documents have 4, 3, 2 of 10 tokens right at 32, 64, 128; the others none."""
    sums_NK = np.zeros((documents, 3))
    sums_NK[:right] = 4, 3, 2
    return sums_NK, np.full((documents, 3), 10.0)


def resampled(sums_NK, counts_NK):
    bootstrap = ClusterBootstrap(np.arange(len(sums_NK)), samples=1000, confidence=0.95, seed=0)
    return bootstrap.ratios(sums_NK, counts_NK)


def test_retention_is_absent_where_resamples_divide_zero_by_zero():
    """One resample in 300 holds none of the five documents: (3/4)^20."""
    scores = resampled(*rarely_right())
    empty = (scores.draws_SK == 0).all(axis=1).sum()
    assert 0 < empty < 25
    found = areas(LENGTHS, 64, scores)
    assert found.within.low > 0
    assert found.retention is None
    assert f"{empty} of 1,000 resamples" in found.why_no_retention
    assert np.isfinite([found.within.high, found.beyond.low, found.beyond.high]).all()


def test_retention_stands_where_no_resample_is_empty():
    found = areas(LENGTHS, 64, resampled(*rarely_right(right=20)))
    # Within: the mean of 4 and 3; beyond: of 3 and 2.
    assert found.retention.value == pytest.approx(2.5 / 3.5)
    assert found.why_no_retention == ""


@pytest.mark.parametrize(
    ("lengths", "l_train", "reason"),
    [
        ((64, 128), 32, "up to the training length"),
        ((64, 128), 128, "beyond"),
        ((32, 64, 128), 64, "not surely above zero"),
    ],
)
def test_retention_always_says_why_it_is_absent(lengths, l_train, reason):
    one = Resamples(np.zeros(len(lengths)), np.zeros((50, len(lengths))), 0.95)
    found = areas(lengths, l_train, one)
    assert found.retention is None
    assert reason in found.why_no_retention


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_no_interval_is_made_of_what_is_not_finite(bad):
    draws_SK = np.ones((100, 2))
    draws_SK[7, 1] = bad
    with pytest.raises(FloatingPointError, match="1 of 100 resamples"):
        Resamples(np.ones(2), draws_SK, 0.95).estimates()
    with pytest.raises(FloatingPointError, match="the score"):
        Resamples(np.array([1.0, bad]), np.ones((100, 2)), 0.95).estimates()


def forgetting(alone=0.0, documents=20, right=5):
    sums_NK, counts_NK = rarely_right(documents, right)
    return Curve.of_share(
        scorer="forgetting",
        group=Group.RETRIEVAL,
        method="plain",
        lengths=LENGTHS,
        counts_NK=counts_NK,
        population="20 documents",
        sums_NK=sums_NK,
        chance_K=np.full(3, alone),
        best=1.0,
        dispersion="low",
        scope="high",
    )


def card_of(tmp_path, curves, others=()):
    made = evaluation()
    identity = dataclasses.replace(made.identity, l_train=64)
    made = dataclasses.replace(made, identity=identity, scored=ScorerResult(tuple(curves)))
    lines = write_card(tmp_path, [made, *others], CONFIG)
    text = (tmp_path / CARD).read_text()
    page = (tmp_path / "report" / "card.html").read_text()
    return json.loads(text, parse_constant=pytest.fail), page, lines


def test_the_card_of_a_weak_model_is_written(tmp_path):
    """As of eval.scorers=forgetting with 8 documents, 3 of which the model copies some of."""
    card, page, lines = card_of(tmp_path, [forgetting(documents=8, right=3)])
    (judgement,) = card["entries"][0]["judgements"]
    found = judgement["areas"]
    assert found["within"]["low"] > 0
    assert found["retention"] is None
    assert "resamples are not finite" in found["why_no_retention"]
    assert "card.html" in lines[-1]
    assert f"retention of Forgetting (plain): {found['why_no_retention']}" in page


def test_a_curve_without_a_scale_is_left_out_by_name(tmp_path):
    """Where a guess is as good as can be, the share of the way to perfect is 0 / 0."""
    passkey = task_curve("passkey", (1.0, 1.0, 1.0), lengths=LENGTHS)
    card, page, _ = card_of(tmp_path, [forgetting(alone=1.0), passkey])
    (entry,) = card["entries"]
    assert [each["scorer"] for each in entry["judgements"]] == ["passkey"]
    (reason,) = entry["left_out"]
    assert reason.startswith("forgetting (plain): a guess gets the best score already")
    assert "a guess gets the best score already at 32, 64, 128 tokens" in page


def test_a_comparison_without_a_scale_is_left_out_by_name(tmp_path):
    other = evaluation("other", training="b")
    other = dataclasses.replace(
        other, scored=ScorerResult((forgetting(alone=1.0), document_curve([1.0] * 5)))
    )
    mine = [forgetting(alone=1.0), document_curve([1.1] * 5)]
    card, page, _ = card_of(tmp_path, mine, [other])
    assert [each["scorer"] for each in card["comparisons"]] == ["same_target_nll"]
    (reason,) = card["left_out"]
    assert reason.startswith("forgetting, other beside quickstart:")
    assert reason.split(": ")[1] in page
