"""Interface of scorers, and the bench that they are made from."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lengthwise.data.store.splits import Split
from lengthwise.data.store.tokenizers import Tokenizer
from lengthwise.eval.config import EvalConfig
from lengthwise.eval.inference.scorer import Method
from lengthwise.eval.losses.targets import DocumentSource
from lengthwise.eval.prompts.vocabulary import held_out_sentences, sentences_of_files
from lengthwise.eval.statistics.curves import ScorerResult


@dataclass(frozen=True)
class Bench:
    """Held-out text and settings, the same for all scorers and checkpoints of an evaluation."""

    source: DocumentSource
    tokenizer: Tokenizer
    config: EvalConfig
    l_train: int  # tokens
    lengths: tuple[int, ...]  # tested ones, ascending, l_train among them
    fingerprint: str  # of the corpus
    # Why position ids of the evaluation's own choice have no meaning for the model; empty: they do.
    why_no_positions: str
    split: Split = Split.REPORT  # whose text is scored
    controls: bool = True  # whether tasks are asked under their controls as well

    @property
    def pad(self) -> int:
        """An id that stands in no text."""
        return self.tokenizer.end_of_text

    @functools.cached_property
    def prose(self) -> list[str]:
        """Sentences of eval.haystack, or of held-out documents.

        Raises UserError: eval.haystack can't be read.
        """
        if self.config.haystack:
            return sentences_of_files(Path(self.config.haystack))
        return held_out_sentences(self.source, self.split, self.tokenizer)


class CurveScorer(Protocol):
    """One measurement. Made from a `Bench` before training: settings that it can't score with raise
    UserError then."""

    name: str

    @property
    def rows(self) -> Sequence[int]:
        """Lengths of the rows that it scores, in tokens: all that has to be compiled."""
        ...

    def __call__(self, methods: Sequence[Method]) -> ScorerResult:
        """Scores a checkpoint by each method; the plain one comes first."""
        ...
