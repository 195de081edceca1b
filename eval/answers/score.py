"""Scores of answers: teacher-forced, and checked by greedy decoding.

A greedy answer is right where every token of it, the end included, is the likeliest behind the
prompt and the right tokens before it. So one pass scores all of an answer; `decoded` shows that it
does by decoding token by token.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lengthwise.data.tasks.samples import SampleBatch
from lengthwise.data.tasks.sequences import NONE, same, squeeze
from lengthwise.data.tasks.symbols import END
from lengthwise.eval.answers.next_tokens import NextTokens, TokenRows, padded_length


@dataclass(frozen=True)
class Hits:
    """Right tokens of N samples of one length."""

    length: int  # in what the task counts
    hits_N: np.ndarray  # int64: right tokens of each answer, its end included
    tokens_N: np.ndarray  # int64: tokens of each answer, its end included

    @property
    def exact_N(self) -> np.ndarray:
        """bool: whether the whole answer is right."""
        return self.hits_N == self.tokens_N


def score_answers(documents: Mapping[int, SampleBatch], next_tokens: NextTokens) -> list[Hits]:
    """Scores answers teacher-forced: each answer token behind the right ones before it.

    documents: by length, in what the task counts. Those that are padded to the same rows are scored
    together.
    """
    hits: dict[int, Hits] = {}
    for width, lengths in by_row_length(documents).items():
        tokens = np.concatenate([_padded(documents[n].tokens, width + 1) for n in lengths])
        prompt = np.concatenate([documents[n].prompt for n in lengths])
        targets = tokens[:, 1:]
        answers = (np.arange(width) >= prompt[:, None] - 1) & (targets >= 0)
        numbers = np.concatenate([np.arange(len(documents[n].prompt)) for n in lengths])
        rows = TokenRows(tokens[:, :-1], _inputs(tokens), numbers)
        right = answers & (next_tokens(rows) == targets)
        ends = np.cumsum([len(documents[n].prompt) for n in lengths])[:-1]
        for length, hits_N, tokens_N in zip(
            lengths,
            np.split(right.sum(axis=1), ends),
            np.split(answers.sum(axis=1), ends),
            strict=True,
        ):
            hits[length] = Hits(length, hits_N, tokens_N)
    return [hits[length] for length in documents]


def by_row_length(documents: Mapping[int, SampleBatch]) -> dict[int, list[int]]:
    """Groups lengths by the padded row length of their samples, in tokens."""
    groups: dict[int, list[int]] = {}
    for length, each in documents.items():
        groups.setdefault(padded_length(each.tokens.shape[1] - 1), []).append(length)
    return groups


def _inputs(tokens: np.ndarray) -> np.ndarray:
    """Input tokens of each whole row, [R]: all but its last token."""
    return np.count_nonzero(tokens >= 0, axis=1) - 1


def _padded(tokens: np.ndarray, width: int) -> np.ndarray:
    return np.pad(tokens, ((0, 0), (0, width - tokens.shape[1])), constant_values=-1)


def decoded(documents: SampleBatch, next_tokens: NextTokens) -> np.ndarray:
    """Decodes each prompt greedily, token by token; returns exact matches, bool [N].

    documents: the first of their length.

    An answer that is not over where the right one is, is wrong.
    """
    tokens = documents.tokens
    rows, width = tokens.shape
    written = np.where(np.arange(width) < documents.prompt[:, None], tokens, -1)
    size_N, inputs_N = documents.prompt.copy(), _inputs(tokens)
    going = np.ones(rows, bool)
    while going.any():
        likeliest = next_tokens(TokenRows(written, inputs_N, np.arange(rows)))
        written[going, size_N[going]] = likeliest[going, size_N[going] - 1]
        size_N = size_N + going
        ended = written[np.arange(rows), size_N - 1] == END
        going &= ~ended & (size_N < np.count_nonzero(tokens >= 0, axis=1))
    right: np.ndarray = (written == tokens).all(axis=1)
    return right


def constant_guess(reference: SampleBatch, tested: SampleBatch) -> float:
    """Chance level: share of `tested` whose answer is the most frequent one of `reference`.

    The two are independent samples of one length, so that the share is not that of a guess which
    was chosen after the fact. 0 where answers hardly ever repeat.
    """
    answers, counts = np.unique(_answers(reference), axis=0, return_counts=True)
    right = _answers(tested)
    guess = np.tile(answers[counts.argmax()], (len(right), 1))
    return float(same(guess, right).mean())


def _answers(documents: SampleBatch) -> np.ndarray:
    """Answers with their ends, left-aligned; int32 [N, V]."""
    tokens = documents.tokens
    return squeeze(np.where(np.arange(tokens.shape[1]) >= documents.prompt[:, None], tokens, NONE))
