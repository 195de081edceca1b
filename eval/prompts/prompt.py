"""A prompt with its answers, and what a task says before it is assembled."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np


class Control(enum.StrEnum):
    """How a prompt is made easier, to see why a model fails at the plain one."""

    PLAIN = "plain"
    NO_CONTEXT = "no_context"  # the question alone: what guessing is worth
    TRUNCATED = "truncated"  # the last L_train tokens alone
    DISTANCE_0 = "distance_0"  # what is asked for stands right before the question
    EASY_FILLER = "easy_filler"  # one sentence repeated instead of the filler


@dataclass(frozen=True)
class Prompt:
    """Plain prompts and those of other filler have exactly the length that was asked for."""

    tokens: np.ndarray  # int32 [n], context and question
    answer: np.ndarray  # int32 [m]
    distractors: tuple[np.ndarray, ...]  # wrong answers, int32 [m] each: as many tokens
    tags: Mapping[str, float]

    @property
    def chance(self) -> float:
        """Probability that a guess among the candidates is right."""
        return 1 / (1 + len(self.distractors))


@dataclass(frozen=True)
class Material:
    """The text of one prompt, before filler brings it to a length."""

    intro: str
    needles: tuple[str, ...]  # in their order of appearance
    depths: tuple[float, ...]  # of the needles, ascending, share of the filler before each
    filler: Callable[[], str]  # the next sentence of the haystack
    question: str  # ends right before the answer
    candidates: tuple[str, ...]  # the answer, then the distractors


class Draw(Protocol):
    """Random names of one kind, all different and of equally many tokens."""

    def __call__(self, count: int) -> list[str]: ...


@dataclass(frozen=True)
class PromptTask:
    """One task.

    Placed by how hard what it asks for is to find (dispersion) and how much there is of it (scope),
    as arXiv 2407.00402 has it.
    """

    name: str
    dispersion: str  # low | mid | high
    scope: str  # low | mid | high
    make: Callable[[np.random.Generator, Draw, Draw], Material]  # (rng, keys, values)
    # Answers that follow from all of the filler change with it: no control by needles or filler.
    aggregates: bool = False

    @property
    def controls(self) -> tuple[Control, ...]:
        if self.aggregates:
            return Control.PLAIN, Control.NO_CONTEXT, Control.TRUNCATED
        return tuple(Control)
