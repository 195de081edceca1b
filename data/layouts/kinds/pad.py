"""Padding: one document a row of the one length; longer documents are cut."""

from lengthwise.data.layouts.config import register
from lengthwise.data.layouts.kinds.decompose import Decompose


@register
class Pad(Decompose):
    """Decomposition into a single bucket: all that is not cut off a longer document is a tail."""

    name = "pad"
    options = frozenset()
    bucketed = False

    @property
    def tails(self) -> str:
        return "pad"
