"""Layers whose tokens see those of their own chunk (Llama 4)."""

from dataclasses import dataclass

from lengthwise.common.settings import setting
from lengthwise.model.attention.mask_registry import MASKS
from lengthwise.model.attention.masks import Mask


@MASKS.register("chunks")
@dataclass(frozen=True)
class ChunkMask:
    """The tokens of the same stretch of `size`, with leading ones of the row beside them."""

    size: int = setting(8192, "[1, inf)")  # tokens a chunk
    sinks: int = setting(0, "[0, inf)")  # leading tokens that every query sees

    def mask(self) -> Mask:
        return Mask(chunk=self.size, sinks=self.sinks)
