"""Distances up to a ceiling: LM-Infinite and ReRoPE."""

from dataclasses import dataclass
from typing import Any, ClassVar

from lengthwise.common.settings import setting
from lengthwise.eval.methods.part import DISTANCES, METHODS, Lengths, Part, refuse


@METHODS.register("ceiling")
@dataclass(frozen=True)
class Ceiling(Part):
    """Distances count as the longest of the training, at most (LM-Infinite, arXiv:2308.16137)."""

    group: ClassVar[str] = DISTANCES
    title: ClassVar[str] = "distance ceiling"
    phrase: ClassVar[str] = "a ceiling on distances"
    note: ClassVar[str] = "distances beyond L_train count as the longest in it"

    def longest(self, lengths: Lengths) -> int:
        return lengths.l_train

    def scaling(self, lengths: Lengths) -> dict[str, Any]:
        return {"ceiling": lengths.l_train - 1}


@METHODS.register("rerope")
@dataclass(frozen=True)
class ReRope(Part):
    """Distances count as `window`, at most (Su, ReRoPE, 2023); InfLLM counts them so too."""

    group: ClassVar[str] = DISTANCES
    title: ClassVar[str] = "ReRoPE"
    phrase: ClassVar[str] = "rectified distances (ReRoPE)"
    note: ClassVar[str] = "distances count as those of a window, at most"

    window: int = setting(0, "[0, inf)")  # tokens; 0: half of L_train

    def longest(self, lengths: Lengths) -> int:
        return self._window(lengths) + 1

    def scaling(self, lengths: Lengths) -> dict[str, Any]:
        return {"ceiling": self._window(lengths)}

    def _window(self, lengths: Lengths) -> int:
        if self.window >= lengths.l_train:
            raise refuse(self, "window", f"must be below the training length {lengths.l_train}")
        return self.window or max(1, lengths.l_train // 2)
