"""Interface of scorers, and the bench that they are made from."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from lengthwise.common.paths import user_path
from lengthwise.data.store.splits import Split
from lengthwise.data.store.tokenizers import Tokenizer
from lengthwise.eval.config import EvalConfig
from lengthwise.eval.inference.scorer import Method
from lengthwise.eval.inference.start_token import StartToken
from lengthwise.eval.losses.targets import DocumentSource, Targets, choose_targets
from lengthwise.eval.prompts.assemble import PromptMaker
from lengthwise.eval.prompts.vocabulary import held_out_sentences, sentences_of_files
from lengthwise.eval.statistics.curves import Curve, ScorerResult


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
    start_token: StartToken | None = None  # None: the end of text, as joined documents have it

    @property
    def start(self) -> StartToken:
        """The token before texts that nothing stands before."""
        return self.start_token or StartToken.of(None, self.tokenizer.end_of_text, joined=True)

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
            return sentences_of_files(user_path(self.config.haystack, "eval.haystack"))
        return held_out_sentences(self.source, self.split, self.tokenizer)

    def targets(self, longest: int) -> Targets:
        """Targets with `longest` tokens before the last; see `choose_targets`."""
        return choose_targets(self.source, self.split, longest, self.config)

    @functools.cached_property
    def prompt_maker(self) -> PromptMaker:
        """Raises UserError: the tokenizer has no text."""
        return PromptMaker(
            self.tokenizer,
            self.l_train,
            lambda: self.prose,
            self.config.shots,
            self.start.prefix,
        )


class CurveScorer(Protocol):
    """One measurement on a bench."""

    @property
    def name(self) -> str: ...

    @property
    def rows(self) -> Sequence[int]:
        """Lengths of the rows that it scores, in tokens: all that has to be compiled."""
        ...

    def __call__(self, methods: Sequence[Method]) -> ScorerResult:
        """Scores a checkpoint by each method; the plain one comes first."""
        ...


@dataclass(eq=False)
class BenchScorer:
    """A `CurveScorer` by name. The fields of a subclass are its settings, eval.NAME of a config."""

    name: ClassVar[str]  # which the registry gives

    def prepare(self, bench: Bench) -> None:
        """Takes a bench, before training.

        Raises UserError: settings, documents or a tokenizer that it can't score with.
        """
        self.bench = bench

    @property
    def rows(self) -> Sequence[int]:
        """See `CurveScorer`; the tested lengths, unless a subclass has others."""
        return self.bench.lengths

    def loss_curve(
        self,
        method: Method,
        targets: Targets,
        sums_NK: np.ndarray,
        counts: np.ndarray | int,
        **fields: Any,
    ) -> Curve:
        """Curve of the nats of the documents of `targets`, at `rows` tokens if no other `lengths`.

        counts: tokens of each document, [K] or one for all. fields: of `Curve`, to replace.
        """
        preset = {"scorer": self.name, "method": method.name, "lengths": tuple(self.rows)}
        return Curve.of_loss(
            sums_NK=sums_NK,
            counts_NK=np.broadcast_to(np.asarray(counts, np.float64), sums_NK.shape),
            clusters_N=targets.clusters_N,
            population=targets.fingerprint,
            **(preset | fields),
        )

    def __call__(self, methods: Sequence[Method]) -> ScorerResult:
        """See `CurveScorer`."""
        raise NotImplementedError
