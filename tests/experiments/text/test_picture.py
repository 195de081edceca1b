"""The picture of a question shows the numbers of its rows."""

import numpy as np
import pytest
from scipy.stats import ttest_rel

from lengthwise.eval.report.style import DARK, LIGHT, png_bytes
from lengthwise.experiments.text.design import TextClaim
from lengthwise.experiments.text.measures import nll
from lengthwise.experiments.text.picture import draw
from tests.experiments.text.planted import L, noise
from tests.experiments.text.test_verdicts import SEEDS, results

CONTEXTS = [L // 4, L, 2 * L, 4 * L]


def planted(run):
    """Losses that grow with the context; the good arm is better by a tenth."""
    loss = (2.0 if run.arm.name == "good" else 2.1) + noise(run)
    return loss, {"nll": {"plain": {str(n): loss + 0.001 * n for n in CONTEXTS}}}


@pytest.fixture(scope="module")
def found():
    return results(planted, [TextClaim("good", "bad", nll(1), 0.05)])


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_means_and_paired_differences_with_their_intervals(found, theme):
    figure = draw(found, theme)
    left, right = figure.axes
    values = {
        name: np.array([[row.at_context(n) for n in CONTEXTS] for row in rows])
        for name, rows in found.rows.items()
    }
    lines = {line.get_label(): line for line in left.get_lines()}
    for name, label in (("good", "the good one"), ("bad", "the bad one")):
        np.testing.assert_array_equal(lines[label].get_xdata(), CONTEXTS)
        np.testing.assert_allclose(lines[label].get_ydata(), values[name].mean(axis=0))
    (difference,) = (line for line in right.get_lines() if line.get_label() == "the good one")
    np.testing.assert_allclose(
        difference.get_ydata(), (values["good"] - values["bad"]).mean(axis=0)
    )
    intervals = right.collections[0].get_segments()
    expected = ttest_rel(values["good"], values["bad"]).confidence_interval(0.95)
    np.testing.assert_allclose([each[0][1] for each in intervals], expected.low)
    np.testing.assert_allclose([each[1][1] for each in intervals], expected.high)
    assert f"mean of {SEEDS} seeds" in left.get_ylabel()
    assert png_bytes(figure, theme).startswith(b"\x89PNG")
