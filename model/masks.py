"""The one definition of which key a query may see.

The dense path, the blockwise path and the reference in the tests all call `Mask.allowed`, so that
there is one place where "a window of W" or "the same document" is decided.
"""

from dataclasses import dataclass
from typing import Any

from errors import UserError

Array = Any  # numpy or jax array: `allowed` uses only operators that both have


@dataclass(frozen=True)
class Mask:
    """A causal mask, optionally with a sliding window and attention sinks.

    Hashable, and so usable as a static argument: one executable belongs to one mask.
    """

    window: int | None  # keys a query sees, itself included; None: all earlier ones
    sinks: int  # leading tokens of the row that every later query sees besides its window

    def __post_init__(self) -> None:
        if self.window is not None and self.window < 1:
            raise UserError(f"mask window must be at least 1 key, got {self.window}")
        if self.sinks < 0:
            raise UserError(f"mask sinks must not be negative, got {self.sinks}")
        if self.sinks and self.window is None:
            raise UserError(f"mask sinks={self.sinks} need a window: without one all is visible")

    def allowed(
        self,
        q_index: Array,
        k_index: Array,
        q_segment: Array | None = None,
        k_segment: Array | None = None,
    ) -> Array:
        """True where the query may see the key; all arguments broadcast against each other.

        `q_index`, `k_index` are indices in the row (not positions: those may restart or skip).
        With segments, only keys of the query's own segment are visible, and segment 0 is padding,
        which neither sees nor is seen. Sinks are the first tokens of the row, after LM-Infinite
        (arXiv:2308.16137) and StreamingLLM (arXiv:2309.17453); segments still apply to them.
        """
        visible = k_index <= q_index
        if self.window is not None:
            near = k_index > q_index - self.window
            if self.sinks:
                near = near | (k_index < self.sinks)
            visible = visible & near
        if q_segment is not None and k_segment is not None:
            visible = visible & (q_segment == k_segment) & (k_segment > 0)
        return visible
