"""Planted models and documents whose right answers are known beforehand. Test-only."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from lengthwise.data.store.splits import Split
from lengthwise.eval.config import AnswersConfig, EvalConfig

VOCAB = 16


def eval_config(**changes: object) -> EvalConfig:
    settings: dict[str, object] = {
        "ratios": (0.5, 1, 2, 4),
        "lengths": (),
        "methods": ("linear", "ntk", "lambda"),
        "multipliers": (1.0, 2.0),
        "sinks": 4,
        "documents": 24,
        "min_documents": 8,
        "blocks": 2,
        "targets_per_block": 16,
        "targets_per_row": 1,
        "scorers": (),
        "scorer_methods": (),
        "tasks": (),
        "prompts": 2,
        "during": (),
        "prompting": (),
        "generate": False,
        "shots": 2,
        "haystack": "",
        "qa_1": "",
        "qa_2": "",
        "compare": (),
        "chunk": 0,
        "answers": AnswersConfig((1, 2, 1), (), 2, 0.85, 0),
        "bootstrap_samples": 500,
        "confidence": 0.95,
        "tokens_per_call": 4096,
        "seed": 0,
    }
    return EvalConfig(**{**settings, **changes})  # type: ignore[arg-type]


class Documents:
    """An in-memory DocumentSource: every read is checked against document borders."""

    def __init__(
        self,
        texts: list[np.ndarray],
        splits: list[Split],
        clusters: list[int],
        domains: list[int] | None = None,
    ):
        self.tokens = np.concatenate(texts)
        self.document_offsets = np.cumsum([0, *[len(t) for t in texts]])
        self.document_bytes = np.diff(self.document_offsets)
        self.document_splits = np.array(splits)
        self.document_clusters = np.array(clusters)
        self.document_domains = np.array(domains or [0] * len(texts))

    def documents(self, split: Split) -> np.ndarray:
        return np.flatnonzero(self.document_splits == split)

    def read(self, start: int, length: int) -> np.ndarray:
        document = np.searchsorted(self.document_offsets, start, side="right") - 1
        assert start >= self.document_offsets[document]
        assert start + length <= self.document_offsets[document + 1], "read crosses documents"
        return self.tokens[start : start + length]


def skewed_documents(count: int, length: int, seed: int = 0) -> Documents:
    """Independent draws from a distribution of each document's own: every further token seen
    tells more about it, so longer context helps at every length. Splits alternate."""
    rng = np.random.default_rng(seed)
    odds = rng.dirichlet(np.full(VOCAB, 0.5), size=count)
    texts = [rng.choice(VOCAB, size=length, p=p) for p in odds]
    splits = [Split.SELECTION if i % 2 else Split.REPORT for i in range(count)]
    return Documents(texts, splits, list(range(count)))


@dataclass(eq=False)
class CountingScorer:
    """Laplace-smoothed counts of the last `memory` tokens: forgets everything before them."""

    memory: int
    penalty: float = 0.0  # nats added beyond `memory`, a model that breaks out of range
    calls: list[tuple[int, ...]] = field(default_factory=list)

    def __call__(self, tokens: np.ndarray) -> np.ndarray:
        self.calls.append(tokens.shape)
        rows, inputs = tokens.shape[0], tokens.shape[1] - 1
        one_hot = tokens[:, :-1, None] == np.arange(VOCAB)
        seen = np.cumsum(one_hot, axis=1)  # [R, c, V] counts of tokens 0..j
        seen[:, self.memory :] -= seen[:, : -self.memory].copy()
        total = np.minimum(np.arange(1, inputs + 1), self.memory)
        picked = np.take_along_axis(seen, tokens[:, 1:, None], axis=2)[..., 0]
        nats = -np.log((picked + 0.5) / (total + 0.5 * VOCAB))
        nats[:, self.memory :] += self.penalty
        assert nats.shape == (rows, inputs)
        return nats.astype(np.float32)


def uniform_scorer(tokens: np.ndarray) -> np.ndarray:
    return np.full((tokens.shape[0], tokens.shape[1] - 1), np.log(VOCAB), np.float32)
