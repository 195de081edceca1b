"""Best-fit packing (Ding et al., arXiv 2404.10830): documents share rows of one length."""

from dataclasses import dataclass

from lengthwise.data.layouts.config import LAYOUTS
from lengthwise.data.layouts.kinds.decompose import Decompose


@LAYOUTS.register("pack")
@dataclass(frozen=True)
class Pack(Decompose):
    """Decomposition into a single bucket: all that is not cut off a longer document is a tail."""

    options = frozenset({"document_mask"})
    bucketed = False

    @property
    def tails(self) -> str:
        return "pack"
