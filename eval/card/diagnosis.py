"""What the controls of a task say about why it fails, over stretches of lengths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from eval.prompts.diagnosis import diagnose
from eval.prompts.prompt import Control
from eval.statistics import Resamples


@dataclass(frozen=True)
class Finding:
    """The same diagnosis at neighbouring tested lengths."""

    start: int  # tokens
    end: int
    words: str


def findings(lengths: Sequence[int], controls: Mapping[str, Resamples]) -> tuple[Finding, ...]:
    """controls: chance-corrected scores by control, the plain one included. A task without those
    that the diagnosis asks for has no findings."""
    known = {Control(name): scores.estimates() for name, scores in controls.items()}
    if not {Control.PLAIN, Control.NO_CONTEXT, Control.TRUNCATED} <= set(known):
        return ()
    found: list[Finding] = []
    for k, length in enumerate(lengths):
        words = diagnose({control: each[k].low > 0 for control, each in known.items()})
        if found and found[-1].words == words:
            found[-1] = Finding(found[-1].start, length, words)
        else:
            found.append(Finding(length, length, words))
    return tuple(found)
