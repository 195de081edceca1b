"""Reach: the longest tested length up to which a property holds.

Lengths are tested in ascending order and the walk stops at the first that fails (fixed-sequence
testing), so that the chance of a length that is too long is that of one test, however many lengths
there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Reach:
    """The longest tested length such that it and every shorter tested one hold.

    tokens: None where the shortest tested length fails already: it is shorter than `shortest`.
    Where it is `longest`, no tested length fails: the true one may be longer.
    """

    tokens: int | None
    shortest: int  # tested, tokens
    longest: int

    @property
    def censored(self) -> str:
        """ "below": shorter than all tested lengths; "above": at least the longest; or empty."""
        if self.tokens is None:
            return "below"
        return "above" if self.tokens == self.longest else ""

    def over(self, tokens: float) -> float | None:
        """The reach as a multiple of a training length; a lower bound where censored above."""
        return None if self.tokens is None else self.tokens / tokens


def reach(lengths: Sequence[int], holds: Sequence[bool]) -> Reach:
    """Walks up the lengths to the first that fails.

    lengths: tested, ascending, in tokens. holds: whether the property holds at each.
    """
    reached = None
    for length, success in zip(lengths, holds, strict=True):
        if not success:
            break
        reached = length
    return Reach(reached, lengths[0], lengths[-1])
