"""The exposure ledger: trained targets by context length.

Runs of equal L_train may differ much in the targets that they trained at long contexts. The ledger
is a pure function of layout, schedule and the data steps trained on.
"""

import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lengthwise.data.layouts import LayoutIndex
from lengthwise.data.layouts.index import SegmentCounts
from lengthwise.data.schedule.schedule import Schedule


@dataclass(frozen=True)
class Exposure:
    """Targets by context: the tokens that a target can attend to, itself not included.

    A document mask, the start of the row and a window end the context. Bins end at powers of two:
    1, 2, 3 to 4, 5 to 8, ..., so that the last one ends at the training length.
    """

    steps: int
    targets: dict[int, np.ndarray]  # by bucket: float64 [K]
    # Targets of sequences of n tokens at place n, float64 [longest + 1]. A sequence is what a
    # target may attend to at most: a document in its row (under the mask), a row, a window.
    by_length: np.ndarray

    @property
    def context(self) -> np.ndarray:
        """Largest context of each bin, int64 [K]."""
        return 1 << np.arange(max(counts.size for counts in self.targets.values()))

    @property
    def total(self) -> np.ndarray:
        """Targets of each bin over all buckets, float64 [K]."""
        summed: np.ndarray = sum(self.targets.values(), np.zeros(1))
        return summed

    def length_quantile(self, share: float) -> int:
        """Tokens of the shortest sequence such that it and shorter ones have this share of the
        trained targets: a quantile of the lengths, each weighed by its tokens. ValueError: no
        target was trained."""
        total = self.by_length.sum()
        if not total:
            raise ValueError("no target was trained")
        # A share that rounding left a hair above is still reached.
        return int(np.searchsorted(np.cumsum(self.by_length), share * total * (1 - 1e-12)))

    @property
    def targets_by_length(self) -> np.ndarray:
        """Targets by the length of their sequence, in the bins of `context`: float64 [K]."""
        bin_of = np.ceil(np.log2(np.maximum(1, np.arange(self.by_length.size)))).astype(np.int64)
        counts: np.ndarray = np.bincount(bin_of, self.by_length, minlength=self.context.size)
        return counts

    def as_dict(self) -> dict[str, Any]:
        """For JSON; counts are rounded."""
        return {
            "steps": self.steps,
            "context": self.context.tolist(),
            "targets": np.rint(self.total).astype(np.int64).tolist(),
            "targets_by_bucket": {
                str(length): np.rint(counts).astype(np.int64).tolist()
                for length, counts in self.targets.items()
            },
            "targets_by_length": np.rint(self.targets_by_length).astype(np.int64).tolist(),
            "length_p95": self.length_quantile(0.95) if self.by_length.any() else None,
        }


def total_exposure(phases: Sequence[Exposure]) -> Exposure:
    """Sums phases, whose lengths and bins may differ."""
    bins = max(each.context.size for each in phases)
    targets: dict[int, np.ndarray] = {}
    for each in phases:
        for length, counts in each.targets.items():
            targets.setdefault(length, np.zeros(bins))[: counts.size] += counts
    by_length = np.zeros(max(each.by_length.size for each in phases))
    for each in phases:
        by_length[: each.by_length.size] += each.by_length
    steps = sum(each.steps for each in phases)
    return Exposure(steps, {length: targets[length] for length in sorted(targets)}, by_length)


def exposure(layout: LayoutIndex, schedule: Schedule, trained: Sequence[range]) -> Exposure:
    """Exposure of a phase over the data steps of `trained`, disjoint ranges.

    Exact in finished epochs of a bucket, and wherever its rows are alike. The rows of an unfinished
    epoch count with the mean of their bucket, or of their stratum where strata are drawn at rates.
    """
    bins = max(layout.buckets).bit_length()
    targets = {length: np.zeros(bins) for length in schedule.lengths}
    by_length = np.zeros(max(layout.buckets) + 1)
    stretches = (stretch for steps in trained for stretch in _windows(layout, steps))
    for begin, end, window in stretches:
        before, after = schedule.rows_drawn(begin), schedule.rows_drawn(end)
        for length in schedule.lengths:
            bucket = layout.buckets[length]
            rows = np.bincount(
                bucket.groups.stratum, bucket.groups.count, minlength=len(layout.strata)
            )
            epochs = (after[length] - before[length]) / np.maximum(rows, 1)
            for share, segments in zip(epochs, bucket.segments, strict=True):
                if share:
                    targets[length] += share * _contexts(segments, window or length, bins)
                    _add_lengths(by_length, share, segments, window or length)
    return Exposure(sum(map(len, trained)), targets, by_length)


def epoch_exposure(layout: LayoutIndex) -> np.ndarray:
    """Targets of one pass over all rows by context, float64 [K], bins as in `Exposure`.

    A window stands at its full width, the row.
    """
    bins = max(layout.buckets).bit_length()
    counts = np.zeros(bins)
    for length, bucket in layout.buckets.items():
        for segments in bucket.segments:
            counts += _contexts(segments, length, bins)
    return counts


def _windows(layout: LayoutIndex, steps: range) -> Iterator[tuple[int, int, int | None]]:
    """Stretches [begin, end) of steps with the same window."""
    window_at = layout.config.kind.window_at
    begin = steps.start
    while begin < steps.stop:
        window = window_at(begin)
        # A window grows or shrinks, never both: the stretch ends at the first step with another.
        rest = range(begin, steps.stop)
        length = bisect.bisect_right(rest, 0, key=lambda at: window_at(at) != window)
        yield begin, begin + length, window
        begin += length


def _contexts(segments: SegmentCounts, window: int, bins: int) -> np.ndarray:
    """Targets by context of segments that are split into blocks of `window`: float64 [bins]."""
    full, rest = np.divmod(segments.targets, window)
    of_block = _block_contexts(np.array([window]), bins)[0]
    each = full[:, None] * of_block + _block_contexts(rest, bins)
    counts: np.ndarray = segments.count.astype(np.float64) @ each
    return counts


def _add_lengths(by_length: np.ndarray, share: float, segments: SegmentCounts, window: int) -> None:
    """Adds the targets of segments, split into blocks of `window`, at the lengths of the blocks."""
    full, rest = np.divmod(segments.targets, window)
    by_length[window] += share * float(full @ segments.count) * window
    np.add.at(by_length, rest, share * rest * segments.count)


def _block_contexts(targets: np.ndarray, bins: int) -> np.ndarray:
    """Number of the contexts 1 .. n in each bin, by n: int64 [N, bins]."""
    last = 1 << np.arange(bins)
    up_to = np.minimum(targets[:, None], last)
    return np.diff(up_to, axis=1, prepend=0)
