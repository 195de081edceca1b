"""Masks that never show more than L_train keys."""

from dataclasses import dataclass
from typing import ClassVar

from lengthwise.common.errors import UserError
from lengthwise.common.settings import setting
from lengthwise.eval.methods.part import MASK, METHODS, Lengths, Part, refuse
from lengthwise.model.attention.masks import Mask


@dataclass(frozen=True)
class _Near(Part):
    group: ClassVar[str] = MASK
    needs_rope: ClassVar[bool] = False

    size: int = setting(0, "[0, inf)")  # keys that a query sees, at most; 0: L_train

    def keys(self, lengths: Lengths) -> int:
        if self.size > lengths.l_train:
            raise refuse(self, "size", f"is beyond the training length of {lengths.l_train}")
        return self.size or lengths.l_train

    def longest(self, lengths: Lengths) -> int:
        return self.keys(lengths)


@METHODS.register("window")
@dataclass(frozen=True)
class NearWindow(_Near):
    """A sliding window (arXiv:2004.05150)."""

    title: ClassVar[str] = "Sliding window"
    phrase: ClassVar[str] = "a sliding window"
    note: ClassVar[str] = "attention sees the last L_train tokens, in each layer"

    def mask(self, lengths: Lengths) -> Mask:
        return Mask(window=self.keys(lengths))


@METHODS.register("chunks")
@dataclass(frozen=True)
class Chunks(_Near):
    """The chunks of Llama 4."""

    title: ClassVar[str] = "Chunks"
    phrase: ClassVar[str] = "chunked attention"
    note: ClassVar[str] = "attention sees its own stretch of L_train tokens"

    def mask(self, lengths: Lengths) -> Mask:
        return Mask(chunk=self.keys(lengths))


@METHODS.register("lambda")
@dataclass(frozen=True)
class Lambda(_Near):
    """The Lambda mask of LM-Infinite (arXiv:2308.16137)."""

    title: ClassVar[str] = "Lambda mask"
    phrase: ClassVar[str] = "the Lambda mask"
    note: ClassVar[str] = (
        "attention sees the first tokens (sinks) and a window, L_train tokens in all"
    )

    sinks: int = setting(-1, "[-1, inf)")  # first tokens; -1: eval.sinks

    def longest(self, lengths: Lengths) -> int:
        return lengths.longest  # sinks are as far as they are

    def mask(self, lengths: Lengths) -> Mask:
        sinks, keys = self.sinks, self.keys(lengths)
        if sinks < 0:
            sinks = lengths.sinks
        if not 0 <= sinks < keys:
            field = "eval.sinks" if self.sinks < 0 else "the method's sinks"
            raise UserError(
                f"{field} is {sinks}, but the Lambda mask shows {keys} tokens in all; "
                f"choose 0 to {keys - 1}"
            )
        return Mask(window=keys - sinks, sinks=sinks)
