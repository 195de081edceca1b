"""STRING: far distances shifted to nearer ones, which training saw more often."""

from dataclasses import dataclass
from typing import Any, ClassVar

from lengthwise.common.settings import setting
from lengthwise.eval.methods.part import DISTANCES, METHODS, Lengths, Part


@METHODS.register("string")
@dataclass(frozen=True)
class String(Part):
    """Distances d from S on count as d - S + W (arXiv:2410.18745)."""

    group: ClassVar[str] = DISTANCES
    title: ClassVar[str] = "STRING"
    phrase: ClassVar[str] = "shifted positions (STRING)"
    note: ClassVar[str] = (
        "far distances shifted to nearer ones, so that the longest is about half the context"
    )

    shift: int = setting(0, "[0, inf)")  # S, tokens; 0: the longest distance is about halved
    window: int = setting(0, "[0, inf)")  # W, tokens; 0: L_train / 16

    def longest(self, lengths: Lengths) -> int:
        shift, window = self._shift(lengths), self._window(lengths)
        return max(shift, lengths.context - shift + window) if self.shift else shift

    def scaling(self, lengths: Lengths) -> dict[str, Any]:
        return {"shift": self._shift(lengths), "shift_kept": self._window(lengths)}

    def _window(self, lengths: Lengths) -> int:
        return self.window or max(1, lengths.l_train // 16)

    def _shift(self, lengths: Lengths) -> int:
        # Near distances end at shift - 1 and shifted ones at context - 1 - shift + window: this
        # shift makes the longest of them all the shortest.
        return self.shift or -(-(lengths.context + self._window(lengths)) // 2)
