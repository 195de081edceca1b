"""Lengths on which answers choose a checkpoint, where a user names none."""

from collections.abc import Collection, Sequence

from lengthwise.common.errors import UserError

_MOST = 8  # lengths, at most


def selection_lengths(
    trained: range, reported: Sequence[int], missing: Collection[int]
) -> tuple[int, ...]:
    """Lengths beyond the trained ones, up to twice the longest and no longer than those reported.

    What is right at trained lengths says little of longer ones. Where none beyond is reported,
    those of training.

    Args:
      missing: lengths of which the task has no problems.

    Raises:
      UserError: it has none of the trained ones.
    """
    longest = min(2 * trained[-1], max(reported))
    for span in (range(trained[-1] + 1, longest + 1), trained):
        lengths = tuple(length for length in span if length not in missing)
        if lengths:
            return lengths[:: -(-len(lengths) // _MOST)]
    ends = trained[0], trained[-1]
    raise UserError(f"data.task.lengths={ends}: the task has no problems of these lengths")
