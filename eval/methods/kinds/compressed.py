"""Far distances compressed into the trained range: SelfExtend and Leaky ReRoPE."""

from dataclasses import dataclass
from typing import Any, ClassVar

from lengthwise.common.settings import setting
from lengthwise.eval.methods.part import DISTANCES, METHODS, Lengths, Part, refuse


@dataclass(frozen=True)
class _Compressed(Part):
    group: ClassVar[str] = DISTANCES

    def near(self, lengths: Lengths, window: int, default: int) -> int:
        if window >= lengths.l_train:
            raise refuse(self, "window", f"must be below the training length {lengths.l_train}")
        return window or max(2, default)

    def longest(self, lengths: Lengths) -> int:
        return lengths.l_train


@METHODS.register("self_extend")
@dataclass(frozen=True)
class SelfExtend(_Compressed):
    """Distances d from `window` on count as floor(i / G) - floor(j / G) + W - floor(W / G)
    (arXiv:2401.01325)."""

    title: ClassVar[str] = "SelfExtend"
    phrase: ClassVar[str] = "grouped distances (SelfExtend)"
    note: ClassVar[str] = "far positions are those of groups of tokens, near ones their own"

    window: int = setting(0, "[0, inf)")  # tokens with their own distances; 0: L_train / 4
    # tokens a group; 0: the fewest that keep all distances within L_train
    group_size: int = setting(0, "[0, inf)")

    def scaling(self, lengths: Lengths) -> dict[str, Any]:
        window = self.near(lengths, self.window, lengths.l_train // 4)
        size = self.group_size or _smallest(window, lengths)
        if size > window:
            raise refuse(
                self, "group_size", f"makes groups of {size} tokens, more than window={window}"
            )
        return {"near": window, "grouped": size}


def _smallest(window: int, lengths: Lengths) -> int:
    """The smallest group under which no distance is beyond the training's; else the largest."""
    sizes = range(2, window + 1)
    longest = lengths.context - 1
    fits = (g for g in sizes if longest // g + window - window // g < lengths.l_train)
    return next(fits, window)


@METHODS.register("leaky_rerope")
@dataclass(frozen=True)
class LeakyReRope(_Compressed):
    """Distances d from `window` on count as w + (d - w) / k (Su, Leaky ReRoPE, 2023)."""

    title: ClassVar[str] = "Leaky ReRoPE"
    phrase: ClassVar[str] = "leaky rectified distances (Leaky ReRoPE)"
    note: ClassVar[str] = "distances beyond a window grow more slowly"

    window: int = setting(0, "[0, inf)")  # tokens with their own distances; 0: half of L_train
    leak: float = setting(0.0, "[0, inf)")  # k; 0: the least that keeps distances within L_train

    def scaling(self, lengths: Lengths) -> dict[str, Any]:
        window = self.near(lengths, self.window, lengths.l_train // 2)
        room = max(1, lengths.l_train - 1 - window)
        least = max(1.0, (lengths.context - 1 - window) / room)
        if self.leak and self.leak < 1:
            raise refuse(self, "leak", "must be at least 1, or 0 for what the length needs")
        return {"near": window, "leak": self.leak or least}
