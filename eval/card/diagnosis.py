"""What the controls of a task say about why it fails, over stretches of lengths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lengthwise.eval.prompts.diagnosis import Evidence, diagnose
from lengthwise.eval.prompts.prompt import Control
from lengthwise.eval.statistics.bootstrap import Resamples


@dataclass(frozen=True)
class Finding:
    """The same diagnosis at neighbouring tested lengths."""

    start: int  # tokens
    end: int
    words: str


def findings(
    lengths: Sequence[int], controls: Mapping[str, Resamples], l_train: int
) -> tuple[Finding, ...]:
    """controls: chance-corrected scores by control, the plain one included, all at `lengths`; what
    is no control of prompts is passed over. A task without those that the diagnosis asks for has
    no findings."""
    known = {Control(name): scores for name, scores in controls.items() if name in set(Control)}
    if not {Control.PLAIN, Control.NO_CONTEXT, Control.TRUNCATED} <= set(known):
        return ()
    found: list[Finding] = []
    for k, length in enumerate(lengths):
        words = diagnose(_evidence(known, lengths, k, l_train))
        if found and found[-1].words == words:
            found[-1] = Finding(found[-1].start, length, words)
        else:
            found.append(Finding(length, length, words))
    return tuple(found)


def _evidence(
    known: Mapping[Control, Resamples], lengths: Sequence[int], k: int, l_train: int
) -> Evidence:
    plain = known[Control.PLAIN]
    changes = {}
    for control, scores in known.items():
        beside = k
        if control == Control.FAR_POSITIONS and lengths[k] > l_train:
            beside = list(lengths).index(l_train)  # the prompts whose ids were moved
        (changes[control],) = scores.at(k).minus(plain.at(beside)).estimates()
    levels = {control: scores.estimates()[k] for control, scores in known.items()}
    return Evidence(levels, changes)
