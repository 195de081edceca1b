"""Maps optimizer steps to data steps where stretches of the data are passed over.

A phase's schedule has a batch for every data step, beyond the phase's own steps too. The i-th
optimizer step of a phase trains on the i-th data step that is not passed over: a pure function of
(step, stretches), so that nothing else need be known to go on.
"""

import dataclasses
from collections.abc import Collection, Iterator, Sequence


@dataclasses.dataclass(frozen=True)
class DataSteps:
    """Stretches of data passed over; steps and data steps count from the phase's start."""

    # (phase number, first data step, one beyond the last): ascending, none overlaps another
    passed: tuple[tuple[int, int, int], ...] = ()

    def at(self, phase: int, step: int) -> int:
        """The data step of a phase's step; both from 0."""
        data = step
        for begin, end in self._of(phase):
            if begin <= data:
                data += end - begin
        return data

    def ranges(self, phase: int, begin: int, end: int) -> list[range]:
        """The data steps of a phase's steps [begin, end), ascending."""
        if begin >= end:
            return []
        first, last = self.at(phase, begin), self.at(phase, end - 1)
        ranges = []
        for gap, after in self._of(phase):
            if first < gap <= last:
                ranges.append(range(first, gap))
            if first < after <= last:
                first = max(first, after)
        return [*ranges, range(first, last + 1)]

    def passing(self, phase: int, begin: int, end: int) -> "DataSteps":
        """Passes over the data steps [begin, end) of a phase as well."""
        for old_begin, old_end in self._of(phase):
            if old_begin <= end and begin <= old_end:
                begin, end = min(begin, old_begin), max(end, old_end)
        others = [s for s in self.passed if s[0] != phase or s[2] < begin or s[1] > end]
        return DataSteps(tuple(sorted([*others, (phase, begin, end)])))

    def _of(self, phase: int) -> Iterator[tuple[int, int]]:
        return ((begin, end) for number, begin, end in self.passed if number == phase)


EVERY_DATA_STEP = DataSteps()


def without(ranges: Sequence[range], holes: Collection[int]) -> list[range]:
    """Splits `ranges` so that the numbers of `holes` are left out."""
    pieces = []
    for whole in ranges:
        first = whole.start
        for hole in sorted(hole for hole in holes if hole in whole):
            pieces.append(range(first, hole))
            first = hole + 1
        pieces.append(range(first, whole.stop))
    return [piece for piece in pieces if piece]
