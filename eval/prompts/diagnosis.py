"""Why a model fails at a task: by which control it succeeds. One rule."""

from collections.abc import Mapping

from eval.prompts.prompt import Control


def diagnose(above_chance: Mapping[Control, bool]) -> str:
    """What the controls say, in words.

    above_chance: whether the lower bound of the accuracy lies above chance, by control.
    """
    if above_chance[Control.PLAIN]:
        if above_chance[Control.NO_CONTEXT]:
            return "solved, but the question alone gives the answer away"
        if above_chance[Control.TRUNCATED]:
            return "above chance; the last L_train tokens are enough for that"
        return "above chance, and not without what is older than L_train tokens"
    if Control.DISTANCE_0 not in above_chance:
        return "at chance"
    if not above_chance[Control.DISTANCE_0]:
        return "at chance; prompt: also with the facts right before the question"
    if above_chance[Control.EASY_FILLER]:
        return "at chance; distractors: solved where the filler is one sentence repeated"
    return "at chance; positions: solved only where the facts are near"
