"""Prompts, and the material of a task that they are assembled from."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from lengthwise.common.errors import UserError


class DoesNotFit(UserError):
    """A prompt takes more tokens than it may have: a longer one would do."""


class Unaskable(UserError):
    """A task's text has no tokens of its own under the tokenizer: another task may be asked."""


class Control(enum.StrEnum):
    """Variant of a prompt that tells why a model fails at the plain one."""

    PLAIN = "plain"
    NO_CONTEXT = "no_context"  # the question alone: what guessing is worth
    TRUNCATED = "truncated"  # the last L_train tokens alone
    DISTANCE_0 = "distance_0"  # what is asked for stands right before the question
    EASY_FILLER = "easy_filler"  # one sentence repeated instead of the filler
    # The prompt of L_train tokens, its question at the position ids that it has in the long one:
    # as far from the facts as there, and nothing more in between than in training.
    FAR_POSITIONS = "far_positions"


class Prompting(enum.StrEnum):
    """Way of prompting: examples or steps around the question."""

    DIRECT = "direct"
    FEW_SHOT = "few_shot"  # solved examples before everything
    SCRATCHPAD = "scratchpad"  # the steps up to the last one, behind the question


@dataclass(frozen=True)
class PromptPart:
    """One requested answer of a prompt, with its distractors."""

    lead: np.ndarray  # int32 [n], what stands between question and answer: earlier answers, steps
    answer: np.ndarray  # int32 [m]
    distractors: tuple[np.ndarray, ...]  # wrong answers, int32 [m] each: as many tokens

    @property
    def candidates(self) -> tuple[np.ndarray, ...]:
        return self.answer, *self.distractors


@dataclass(frozen=True)
class Prompt:
    """An assembled prompt; under PLAIN and EASY_FILLER of exactly the requested length."""

    tokens: np.ndarray  # int32 [n], context and question
    question_at: int  # column of the question's first token
    parts: tuple[PromptPart, ...]
    tags: Mapping[str, float]

    @property
    def size(self) -> int:
        """Tokens, with the last answer."""
        last = self.parts[-1]
        return self.tokens.size + last.lead.size + last.answer.size

    @property
    def chance(self) -> float:
        """Share of the parts that a guess among the candidates gets right."""
        return float(np.mean([1 / (1 + len(part.distractors)) for part in self.parts]))


@dataclass(frozen=True)
class Answer:
    """Text of one requested answer."""

    candidates: tuple[str, ...]  # the answer, then the distractors
    lead: str = ""  # what stands between the answer before and this one


@dataclass(frozen=True)
class Material:
    """Text of one prompt, before filler brings it to a length."""

    intro: str
    needles: tuple[str, ...]  # in their order of appearance
    depths: tuple[float, ...]  # of the needles, ascending, share of the filler before each
    filler: Callable[[], str]  # the next sentence of the haystack
    question: str  # ends right before the answer
    answers: tuple[Answer, ...]
    scratchpad: str  # all steps but the last; ends right before the first answer, as the question


class WordSampler(Protocol):
    """Random names of one kind, of equally many tokens and no two of the same ones."""

    def __call__(self, count: int) -> list[str]: ...


@dataclass(frozen=True)
class Vocabulary:
    """Vocabulary of one prompt, drawn by its random generator."""

    rng: np.random.Generator
    keys: WordSampler  # invented words
    values: WordSampler  # numbers
    codes: WordSampler  # codes of 32 hexadecimal digits, in five groups
    prose: Callable[[], str]  # the next sentence of held-out text
    encode: Callable[[str], np.ndarray]  # int32 [n], tokens of a text

    def size(self, text: str) -> int:
        """Number of tokens of a text."""
        return self.encode(text).size

    def equal(self, sets: tuple[tuple[str, ...], ...]) -> tuple[str, ...]:
        """First of several sets of words that have equally many tokens, and not the same ones.

        Raises Unaskable: none has.
        """
        for words in sets:
            encoded = [self.encode(word) for word in words]
            distinct = len({tokens.tobytes() for tokens in encoded}) == len(words)
            if distinct and len({tokens.size for tokens in encoded}) == 1:
                return words
        named = " or ".join(",".join(words) for words in sets)
        raise Unaskable(f"the tokenizer gives{named} different numbers of tokens, or the same ones")


@dataclass(frozen=True)
class PromptTask:
    """One task on long inputs.

    Classified as in arXiv 2407.00402: how hard the requested information is to find (dispersion),
    and how much of it there is (scope).
    """

    name: str
    dispersion: str  # low | mid | high
    scope: str  # low | mid | high
    make: Callable[[Vocabulary], Material]
    # Answers that follow from all of the filler change with it: no control by needles or filler.
    aggregates: bool = False
    stand_in: bool = False  # invented text in the place of a published data set

    @property
    def __wrapped__(self) -> Callable[[Vocabulary], Material]:
        """The function that the task is made of: the task's origin is that of the function."""
        return self.make

    @property
    def controls(self) -> tuple[Control, ...]:
        """Controls of its prompts; eval/scoring/prompts.py makes the one by position ids."""
        if self.aggregates:
            return Control.PLAIN, Control.NO_CONTEXT, Control.TRUNCATED, Control.FAR_POSITIONS
        return tuple(Control)
