"""Scores over a cache of keys and values: long rows in chunks, continuations of one prefix."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from lengthwise.eval.inference.cache_programs import CacheKind, ScoreChunk
from lengthwise.eval.inference.cached_model import CachedModel, batch_rows, power_of_two
from lengthwise.eval.inference.scorer import TargetScorer, TargetScores, row_batches, score_greedy

_LEAST_WIDTH = 8  # tokens of a continuation: up to here all run in one program


@dataclass(frozen=True)
class Continuation:
    """Per-token NLL of a continuation given its prefix."""

    nats: np.ndarray  # float [m]
    likeliest: np.ndarray  # bool [m]: whether it is the likeliest token

    @property
    def greedy(self) -> bool:
        """Whether greedy decoding would generate it."""
        return bool(self.likeliest.all())


class ContinuationScorer(Protocol):
    """A causal language model on prefixes with several continuations each."""

    def __call__(
        self,
        prefixes: Sequence[np.ndarray],
        continuations: Sequence[Sequence[np.ndarray]],
        length: int | None = None,
    ) -> list[list[Continuation]]:
        """Scores int tokens, [n] and [m] with n, m >= 1; a list of continuations a prefix.

        length: tokens of a row, which scalings may follow; None: they must not differ.
        """
        ...


@runtime_checkable
class SharesPrefixes(Protocol):
    """A `Scorer` that runs a prefix once for all of its continuations."""

    @property
    def continuations(self) -> ContinuationScorer | None:
        """None: this model can't run over a cache."""
        ...


def score_continuations(
    scorer: TargetScorer,
    prefixes: Sequence[np.ndarray],
    continuations: Sequence[Sequence[np.ndarray]],
    length: int,
    *,
    pad: int,
    tokens_per_call: int,
    positions: Sequence[np.ndarray] | None = None,
) -> list[list[Continuation]]:
    """Scores continuations over the cache of their prefix where the model can, or in a row each.

    length: tokens of a row; no prefix and continuation together exceed length + 1. pad: an id that
    fills rows up, which the scores of a causal model don't depend on.
    positions: int [length], position ids of the rows of each prefix; these run in a row each.
    """
    shared = scorer.continuations if isinstance(scorer, SharesPrefixes) else None
    if shared is not None and positions is None:
        return shared(prefixes, continuations, length)
    numbered = [(i, tokens) for i, each in enumerate(continuations) for tokens in each]
    scores: list[list[Continuation]] = [[] for _ in prefixes]
    for batch in row_batches(len(numbered), length, tokens_per_call):
        some = numbered[batch]
        rows = np.full((len(some), length + 1), pad, np.int64)
        for row, (i, tokens) in zip(rows, some, strict=True):
            row[: len(prefixes[i]) + len(tokens)] = np.concatenate([prefixes[i], tokens])
        ids = None if positions is None else np.stack([positions[i] for i, _ in some])
        of_rows = score_greedy(scorer, rows, ids, first_row=batch.start)
        scored = zip(some, *of_rows, strict=True)
        for (i, tokens), nats, likeliest in scored:
            span = slice(len(prefixes[i]) - 1, len(prefixes[i]) + len(tokens) - 1)
            scores[i].append(Continuation(nats[span], likeliest[span]))
    return scores


class CachedScorer:
    """`ContinuationScorer`, and rows in chunks, of a model that is run over a cache."""

    def __init__(self, model: CachedModel):
        self._model = model

    def score_rows(
        self, kind: CacheKind, tokens: np.ndarray, chunk: int, *, first_row: int
    ) -> TargetScores:
        """`eval.inference.scorer.TargetScorer`, `chunk` tokens at a time: [R, c+1] -> [R, c].

        first_row: see `eval.inference.scorer.ScoresEnds`.

        Raises ValueError where chunks of such rows don't fit the cache.
        """
        model = self._model
        rows, length = tokens.shape[0], tokens.shape[1] - 1
        tables = model.tables(length)
        run = model.inference.programs.get(ScoreChunk(kind, chunk, by_row=False))
        place = model.view(kind).place
        whole = -(-length // chunk) * chunk
        if whole > kind.capacity:
            raise ValueError(f"{whole} tokens don't fit a cache of {kind.capacity}")
        filled = np.pad(tokens, ((0, 0), (0, whole - length)), constant_values=model.pad)
        batches = []
        for start in range(0, rows, kind.batch):
            some = batch_rows(start, kind.batch, rows)
            part = filled[some]
            cache = model.new_cache(kind, (first_row + some).tolist(), [length] * kind.batch)
            pending = []
            for first in range(0, whole, chunk):
                inputs = place(part[:, first : first + chunk])
                targets = place(part[:, first + 1 : first + chunk + 1])
                column = np.array([first], np.int32)
                cache, *scores = run(model.params, cache, inputs, targets, column, tables)
                pending.append(scores)
            batches.append(
                [
                    np.concatenate(list(map(np.asarray, x)), axis=1)
                    for x in zip(*pending, strict=True)
                ]
            )
        nats, likeliest = (np.concatenate(x)[:rows, :length] for x in zip(*batches, strict=True))
        return TargetScores(nats, likeliest)

    def __call__(
        self,
        prefixes: Sequence[np.ndarray],
        continuations: Sequence[Sequence[np.ndarray]],
        length: int | None = None,
    ) -> list[list[Continuation]]:
        """See `ContinuationScorer`. Each prefix is run once; a continuation reuses the cache slots
        of the one before, so that there is one cache whatever their number."""
        if not all(map(len, prefixes)) or not all(len(c) for cs in continuations for c in cs):
            raise ValueError("a prefix and a continuation have one token at least")
        scores: list[list[Continuation]] = [[] for _ in prefixes]
        for members, capacity, width in self._batches(prefixes, continuations):
            scored = self._continued(
                members,
                [prefixes[i] for i in members],
                [continuations[i] for i in members],
                capacity,
                width,
                length,
            )
            for number, each in zip(members, scored, strict=True):
                scores[number] = each
        return scores

    def _batches(
        self, prefixes: Sequence[np.ndarray], continuations: Sequence[Sequence[np.ndarray]]
    ) -> Iterator[tuple[list[int], int, int]]:
        """Batches: numbers of prefixes, capacity of their cache, width of their continuations; the
        last two rounded up so that few programs are compiled."""
        by_shape: dict[tuple[int, int], list[int]] = {}
        for number, (prefix, each) in enumerate(zip(prefixes, continuations, strict=True)):
            if each:
                width = power_of_two(max(_LEAST_WIDTH, *map(len, each)))
                shape = self._model.capacity(len(prefix) - 1 + width), width
                by_shape.setdefault(shape, []).append(number)
        for (capacity, width), members in by_shape.items():
            batch = self._model.inference.batching.cached_rows(capacity)
            for start in range(0, len(members), batch):
                yield members[start : start + batch], capacity, width

    def _continued(
        self,
        numbers: list[int],
        prefixes: list[np.ndarray],
        continuations: list[Sequence[np.ndarray]],
        capacity: int,
        width: int,
        length: int | None,
    ) -> list[list[Continuation]]:
        model, rows = self._model, len(prefixes)
        # Tokens of each row's longest continuation, and of the shortest of all.
        longest = [
            len(p) - 1 + max(map(len, cs)) for p, cs in zip(prefixes, continuations, strict=True)
        ]
        shortest = min(
            len(p) - 1 + min(map(len, cs)) for p, cs in zip(prefixes, continuations, strict=True)
        )
        kind = model.kind(power_of_two(rows), capacity, max(longest), width)
        members = batch_rows(0, kind.batch, rows)
        if length is None:
            tables = model.steady_tables(shortest, max(longest))
        else:
            tables = model.tables(length)
        row_lengths = [longest[i] if length is None else length for i in members]
        cache = model.new_cache(kind, [numbers[i] for i in members], row_lengths)
        # The last token of a prefix is the first input of its continuation.
        cache = model.fill(kind, cache, [prefixes[i][:-1] for i in members], tables)
        run = model.inference.programs.get(ScoreChunk(kind, width, by_row=True))
        place = model.view(kind).place
        first_B = np.array([len(prefixes[i]) - 1 for i in members], np.int32)
        most = max(map(len, continuations))
        pending = []
        for turn in range(most):
            inputs_BQ = np.full((kind.batch, width), model.pad, np.int32)
            targets_BQ = np.full((kind.batch, width), model.pad, np.int32)
            for row, i in enumerate(members):
                if turn < len(continuations[i]):
                    tokens = continuations[i][turn]
                    inputs_BQ[row, : len(tokens)] = [prefixes[i][-1], *tokens[:-1]]
                    targets_BQ[row, : len(tokens)] = tokens
            operands = place(inputs_BQ), place(targets_BQ), first_B, tables
            cache, *scores = run(model.params, cache, *operands)
            pending.append(scores)
        turns = [(np.asarray(nats), np.asarray(likeliest)) for nats, likeliest in pending]
        return [
            [
                Continuation(nats[row, : len(c)], likeliest[row, : len(c)])
                for c, (nats, likeliest) in zip(each, turns, strict=False)
            ]
            for row, each in enumerate(continuations)
        ]
