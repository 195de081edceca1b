"""Best-fit packing (Ding et al., arXiv 2404.10830): documents share rows of one length."""

from lengthwise.data.layouts.config import register
from lengthwise.data.layouts.kinds.decompose import Decompose


@register
class Pack(Decompose):
    """Decomposition into a single bucket: all that is not cut off a longer document is a tail."""

    name = "pack"
    options = frozenset({"document_mask"})
    bucketed = False

    @property
    def tails(self) -> str:
        return "pack"
