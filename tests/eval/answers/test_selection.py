"""Lengths that choose a checkpoint of a task."""

import pytest

from lengthwise.common.errors import UserError
from lengthwise.eval.answers.selection import selection_lengths


@pytest.mark.parametrize(
    ("trained", "reported", "missing", "lengths"),
    [
        (range(1, 4), range(1, 41), (), (4, 5, 6)),  # up to twice the longest
        (range(1, 11), (1, 12), (), (11, 12)),  # no longer than what is reported
        (range(1, 11), range(1, 41), (), (11, 13, 15, 17, 19)),  # eight at most
        (range(1, 11), range(1, 41), (12, 13, 14), (11, 15, 16, 17, 18, 19, 20)),
        (range(1, 4), (20, 30), (4, 5, 6), (1, 2, 3)),  # none beyond that there are
        (range(3, 7), (1, 6), (), (3, 4, 5, 6)),  # none beyond is reported
    ],
)
def test_lengths_lie_beyond_the_trained_ones(trained, reported, missing, lengths):
    assert selection_lengths(trained, reported, missing) == lengths


def test_no_length_at_all_is_named():
    with pytest.raises(UserError, match=r"data.task.lengths=\(3, 3\): the task has no problems"):
        selection_lengths(range(3, 4), (2, 3), (3,))
