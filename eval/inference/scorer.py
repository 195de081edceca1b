"""Interfaces of a model under evaluation: tokens in, nats per target out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from lengthwise.common.progress import ProgressBar
from lengthwise.model.attention.masks import CAUSAL, Mask
from lengthwise.model.positions.rope_scaling import UNSCALED, RopeScaling


class Scorer(Protocol):
    """A causal language model under teacher forcing. Methods may share one: it is hashable."""

    def __hash__(self) -> int: ...

    def __call__(self, tokens: np.ndarray) -> np.ndarray:
        """[R, c+1] int tokens -> [R, c] float32 nats of tokens[:, 1:], any number of rows R."""
        ...


class NonFiniteScores(FloatingPointError):
    """Scores of methods at a length, in tokens, that are not finite."""

    def __init__(self, methods: Sequence[str], length: int, cause: FloatingPointError):
        super().__init__(f"{', '.join(methods)} at {length} tokens: {cause}")
        self.methods, self.length = tuple(methods), length


@dataclass(frozen=True)
class TargetScores:
    """Scores of single targets, [R, c] or of the last ones of each row."""

    nats: np.ndarray  # float32
    greedy: np.ndarray  # bool: it is the likeliest token

    def of_last(self, last: int) -> TargetScores:
        """Those of the last targets of each row, [R, last]."""
        return TargetScores(self.nats[:, -last:], self.greedy[:, -last:])


class TargetScorer(Scorer, Protocol):
    """A scorer that tells the likeliest tokens in the same pass, and that generates."""

    def targets(self, tokens: np.ndarray, positions: np.ndarray | None = None) -> TargetScores:
        """[R, c+1] int tokens -> scores of tokens[:, 1:].

        positions: int [R, c], position ids of the inputs, from 0 on, also beyond c; scalings that
          follow the length follow the largest. None: the model's own.
        """
        ...

    def generate(self, prompts: Sequence[np.ndarray], tokens: int) -> list[np.ndarray]:
        """Decodes greedily behind each prompt, `tokens` tokens or up to an end of text.

        Raises UserError: the model can't run over a cache of keys and values.
        """
        ...


@runtime_checkable
class ScoresEnds(Protocol):
    """A scorer that computes the last targets of rows alone, and that draws row by row."""

    def ends(
        self, tokens: np.ndarray, positions: np.ndarray | None, *, last: int, first_row: int
    ) -> TargetScores:
        """[R, c+1] int tokens -> scores of the last targets of each row, [R, last].

        first_row: number of the first of these rows among all that are scored alike; what is drawn
        for a row depends on its number, not on the rows beside it. positions: see `TargetScorer`.
        """
        ...


class DocumentScorer(Protocol):
    """The model on rows that hold several documents, under the document mask."""

    def __call__(
        self, tokens: np.ndarray, segments: np.ndarray, *, first_row: int = 0
    ) -> np.ndarray:
        """[R, c+1] int tokens and their segments -> [R, c] float32 nats of tokens[:, 1:].

        segments: [R, c+1], positive, each a run of equal numbers. An input attends to those of its
        own segment, and its position counts from the segment's first token.
        first_row: see `ScoresEnds`.
        """
        ...


@dataclass(frozen=True)
class Setting:
    """Setting of inference, on top of the scaling under which a checkpoint was trained."""

    scaling: RopeScaling = UNSCALED  # on top of that of the training
    mask: Mask = CAUSAL
    shuffled: bool = False  # position ids of each row's inputs are permuted: that must hurt


class ScorerFactory(Protocol):
    """One checkpoint, under any setting."""

    def __call__(self, setting: Setting) -> TargetScorer:
        """A scorer of the checkpoint. Equal settings give the same object: it is scored once."""
        ...


@dataclass(frozen=True)
class Method:
    """A way to run one trained model, at any context length."""

    name: str  # "plain", or as eval.methods has it: "ntk", "yarn+log_n", "lambda", ...
    setting_at: Callable[[int], Setting]  # context in tokens -> setting there
    make_scorer: ScorerFactory

    def scorer_at(self, context: int) -> TargetScorer:
        """Scorer at a context; the same object for equal settings."""
        return self.make_scorer(self.setting_at(context))


def score(
    scorer: Scorer, tokens: np.ndarray, *, last: int | None = None, first_row: int = 0
) -> np.ndarray:
    """Nats of the last targets of rows, checked: [R, c+1] -> [R, last] float64, all finite.

    last: targets of each row; None: all, [R, c]. first_row: see `ScoresEnds`.
    Raises ValueError on a wrong shape and FloatingPointError on a non-finite score.
    """
    last = tokens.shape[1] - 1 if last is None else last
    if isinstance(scorer, ScoresEnds):
        nats = scorer.ends(tokens, None, last=last, first_row=first_row).nats
        return _checked(nats, tokens, last)
    return _checked(scorer(tokens), tokens, tokens.shape[1] - 1)[:, -last:]


def score_greedy(
    scorer: TargetScorer,
    tokens: np.ndarray,
    positions: np.ndarray | None = None,
    *,
    first_row: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """The nats of `score` of all targets, and [R, c] bool: the target is the likeliest token."""
    length = tokens.shape[1] - 1
    if isinstance(scorer, ScoresEnds):
        scores = scorer.ends(tokens, positions, last=length, first_row=first_row)
    else:
        scores = scorer.targets(tokens, positions)
    nats = _checked(scores.nats, tokens, length)
    if scores.greedy.shape != nats.shape:
        raise ValueError(f"scorer returned {scores.greedy.shape} greedy for {nats.shape} targets")
    return nats, scores.greedy


def rows_per_call(tokens_per_call: int, length: int) -> int:
    """Rows of `length` tokens that are scored in one call."""
    return max(1, tokens_per_call // length)


def row_batches(rows: int, length: int, tokens_per_call: int) -> list[slice]:
    """The rows of each call."""
    size = rows_per_call(tokens_per_call, length)
    return [slice(first, min(first + size, rows)) for first in range(0, rows, size)]


def batched_scores(
    score_rows: Callable[[slice], np.ndarray],
    rows: int,
    length: int,
    tokens_per_call: int,
    progress: ProgressBar | None = None,
) -> np.ndarray:
    """Scores of all rows, [rows, ...], `tokens_per_call` tokens at a time.

    Args:
      score_rows: reads some rows and scores them, [rows of the slice, ...].
      rows: their number, 1 or more.
      length: tokens of a row.
      progress: a bar in tokens, moved on after each call.
    """
    scores = []
    for some in row_batches(rows, length, tokens_per_call):
        scores.append(score_rows(some))
        if progress is not None:
            progress.update((some.stop - some.start) * length)
    return np.concatenate(scores)


def token_bar(tokens: int, description: str) -> ProgressBar:
    """A progress bar that counts tokens."""
    return ProgressBar(total=tokens, unit="tok", unit_scale=True, desc=description)


def _checked(nats: np.ndarray, tokens: np.ndarray, targets: int) -> np.ndarray:
    nats = np.asarray(nats, np.float64)
    rows, length = tokens.shape[0], tokens.shape[1] - 1
    expected = (rows, targets)
    if nats.shape != expected:
        raise ValueError(f"scorer returned shape {nats.shape} for {expected} targets")
    if not np.isfinite(nats).all():
        wrong = np.count_nonzero(~np.isfinite(nats).all(axis=1))
        raise FloatingPointError(f"non-finite scores in {wrong} of {rows} rows of {length} tokens")
    return nats
