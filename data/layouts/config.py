"""The settings of a layout."""

from dataclasses import dataclass

from lengthwise.common.errors import UserError
from lengthwise.data.layouts.mixture import resolve_mixture

LAYOUTS = ("decompose", "concat_and_chunk", "pack", "pad", "window", "whole")
TARGETS = ("all", "answers")
_BUCKETED = ("decompose", "whole")  # layouts with several lengths
CUTS = ("longest_first", "shuffled", "published")
TAILS = ("pack", "pad", "drop")
JOIN_ORDERS = ("random", "related")

# What a field says where it has no meaning, and the layouts where it has one.
_NEUTRAL = {
    "cut": ("longest_first", ("decompose",)),
    "tails": ("pack", ("decompose",)),
    "mixture": ("natural", ("decompose",)),
    "document_mask": (True, ("decompose", "concat_and_chunk", "pack", "window")),
    "join_order": ("random", ("concat_and_chunk", "window")),
    "window_start": (0, ("window",)),
    "window_rate": (0.0, ("window",)),
}


@dataclass(frozen=True)
class LayoutConfig:
    """Raises UserError when a field has no meaning."""

    name: str  # one of LAYOUTS
    targets: str  # one of TARGETS: all, or those in the answers of a task's samples
    smallest_bucket: int  # tokens, a power of two; decompose and whole
    largest_bucket: int  # tokens, a power of two; the one length of the other layouts
    cut: str  # decompose: one of CUTS
    tails: str  # decompose: one of TAILS
    mixture: str  # decompose: one of data.mixture.MIXTURES
    shares: tuple[float, ...]  # explicit mixture: share of targets a bucket, shortest first
    document_mask: bool  # documents that share a row don't see each other
    join_order: str  # concat_and_chunk, window: one of JOIN_ORDERS
    window_start: int  # window: keys at step 0
    window_rate: float  # window: keys more a step
    block_tokens: int  # tokens of a block, about: rows never leave theirs

    def __post_init__(self) -> None:
        choices = {
            "name": LAYOUTS,
            "targets": TARGETS,
            "cut": CUTS,
            "tails": TAILS,
            "join_order": JOIN_ORDERS,
        }
        for field, known in choices.items():
            value = getattr(self, field)
            if value not in known:
                raise UserError(f"unknown layout.{field} {value!r}: use one of {', '.join(known)}")
        for field in ("smallest_bucket", "largest_bucket"):
            length = getattr(self, field)
            if length < 1 or length & (length - 1):
                raise UserError(f"layout.{field} = {length} must be a power of two")
        if self.name in _BUCKETED and self.smallest_bucket > self.largest_bucket:
            raise UserError(
                f"layout.smallest_bucket = {self.smallest_bucket} is above "
                f"layout.largest_bucket = {self.largest_bucket}: exchange them"
            )
        for field, (neutral, layouts) in _NEUTRAL.items():
            value = getattr(self, field)
            if value != neutral and self.name not in layouts:
                raise UserError(
                    f"layout.{field} = {value!r} is only for layout.name = {' | '.join(layouts)}, "
                    f"not {self.name!r}: set it to {neutral!r} or change the layout"
                )
        self._check_decompose()
        if self.name == "window" and (self.window_start < 1 or self.window_rate < 0):
            raise UserError(
                f"layout.window_start = {self.window_start} must be at least 1 key and "
                f"layout.window_rate = {self.window_rate} not negative (keys a step)"
            )
        if self.block_tokens < self.largest_bucket:
            raise UserError(
                f"layout.block_tokens = {self.block_tokens} is below layout.largest_bucket = "
                f"{self.largest_bucket}: rows never leave their block"
            )

    def _check_decompose(self) -> None:
        if not self.document_mask and self.name == "decompose" and self.tails != "pack":
            raise UserError(
                f"layout.document_mask = False is only for tails that share rows, not for "
                f"layout.tails = {self.tails!r}: set it to True or layout.tails to 'pack'"
            )
        if self.cut == "published" and (self.tails != "drop" or self.mixture != "natural"):
            raise UserError(
                "layout.cut = 'published' drops tails and takes buckets as they come: "
                "set layout.tails to 'drop' and layout.mixture to 'natural'"
            )
        resolve_mixture(self.mixture, self.shares, len(self.lengths))

    @property
    def lengths(self) -> tuple[int, ...]:
        """The bucket lengths, ascending."""
        if self.name not in _BUCKETED:
            return (self.largest_bucket,)
        exponents = range(self.smallest_bucket.bit_length(), self.largest_bucket.bit_length() + 1)
        return tuple(2 ** (exponent - 1) for exponent in exponents)


def window_at(config: LayoutConfig, step: int) -> int | None:
    """Keys that a query of step `step` of the phase may see at most, itself included.

    Segments are split into blocks of so many tokens, counted from the segment's start, which don't
    see each other. It grows linearly as in SkyLadder (arXiv 2503.15450, w(t) = w_s + rate * t), up
    to the row. There blocks are counted from the start of the row, which is the same without a
    document mask; with one, ours cut no document that is shorter than the window.

    Returns: None where the layout has no window, or it has reached the row.
    """
    if config.name != "window":
        return None
    window = config.window_start + int(config.window_rate * step)
    return None if window >= config.largest_bucket else window
