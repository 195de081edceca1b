"""Prompts of an exact number of tokens, with any tokenizer of text."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from data.tokenizers import IdsTokenizer, Tokenizer
from errors import UserError
from eval.prompts.prompt import Control, Draw, Material, Prompt, PromptTask

EASY_SENTENCE = "The sky is blue. "
SYLLABLES = ("ba", "de", "fi", "go", "lu", "ma", "ne", "pi", "ro", "su", "ta", "ve", "wi", "zo")


class PromptMaker:
    """Makes prompts; pieces of text are encoded one by one and joined as tokens.

    Raises UserError where the tokenizer has no text.
    """

    def __init__(self, tokenizer: Tokenizer, l_train: int):
        if isinstance(tokenizer, IdsTokenizer):
            raise UserError(
                f"eval.tasks need a tokenizer of text, but data.tokenizer={tokenizer.describe()!r} "
                "has none; leave eval.tasks empty"
            )
        self._tokenizer = tokenizer
        self._l_train = l_train
        self.encode = functools.lru_cache(maxsize=65_536)(self._encode)

    def _encode(self, text: str) -> np.ndarray:
        return self._tokenizer.encode_batch([text])[0].astype(np.int32)

    def prompts(
        self, task: PromptTask, length: int, count: int, seed: int, control: Control
    ) -> list[Prompt]:
        """`count` prompts; the i-th follows from (task, length, seed, i), whatever the control.

        Raises:
          UserError: one doesn't fit `length` tokens.
        """
        name = int.from_bytes(task.name.encode(), "little")
        made = []
        for number in range(count):
            rng = np.random.default_rng([seed, length, number, name])
            made.append(self._prompt(task, length, control, rng))
        return made

    def fits(self, task: PromptTask, length: int, count: int, seed: int) -> bool:
        """Whether all prompts of the task fit `length` tokens."""
        try:
            self.prompts(task, length, count, seed, Control.PLAIN)
        except UserError:
            return False
        return True

    def _prompt(
        self, task: PromptTask, length: int, control: Control, rng: np.random.Generator
    ) -> Prompt:
        material = task.make(rng, self._names(rng, _word), self._names(rng, _number))
        question = self.encode("\n" + material.question)  # behind a sentence that is cut
        answer, *distractors = map(self.encode, material.candidates)
        context = self._context(material, length - question.size - answer.size, control)
        if context is None:
            raise UserError(f"a prompt of {task.name} doesn't fit {length} tokens")
        tokens = question if control == Control.NO_CONTEXT else np.concatenate([context, question])
        if control == Control.TRUNCATED:
            tokens = tokens[-(self._l_train - answer.size) :]
        depth = float(np.mean(material.depths)) if material.depths else 0.0
        return Prompt(tokens, answer, tuple(distractors), {"depth": depth})

    def _context(self, material: Material, room: int, control: Control) -> np.ndarray | None:
        """[room] tokens: intro, filler and the needles between its sentences; None: no room."""
        intro = self.encode(material.intro)
        needles = [self.encode(needle) for needle in material.needles]
        room -= intro.size + sum(needle.size for needle in needles)
        if room < 0:
            return None
        filler = (lambda: EASY_SENTENCE) if control == Control.EASY_FILLER else material.filler
        pieces, filled = [], 0
        while filled < room:
            # The last sentence is cut: its end is what brings the prompt to its length.
            pieces.append(self.encode(filler())[: room - filled])
            filled += pieces[-1].size
        ends = np.cumsum([0, *(piece.size for piece in pieces)])
        depths = [1.0] * len(needles) if control == Control.DISTANCE_0 else material.depths
        joined: list[np.ndarray] = [intro]
        placed = 0
        for needle, depth in zip(needles, depths, strict=True):
            before = int(np.searchsorted(ends, depth * room, side="right")) - 1
            joined += [*pieces[placed:before], needle]
            placed = before
        return np.concatenate([*joined, *pieces[placed:]])

    def _names(self, rng: np.random.Generator, one: Callable[[np.random.Generator], str]) -> Draw:
        """Draws names of as many tokens as the first one has, none of them twice."""

        def stream() -> Iterator[str]:
            first = one(rng)
            taken, misses = {first}, 0
            yield first
            while misses < 1000:  # in a row
                name = one(rng)
                misses += 1
                if name not in taken and self.encode(name).size == self.encode(first).size:
                    taken.add(name)
                    misses = 0
                    yield name
            raise UserError(f"a prompt of eval.tasks wants more than {len(taken):,} names")

        names = stream()
        return lambda count: list(itertools.islice(names, count))


def _word(rng: np.random.Generator) -> str:
    return " " + "".join(_pick(rng, SYLLABLES, 4))


def _number(rng: np.random.Generator) -> str:
    return " " + str(rng.integers(10_000, 100_000))


def _pick(rng: np.random.Generator, among: Sequence[str], count: int) -> list[str]:
    return [among[int(i)] for i in rng.integers(len(among), size=count)]
