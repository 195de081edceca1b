"""Layers whose tokens see the last ones: a sliding window (Beltagy et al., arXiv:2004.05150)."""

from dataclasses import dataclass

from lengthwise.common.settings import setting
from lengthwise.model.attention.mask_registry import MASKS
from lengthwise.model.attention.masks import Mask


@MASKS.register("window")
@dataclass(frozen=True)
class WindowMask:
    """The last `size` tokens, with leading ones of the row beside them."""

    size: int = setting(4096, "[1, inf)")  # keys that a query sees, its own included
    sinks: int = setting(0, "[0, inf)")  # leading tokens that every query sees

    def mask(self) -> Mask:
        return Mask(window=self.size, sinks=self.sinks)
