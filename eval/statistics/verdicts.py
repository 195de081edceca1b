"""Verdicts on contexts beyond the training length.

The number to beat is *truncation*: the plain model, the same targets, the context cut to the
last L_train tokens. The gain of a method at context c is

    gain(c) = NLL(plain, L_train) - NLL(method, c)      in nats/token, on the same targets,

with a paired, document-clustered interval. A context c > L_train is

    useful                      where the interval lies above zero: the text beyond L_train helps,
    worse                       where it lies below zero: cutting the context off would be better,
    no difference detectable    where it touches zero: safe only, and no evidence of use.

The *useful length* of a method is the longest tested context c such that every tested context in
(L_train, c] is useful; it is L_train itself where already the first is not. Testing lengths in
ascending order and stopping at the first that fails keeps the chance of a false "useful" length
at that of a single test (fixed-sequence testing). A useful length equal to the longest tested
context is censored: the true one may be longer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from lengthwise.eval.statistics.bootstrap import Estimate
from lengthwise.eval.statistics.reach import reach


class Verdict(StrEnum):
    """Comparison of a context with truncation to L_train."""

    USEFUL = "useful"
    WORSE = "worse"
    NO_DIFFERENCE = "no difference detectable"


@dataclass(frozen=True)
class UsefulLength:
    """Longest context up to which every tested one is useful.

    tokens: L_train or longer. censored: all tested contexts were useful.
    """

    tokens: int
    censored: bool


def verdict(gain: Estimate) -> Verdict:
    """Verdict on a gain over truncation, in nats/token; positive: the longer context helps."""
    if gain.low > 0:
        return Verdict.USEFUL
    if gain.high < 0:
        return Verdict.WORSE
    return Verdict.NO_DIFFERENCE


def useful_by_verdicts(verdicts: Mapping[int, Verdict], l_train: int) -> UsefulLength:
    """Useful length by the verdict at each context, in tokens; those up to l_train are ignored."""
    beyond = sorted(context for context in verdicts if context > l_train)
    useful = [verdicts[context] is Verdict.USEFUL for context in beyond]
    reached = reach([l_train, *beyond], [True, *useful])
    return UsefulLength(reached.tokens or l_train, censored=bool(beyond) and all(useful))
