"""Layers whose tokens see all earlier ones."""

from dataclasses import dataclass

from lengthwise.model.attention.mask_registry import MASKS
from lengthwise.model.attention.masks import CAUSAL, Mask


@MASKS.register("full")
@dataclass(frozen=True)
class FullMask:
    """All earlier tokens."""

    def mask(self) -> Mask:
        return CAUSAL
