"""Diagnosis of failures at a task by its controls: one rule.

All of it is by intervals. A score is above chance where its interval lies above, at chance where it
lies below NEGLIGIBLE, and unclear else: 40 prompts tell a model that is right 40 % of the time
neither from one that guesses among four nor from a good one. Whether a control changes a score is
asked in pairs, of the same prompts.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lengthwise.eval.prompts.prompt import Control
from lengthwise.eval.statistics.bootstrap import Estimate, Resamples

# Share of the way from chance to perfect; of four candidates, right 40 % of the time.
NEGLIGIBLE = 0.2


class Level(enum.StrEnum):
    """Position of a score relative to chance."""

    ABOVE = "above chance"
    AT = "at chance"
    UNCLEAR = "inconclusive"


@dataclass(frozen=True)
class Evidence:
    """Chance-corrected scores of all controls at one length."""

    scores: Mapping[Control, Estimate]  # the plain one among them
    # The score of the control minus that of the plain prompts, in pairs. For FAR_POSITIONS minus
    # that of the same short prompts, their position ids as they are.
    changes: Mapping[Control, Estimate]

    def level(self, control: Control) -> Level:
        score = self.scores[control]
        if score.low > 0:
            return Level.ABOVE
        return Level.AT if score.high < NEGLIGIBLE else Level.UNCLEAR

    def helps(self, control: Control) -> bool:
        return control in self.changes and self.changes[control].low > 0

    def hurts(self, control: Control) -> bool:
        return control in self.changes and self.changes[control].high < 0


def diagnose(evidence: Evidence) -> str:
    """Diagnosis in words: how the model fares, and what it loses by."""
    level = evidence.level(Control.PLAIN)
    if level == Level.ABOVE and evidence.level(Control.NO_CONTEXT) == Level.ABOVE:
        return "solved in part, but the question alone gives the answer away"
    outcome = str(level)
    if level == Level.ABOVE:
        outcome += _reach(evidence)
    loss = _loss(evidence)
    return f"{outcome}; {loss}" if loss else outcome


def _reach(evidence: Evidence) -> str:
    """Whether older text than the last L_train tokens is used."""
    if evidence.hurts(Control.TRUNCATED):
        return ", and the worse without what is older than L_train tokens"
    if evidence.level(Control.TRUNCATED) == Level.ABOVE:
        return "; the last L_train tokens are enough for that"
    return ", whether by older text than the last L_train tokens is inconclusive"


def _loss(evidence: Evidence) -> str:
    """Why it is not better. Empty: nothing shows that it could be, by near facts."""
    if Control.DISTANCE_0 in evidence.scores and not evidence.helps(Control.DISTANCE_0):
        if evidence.level(Control.PLAIN) == Level.ABOVE:
            return ""
        if evidence.level(Control.DISTANCE_0) == Level.AT:
            return "prompt: also with the facts right before the question"
        return "why is inconclusive" if evidence.level(Control.PLAIN) == Level.AT else ""
    causes = []
    if evidence.hurts(Control.FAR_POSITIONS):
        causes.append("positions: a short prompt fails with far position ids")
    if evidence.helps(Control.EASY_FILLER):
        causes.append("distractors: solved better where the filler is one sentence repeated")
    if causes:
        return "; ".join(causes)
    if Control.DISTANCE_0 in evidence.scores:
        return "solved better where the facts are near; whether by positions is inconclusive"
    return ""  # counts over all of the input have no nearer facts


@dataclass(frozen=True)
class Finding:
    """The same diagnosis at neighbouring tested lengths."""

    start: int  # tokens
    end: int
    words: str


def findings(
    lengths: Sequence[int], controls: Mapping[str, Resamples], l_train: int
) -> tuple[Finding, ...]:
    """Diagnoses over stretches of lengths; none for a task without the controls that it takes.

    controls: chance-corrected scores by control, the plain one included, all at `lengths`; those
      that are no control of prompts are skipped.
    """
    known = {Control(name): scores for name, scores in controls.items() if name in set(Control)}
    if not {Control.PLAIN, Control.NO_CONTEXT, Control.TRUNCATED} <= set(known):
        return ()
    stretches: list[Finding] = []
    for k, length in enumerate(lengths):
        words = diagnose(_evidence(known, lengths, k, l_train))
        if stretches and stretches[-1].words == words:
            stretches[-1] = Finding(stretches[-1].start, length, words)
        else:
            stretches.append(Finding(length, length, words))
    return tuple(stretches)


def _evidence(
    known: Mapping[Control, Resamples], lengths: Sequence[int], k: int, l_train: int
) -> Evidence:
    plain = known[Control.PLAIN]
    changes = {}
    for control, scores in known.items():
        reference = k
        if control == Control.FAR_POSITIONS and lengths[k] > l_train:
            reference = list(lengths).index(l_train)  # the prompts whose ids were moved
        (changes[control],) = scores.at(k).minus(plain.at(reference)).estimates()
    levels = {control: scores.estimates()[k] for control, scores in known.items()}
    return Evidence(levels, changes)
