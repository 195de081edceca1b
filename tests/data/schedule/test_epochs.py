"""Epochs by domain against a walk over every draw."""

import collections

import pytest

from lengthwise.data.schedule.epochs import domain_epochs, epochs_text, repetition_notes
from lengthwise.data.schedule.sampling import SamplingConfig
from tests.data.layouts.layout_cases import CONCAT, DECOMPOSE
from tests.data.rows import AS_THEY_COME
from tests.data.schedule.test_exposure import WEIGHTED, planned


def walked(layout, schedule, steps):
    """Tokens that were drawn over tokens that there are, row by row."""
    drawn, there = collections.Counter(), collections.Counter()
    names = [stratum.domain for stratum in layout.strata]
    for length, bucket in layout.buckets.items():
        for stratum, count in zip(bucket.groups.stratum, bucket.groups.count, strict=True):
            there[names[stratum]] += length * int(count)
    for step in steps:
        draw = schedule.draw(step)
        for stratum in draw.strata:
            drawn[names[stratum]] += draw.length
    return {name: drawn[name] / there[name] for name in there}


@pytest.mark.parametrize("sampling", [WEIGHTED, SamplingConfig((), (), True, 0)])
def test_epochs_are_those_of_every_row_drawn(sampling):
    layout, schedule = planned(DECOMPOSE, sampling)
    for trained in ([range(90)], [range(17), range(40, 90)]):
        steps = [step for each in trained for step in each]
        expected = walked(layout, schedule, steps)
        assert domain_epochs(layout, schedule, trained) == pytest.approx(expected)
    weighted = sampling is WEIGHTED
    assert (max(expected.values()) > 1.5 * min(expected.values())) == weighted


def test_rows_in_one_shuffle_are_counted_whole():
    """Without strata of their own domains are exact after whole epochs, and all alike."""
    layout, schedule = planned(CONCAT, AS_THEY_COME)
    rows = sum(bucket.rows for bucket in layout.buckets.values())
    found = domain_epochs(layout, schedule, [range(rows)])  # eight rows of 16 a step
    assert found == pytest.approx(walked(layout, schedule, range(rows)))
    assert list(found.values()) == pytest.approx([8, 8])


def test_beyond_four_epochs_there_is_a_note_for_each_domain():
    assert repetition_notes({"all": 4.0}) == []
    (note,) = repetition_notes({"all": 60.04})
    assert note.startswith("the corpus is trained on for 60.0 epochs: beyond about 4, repeated")
    (note,) = repetition_notes({"code": 43.2, "prose": 1.6})
    assert note.startswith("domain code is trained on for 43.2 epochs")
    assert epochs_text({"all": 60.04}) == "60.04"
    assert epochs_text({"code": 43.2, "prose": 1.6}) == "code 43.20, prose 1.60"
