"""SkyLadder (arXiv 2503.15450): concatenate-and-chunk under an attention window that grows."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from lengthwise.common.errors import UserError
from lengthwise.data.layouts.accounting import BucketAccount
from lengthwise.data.layouts.config import LAYOUTS, LayoutConfig
from lengthwise.data.layouts.kinds.concat_and_chunk import ConcatAndChunk


@LAYOUTS.register("window")
@dataclass(frozen=True)
class Window(ConcatAndChunk):
    options = ConcatAndChunk.options | {"window_start", "window_rate"}

    def check(self) -> None:
        super().check()
        config = self.config
        if config.window_start < 1:
            raise UserError(f"layout.window_start = {config.window_start} must be at least 1 key")

    @property
    def row_settings(self) -> LayoutConfig:
        return replace(self.config, window_start=1, window_rate=0.0)

    def segmented(self, several: bool) -> bool:
        return True

    def window_at(self, step: int) -> int | None:
        """See `Layout.window_at`; None once the window has reached the row.

        Segments are split into blocks of so many tokens, counted from the segment's start, which
        don't see each other. The window grows linearly, w(t) = w_s + rate * t, up to the row; at a
        negative rate it falls, and ends at 1. In SkyLadder blocks are counted from the start of the
        row, which is the same without a document mask; with one, ours cut no document that is
        shorter than the window.
        """
        window = max(1, self.config.window_start + math.floor(self.config.window_rate * step))
        return None if window >= self.config.largest_bucket else window

    def notes(self, buckets: Sequence[BucketAccount], dropped: int) -> Iterator[str]:
        yield from super().notes(buckets, dropped)
        yield (
            "the window changes: contexts above are those of the whole row of "
            f"{self.config.largest_bucket}"
        )
