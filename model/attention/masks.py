"""The one definition of attention masks, for all backends.

The dense path, the blockwise path, the kernels' masks and the reference in the tests all call
`Mask.allowed`, so that "a window of W" or "the same document" is defined once. `mask_blocks` has
its closed form for whole blocks. Sinks with a window are the Lambda mask of LM-Infinite.
"""

from dataclasses import dataclass
from typing import Any

from lengthwise.common.errors import UserError

Array = Any  # numpy or jax array: `allowed` uses only operators that both have


@dataclass(frozen=True)
class Mask:
    """A causal mask; with a window or chunks, and sinks before them; or with a prefix.

    Hashable, and so usable as a static argument: one executable belongs to one mask.
    """

    window: int | None = None  # keys a query sees, itself included; None: all earlier ones
    # leading tokens of the row that every later query of their document sees besides
    sinks: int = 0
    chunk: int | None = None  # a query sees only its own stretch of this many tokens of the row
    prefix: int = 0  # leading tokens of the row that see each other both ways

    def __post_init__(self) -> None:
        for name in ("window", "chunk"):
            size = getattr(self, name)
            if size is not None and size < 1:
                raise UserError(f"mask {name} must be at least 1 key, got {size}")
        for name in ("sinks", "prefix"):
            if getattr(self, name) < 0:
                raise UserError(f"mask {name} must not be negative, got {getattr(self, name)}")
        if self.window is not None and self.chunk is not None:
            raise UserError("a mask has a window or chunks, not both; drop one of them")
        if self.sinks and self.window is None and self.chunk is None:
            raise UserError(
                f"mask sinks={self.sinks} need a window or chunks: without them all is visible"
            )
        if self.prefix and (self.window is not None or self.chunk is not None):
            raise UserError(f"mask prefix={self.prefix} goes with neither window nor chunks")

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
        (arXiv:2308.16137) and StreamingLLM (arXiv:2309.17453); chunks are those of Llama 4; the
        prefix is T5's prefix LM (arXiv:1910.10683). Segments still apply to all of them.
        """
        visible = k_index <= q_index
        if self.limited:
            near = k_index >= self.first_key(q_index)
            visible = visible & (near | (k_index < self.sinks) if self.sinks else near)
        if self.prefix:
            visible = visible | ((q_index < self.prefix) & (k_index < self.prefix))
        if q_segment is not None and k_segment is not None:
            visible = visible & (q_segment == k_segment) & (k_segment > 0)
        return visible

    @property
    def limited(self) -> bool:
        """Whether queries see only near keys, and sinks."""
        return self.window is not None or self.chunk is not None

    def first_key(self, q_index: Array) -> Array:
        """First near key of the query, by window or chunk; it may be negative.

        Subclasses with another one are `limited`; it must not fall from a query to the next.
        """
        if self.window is not None:
            return q_index - self.window + 1
        if self.chunk is not None and self.chunk_is_power_of_two:
            return q_index & -self.chunk  # without a division, which kernels may lack
        if self.chunk is not None:
            return q_index // self.chunk * self.chunk
        return q_index * 0

    def within(self, layer: "Mask") -> "Mask":
        """What both masks show, this one of the pass and that of a layer.

        Raises:
          UserError: no mask shows just that.
        """
        if self in (layer, CAUSAL):
            return layer
        if layer == CAUSAL:
            return self
        if type(self) is type(layer) is Mask and self.window and layer.window:
            if not self.sinks and not layer.sinks:
                return Mask(window=min(self.window, layer.window))
            if layer.window <= self.window and not layer.sinks:
                return layer  # a sink that is farther away is not in the layer's window
        raise UserError(
            f"the mask {self} and that of a layer, {layer}, have no mask in common; leave out the "
            "method, or change model.layer_pattern"
        )

    @property
    def chunk_is_power_of_two(self) -> bool:
        return self.chunk is not None and self.chunk & (self.chunk - 1) == 0

    def __str__(self) -> str:
        sinks = f" + {self.sinks} sinks" if self.sinks else ""
        if self.window is not None:
            return f"window {self.window}{sinks}"
        if self.chunk is not None:
            return f"chunks of {self.chunk}{sinks}"
        return f"prefix {self.prefix}" if self.prefix else "causal"


CAUSAL = Mask()
