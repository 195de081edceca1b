"""Padding: one document a row of the one length; longer documents are cut."""

from dataclasses import dataclass

from lengthwise.data.layouts.config import LAYOUTS
from lengthwise.data.layouts.kinds.decompose import Decompose


@LAYOUTS.register("pad")
@dataclass(frozen=True)
class Pad(Decompose):
    """Decomposition into a single bucket: all that is not cut off a longer document is a tail."""

    options = frozenset()
    bucketed = False

    @property
    def tails(self) -> str:
        return "pad"
