"""The data that a step trains on, when stretches are passed over."""

from hypothesis import given
from hypothesis import strategies as st

from lengthwise.train.rules.data_steps import DataSteps, without

stretches = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 20), st.integers(1, 6)), max_size=5
)


def passing(chosen):
    found = DataSteps()
    for phase, begin, length in chosen:
        found = found.passing(phase, begin, begin + length)
    return found


@given(stretches, st.integers(0, 12), st.integers(0, 30))
def test_a_step_trains_on_what_is_left_in_order(chosen, begin, end):
    data_steps = passing(chosen)
    for phase in (0, 1):
        gone = {d for p, first, n in chosen if p == phase for d in range(first, first + n)}
        left = [d for d in range(100) if d not in gone]
        assert [data_steps.at(phase, step) for step in range(40)] == left[:40]
        ranges = data_steps.ranges(phase, begin, end)
        assert [d for part in ranges for d in part] == left[begin:end]
        assert all(ranges)


@given(st.sets(st.integers(0, 30)), st.integers(0, 10), st.integers(0, 25))
def test_holes_are_left_out(holes, begin, end):
    pieces = without([range(begin), range(begin + 2, begin + 2 + end)], holes)
    there = [*range(begin), *range(begin + 2, begin + 2 + end)]
    assert [d for piece in pieces for d in piece] == [d for d in there if d not in holes]
