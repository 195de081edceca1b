import pytest

from lengthwise.eval.statistics.bootstrap import Estimate
from lengthwise.eval.statistics.verdicts import (
    UsefulLength,
    Verdict,
    useful_by_verdicts,
    verdict,
)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.1, 0.3, Verdict.USEFUL),
        (-0.3, -0.1, Verdict.WORSE),
        (-0.1, 0.2, Verdict.NO_DIFFERENCE),
        (0.0, 0.2, Verdict.NO_DIFFERENCE),
        (-0.2, 0.0, Verdict.NO_DIFFERENCE),
        (0.0, 0.0, Verdict.NO_DIFFERENCE),
    ],
)
def test_verdict_goes_by_the_interval_alone(low, high, expected):
    assert verdict(Estimate(0.05, low, high)) is expected


U, N, W = Verdict.USEFUL, Verdict.NO_DIFFERENCE, Verdict.WORSE


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ({200: U, 400: U, 800: N}, UsefulLength(400, censored=False)),
        ({200: U, 400: U, 800: U}, UsefulLength(800, censored=True)),
        ({200: N, 400: U}, UsefulLength(100, censored=False)),  # a gap ends it
        ({200: U, 400: W, 800: U}, UsefulLength(200, censored=False)),
        ({800: U, 200: U, 400: U}, UsefulLength(800, censored=True)),  # order does not matter
        ({50: W, 100: N, 200: U}, UsefulLength(200, censored=True)),  # in range is ignored
        ({50: W}, UsefulLength(100, censored=False)),  # nothing beyond was tested
    ],
)
def test_useful_length_stops_at_the_first_length_that_is_not_useful(verdicts, expected):
    assert useful_by_verdicts(verdicts, 100) == expected
