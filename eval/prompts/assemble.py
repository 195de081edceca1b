"""Assembly of prompts of an exact number of tokens, with any tokenizer of text."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence

import numpy as np

from lengthwise.common.errors import UserError
from lengthwise.data.store.tokenizers import IdsTokenizer, Tokenizer
from lengthwise.eval.inference.continued_text import encode_behind
from lengthwise.eval.prompts.prompt import (
    Control,
    DoesNotFit,
    Material,
    Prompt,
    Prompting,
    PromptPart,
    PromptTask,
    Unaskable,
)
from lengthwise.eval.prompts.vocabulary import MISSES, vocabulary_of

# Raised when a task's prompts become others, so that a card pairs no old score with a new one.
GENERATION = 3
EASY_SENTENCE = "The sky is blue. "
NO_TOKENS = np.zeros(0, np.int32)
_CACHE = 65_536  # texts whose tokens are cached


class PromptMaker:
    """Assembles prompts; pieces of text are encoded one by one, each as text behind others, and
    joined as tokens.

    Args:
      prose: gives the sentences of the haystacks that are held-out text, when they are needed.
      shots: solved examples of few-shot prompts.
      prefix: int32 [n], tokens that every prompt begins with, as documents do.

    Raises UserError where the tokenizer has no text.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        l_train: int,
        prose: Callable[[], Sequence[str]] = tuple,
        shots: int = 2,
        prefix: np.ndarray = NO_TOKENS,
    ):
        if isinstance(tokenizer, IdsTokenizer):
            raise UserError(
                f"eval.tasks need a tokenizer of text, but data.tokenizer={tokenizer.describe()!r} "
                "has none; leave eval.tasks empty"
            )
        self._tokenizer = tokenizer
        self._l_train = l_train
        self._prose = prose
        self._shots = shots
        self._prefix = prefix
        self.encode = functools.lru_cache(maxsize=_CACHE)(self._encode)
        self._unknown = functools.lru_cache(maxsize=_CACHE)(tokenizer.unknown)

    def _encode(self, text: str) -> np.ndarray:
        try:
            return encode_behind(self._tokenizer, text).astype(np.int32)
        except UserError as error:  # an unknown word, and no token for unknown words
            raise Unaskable(str(error)) from error

    def _check_known(self, material: Material) -> None:
        """Raises Unaskable: facts, question or answers hold text that no token stands for."""
        answers = [text for each in material.answers for text in (each.lead, *each.candidates)]
        for text in (*material.needles, material.question, *answers):
            if unknown := self._unknown(text):
                raise Unaskable(f"the tokenizer has no token for {unknown[0]!r}")

    def prompts(
        self,
        task: PromptTask,
        length: int,
        count: int,
        seed: int,
        control: Control = Control.PLAIN,
        prompting: Prompting = Prompting.DIRECT,
        place: Callable[[int], float | int] | None = None,
    ) -> list[Prompt]:
        """Assembles `count` prompts; the i-th has the same facts under any control and prompting.

        place: number of a prompt -> where its needles stand instead of at random: a share of the
          filler before them (float), or the tokens between them and the question (int).

        Raises:
          DoesNotFit: one doesn't fit `length` tokens.
          Unaskable: the tokenizer can't give it.
          UserError: the corpus can't.
        """
        try:
            return self._prompts(task, length, count, seed, control, prompting, place)
        except Unaskable as error:
            name = self._tokenizer.describe()
            raise Unaskable(
                f"{task.name} can't be asked under data.tokenizer, {name}: {error}; use another "
                "tokenizer or leave it out"
            ) from error

    def _prompts(
        self,
        task: PromptTask,
        length: int,
        count: int,
        seed: int,
        control: Control,
        prompting: Prompting,
        place: Callable[[int], float | int] | None,
    ) -> list[Prompt]:
        name = int.from_bytes(task.name.encode(), "little")
        prompts = []
        for number in range(count):
            rng = np.random.default_rng([seed, length, number, name])
            words = vocabulary_of(rng, self.encode, self._prose)
            material = task.make(words)
            if place is not None:
                material = dataclasses.replace(material, depths=())
            examples = [task.make(words) for _ in range(self._shots * (prompting == "few_shot"))]
            at = None if place is None else place(number)
            prompts.append(self._prompt(task, length, control, prompting, material, examples, at))
        return prompts

    def misfit(self, task: PromptTask, length: int, count: int, seed: int) -> UserError | None:
        """Error of `prompts` for such prompts of `length` tokens; None: they fit."""
        try:
            self.prompts(task, length, count, seed)
        except UserError as error:
            return error
        return None

    def _prompt(
        self,
        task: PromptTask,
        length: int,
        control: Control,
        prompting: Prompting,
        material: Material,
        examples: Sequence[Material],
        place: float | int | None,
    ) -> Prompt:
        self._check_known(material)
        question = self.encode("\n" + material.question)  # behind a sentence that is cut
        steps = "\n" + material.scratchpad if prompting == Prompting.SCRATCHPAD else ""
        parts = self._parts(material, steps)
        opening, *more = [*map(_example, examples), material.intro]
        first = self._tokenizer.encode_batch([opening])[0].astype(np.int32)
        *shots, intro = [first, *map(self.encode, more)]
        fixed = question.size + parts[-1].lead.size + parts[-1].answer.size
        room = length - self._prefix.size - fixed - sum(one.size for one in shots)
        if place is None:
            context = self._context(material, intro, room, control)
        else:
            context = self._needles_at(material, intro, room, place)
        if context is None:
            raise DoesNotFit(f"a prompt of {task.name} doesn't fit {length} tokens")
        if control == Control.NO_CONTEXT:
            context, shots = context[:0], []
        tokens = np.concatenate([self._prefix, *shots, context, question])
        if control == Control.TRUNCATED:
            visible = self._l_train - (fixed - question.size)
            if visible <= question.size:
                raise DoesNotFit(
                    f"the question of {task.name} alone exceeds {self._l_train} tokens"
                )
            tokens = tokens[-visible:]
        depth = float(np.mean(material.depths)) if material.depths else 0.0
        return Prompt(tokens, tokens.size - question.size, parts, {"depth": depth})

    def _parts(self, material: Material, steps: str) -> tuple[PromptPart, ...]:
        """Requested answers; each lead holds everything between the question and it."""
        parts: list[PromptPart] = []
        lead = [self.encode(steps)] if steps else []
        for requested in material.answers:
            if requested.lead:
                lead.append(self.encode(requested.lead))
            answer, *wrong = map(self.encode, requested.candidates)
            _check_distinct(requested.candidates, (answer, *wrong))
            before = np.concatenate([answer[:0], *lead])
            parts.append(PromptPart(before, answer, tuple(wrong)))
            lead.append(answer)
        return tuple(parts)

    def _context(
        self, material: Material, intro: np.ndarray, room: int, control: Control
    ) -> np.ndarray | None:
        """[room] tokens: intro, filler and the needles between its sentences; None: no room."""
        needles = [self.encode(needle) for needle in material.needles]
        room -= intro.size + sum(needle.size for needle in needles)
        if room < 0:
            return None
        filler = (lambda: EASY_SENTENCE) if control == Control.EASY_FILLER else material.filler
        pieces = self._filling(filler, room)
        ends = np.cumsum([0, *(piece.size for piece in pieces)])
        depths = [1.0] * len(needles) if control == Control.DISTANCE_0 else material.depths
        joined: list[np.ndarray] = [intro]
        inserted = 0
        for needle, depth in zip(needles, depths, strict=True):
            before = int(np.searchsorted(ends, depth * room, side="right")) - 1
            joined += [*pieces[inserted:before], needle]
            inserted = before
        return np.concatenate([*joined, *pieces[inserted:]])

    def _needles_at(
        self, material: Material, intro: np.ndarray, room: int, place: float | int
    ) -> np.ndarray | None:
        """[room] tokens, the needles together at an exact place; None: no room."""
        # On a line of their own: the sentence before them is cut.
        needles = self.encode("\n" + "".join(material.needles))
        room -= intro.size + needles.size
        behind = place if isinstance(place, int) else room - round(place * room)
        if not 0 <= behind <= room:
            return None
        none = intro[:0]
        before = np.concatenate([none, *self._filling(material.filler, room - behind)])
        after = np.concatenate([none, *self._filling(material.filler, behind)])
        return np.concatenate([intro, before, needles, after])

    def _filling(self, filler: Callable[[], str], room: int) -> list[np.ndarray]:
        """Sentences of `room` tokens in all, the last one cut. Raises Unaskable: they have none."""
        pieces, filled, misses = [], 0, 0
        while filled < room:
            sentence = filler()
            pieces.append(self.encode(sentence)[: room - filled])
            filled += pieces[-1].size
            misses = 0 if pieces[-1].size else misses + 1
            if misses == MISSES:
                raise Unaskable(f"its filler has no tokens, such as {sentence!r}")
        return pieces


def _check_distinct(texts: Sequence[str], candidates: Sequence[np.ndarray]) -> None:
    """Raises Unaskable for candidates that aren't equally many tokens, or are the same ones."""
    first = dict[bytes, str]()
    for text, tokens in zip(texts, candidates, strict=True):
        if tokens.size != candidates[0].size or not tokens.size:
            raise Unaskable(f"{texts[0]!r} and {text!r} aren't equally many tokens, or have none")
        other = first.setdefault(tokens.tobytes(), text)
        if other != text:
            raise Unaskable(f"the answers {other!r} and {text!r} are the same tokens")


def _example(material: Material) -> str:
    """A solved prompt without filler."""
    context = material.intro + "".join(material.needles)
    answers = "".join(each.lead + each.candidates[0] for each in material.answers)
    return f"{context}\n{material.question}{answers}\n"
