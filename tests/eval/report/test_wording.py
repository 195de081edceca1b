import pytest

from lengthwise.eval.losses.results import GAIN, SAME_TARGET_NLL
from lengthwise.eval.methods.part import METHODS
from lengthwise.eval.report.estimate_text import cell, ratio_text
from lengthwise.eval.report.method_words import method_note, method_title
from lengthwise.eval.report.run.wording import (
    best_first,
    headline,
    headline_table,
    highlighted,
    length_table,
    method_names,
    useful_lengths,
)
from lengthwise.eval.statistics.bootstrap import Estimate
from tests.eval.report.synthetic_report import GAINS, L_TRAIN, around, results, row


def test_headline_names_the_useful_length_and_who_reaches_it():
    first, *rest = headline(results())
    assert "up to 128 tokens" in first
    assert "up to 512 tokens (4x), with NTK-aware RoPE scaling" in first
    assert rest == [
        "Run as it is at 2x the training length, it is worse than truncation by "
        "0.620 [0.530, 0.710] nats/token.",
        "Run as it is at 8x the training length, it is worse than truncation by "
        "1.730 [1.640, 1.820] nats/token.",
    ]


def test_headline_says_so_when_nothing_is_gained():
    first, second, _ = headline(results({"plain": (0.01, -0.02, 0.03)}))
    assert "gains nothing detectable" in first
    assert "useful length is 128 tokens" in first
    assert (
        "no difference detectable from truncation (gain +0.010 [\N{MINUS SIGN}0.080, +0.100]"
        in second
    )


def test_headline_marks_a_useful_length_that_the_tested_lengths_cut_short():
    first, second, _ = headline(results({"plain": (0.2, 0.3, 0.4)}))
    assert "up to 1,024 tokens, the longest tested (8x), run as it is" in first
    assert "beats truncation by 0.200 [0.110, 0.290] nats/token" in second


def test_a_gain_after_a_gap_does_not_count():
    lengths = useful_lengths(results({"plain": (0.2, -0.3, 0.4), "ntk": (0.0, 0.2, 0.2)}))
    assert (lengths["plain"].tokens, lengths["ntk"].tokens) == (256, L_TRAIN)


def test_tables_hold_every_number_once_with_its_interval():
    lines = length_table(results())
    assert len(lines) == 6 + 3 * (len(GAINS) - 1)  # in range only the plain model
    assert [line.reference for line in lines].count(True) == 1
    (line,) = (x for x in lines if x.method == "NTK-aware" and x.ratio == "8x")
    assert (line.gain.value, line.gain.interval) == ("+0.006", "[\N{MINUS SIGN}0.006, +0.018]")
    assert line.gain.verdict == "no difference detectable"
    assert line.scaling == "factor 8"
    plain, *_ = headline_table(results(), (2.0, 3.0))
    assert plain.useful == "128 tokens (none beyond)"
    assert (plain.cells[0].value, plain.cells[0].verdict) == ("2.022", "worse")
    assert plain.cells[1] is None  # a ratio that was not tested


@pytest.mark.parametrize(
    ("value", "half_width", "expected"),
    [
        (-0.03, 0.01, "\N{MINUS SIGN}0.030 [\N{MINUS SIGN}0.040, \N{MINUS SIGN}0.020]"),
        (0.0042, 0.001, "+0.0042 [+0.0032, +0.0052]"),
        (-0.00004, 0.01, "0.000 [\N{MINUS SIGN}0.010, +0.010]"),
        (0.0, 0.0, "0.000 [0.000, 0.000]"),
        # The near end of an interval that leaves out zero never looks like zero.
        (0.0102, 0.01, "+0.0102 [+0.0002, +0.0202]"),
        (0.010003, 0.01, "+0.010003 [+0.000003, +0.020003]"),
        (1.9e-5, 1e-6, "+0.000019 [+0.000018, +0.000020]"),
    ],
)
def test_estimates_have_the_digits_that_they_need(value, half_width, expected):
    shown = cell(row(GAIN, around(value, half_width), context=256))
    assert f"{shown.value} {shown.interval}" == expected


def test_ratios_and_cells():
    assert [ratio_text(r) for r in (0.25, 0.3, 1.0, 1.5, 8.0)] == [
        "1/4x",
        "0.3x",
        "1x",
        "1.5x",
        "8x",
    ]
    nll = row(SAME_TARGET_NLL, Estimate(1.5, 1.4, 1.7), context=64)
    assert (cell(nll).value, cell(nll).interval) == ("1.500", "[1.400, 1.700]")
    gain = row(GAIN, Estimate(0.1, 0.05, 0.2), context=256)
    assert (cell(gain).value, cell(gain).verdict) == ("+0.100", "useful")


def test_names_of_joined_methods():
    assert method_title("yarn+log_n") == "YaRN + log n"
    assert method_title("ceiling + lambda") == "Distance ceiling + Lambda mask"
    assert method_title("shuffled positions") == "shuffled positions"
    first, *_ = headline(results({"plain": (-0.5,) * 3, "yarn+log_n": (0.2, 0.2, -0.5)}))
    assert "up to 512 tokens (4x), with YaRN and queries scaled by log n (the best of 2" in first


def test_every_part_of_a_method_has_its_words():
    for name in METHODS.names():
        assert method_title(name) != name
        assert method_note(f"{name}:factor=2")
    assert method_title("yarn:factor=4,low_turns=2+log_n") == "YaRN (factor=4, low_turns=2) + log n"


def test_charts_tell_the_plain_model_and_the_best_apart():
    gains = {f"window+{i}": (0.01 * i, 0.0, 0.0) for i in range(9)} | {"plain": (-1.0,) * 3}
    known = results(gains | {"yarn": (0.5,) * 3})
    assert best_first(known)[:2] == ["yarn", "window+8"]
    assert highlighted(known, 4) == ["window+7", "window+8", "plain", "yarn"]
    assert highlighted(known, 99) == method_names(known)
