"""Scales of the experiments on text: base config, lengths and budgets at each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ml_collections import ConfigDict

from lengthwise.configs import dd, quickstart
from lengthwise.experiments.text.design import Changes


@dataclass(frozen=True)
class Scale:
    """A base config and what of it the arms differ by."""

    name: str
    base: Callable[[], ConfigDict]
    common: Changes
    length: int  # L, tokens: the longest bucket
    tokens_per_step: int
    steps: int  # of runs about layouts
    forming_steps: int  # of runs about when use of context forms
    formed_steps: int  # of the runs that form it for those about layouts
    rate: float  # in the middle of those that are tried
    corpus_tokens: int  # of the training split, about

    @property
    def rates(self) -> tuple[float, ...]:
        return (self.rate / 2, self.rate, self.rate * 2)


def _scoring(length: int, documents: int) -> dict[str, Any]:
    """Scores of all arms: the same targets, whatever an arm was trained on.

    Targets stand eight a row at every context, so that arms of other training lengths are scored
    in the same rows.
    """
    return {
        "eval.ratios": (1.0,),
        "eval.lengths": tuple(int(ratio * length) for ratio in (0.25, 0.5, 1, 1.5, 2, 4)),
        "eval.documents": documents,
        "eval.min_documents": 15,
        "eval.blocks": 2,
        "eval.targets_per_block": 8,
        "eval.targets_per_row": 8,
        "eval.methods": (),
        "eval.multipliers": (1.0,),
        "eval.scorers": ("short_documents",),
        "eval.short_documents.longest": length,
        "eval.during": ("target_nll",),
        "eval.target_nll.lengths": (length // 4, length),
    }


def _cpu(length: int, corpus_tokens: int) -> Scale:
    """Minutes a run on one core."""
    return Scale(
        "cpu",
        quickstart.get_config,
        {
            "phase.layout.largest_bucket": length,
            "train.checkpoint_every": 1000,
            "train.eval_every": 250,
            **_scoring(length, 100),
        },
        length=length,
        tokens_per_step=1024,
        steps=2000,
        forming_steps=4000,
        formed_steps=1000,
        rate=4e-3,
        corpus_tokens=corpus_tokens,
    )


GPU = Scale(
    "gpu",
    dd.get_config,  # 160M parameters
    {
        "data.tokenizer": "train:bpe:32768",
        "model.smeared_keys": True,
        "optimizer.warmup_steps": 500,
        "phase.tokens_per_step": 1 << 16,
        "phase.layout.smallest_bucket": 256,
        "phase.layout.largest_bucket": 2048,
        "phase.layout.cut": "longest_first",
        "phase.layout.tails": "pack",
        "train.eval_every": 500,
        "train.checkpoint_every": 1000,
        **_scoring(2048, 400),
    },
    length=2048,
    tokens_per_step=1 << 16,
    steps=16_000,
    forming_steps=8000,
    formed_steps=4000,
    rate=2e-3,
    corpus_tokens=4_000_000_000,
)
POD = Scale(
    "pod",
    lambda: dd.get_config("1b"),
    {
        "data.tokenizer": "train:bpe:50432",
        "model.smeared_keys": True,
        "phase.tokens_per_step": 1 << 19,
        "phase.layout.smallest_bucket": 256,
        "phase.layout.largest_bucket": 8192,
        "phase.layout.cut": "longest_first",
        "phase.layout.tails": "pack",
        "train.eval_every": 1000,
        "train.checkpoint_every": 1000,
        **_scoring(8192, 400),
    },
    length=8192,
    tokens_per_step=1 << 19,
    steps=32_768,
    forming_steps=16_384,
    formed_steps=8192,
    rate=3e-3,
    corpus_tokens=100_000_000_000,
)
# Corpus -> its settings, and the scales that it has enough text for.
CORPORA: Mapping[str, tuple[Changes, tuple[Scale, ...]]] = {
    # Half of the documents have fewer than 400 tokens: rows of all lengths.
    "aws_docs": ({"data.source": "aws_docs"}, (_cpu(512, 12_300_000),)),
    # 5,000 tokens a document: all but 2 % of its tokens fill the longest bucket.
    "stdlib": ({"data.source": "stdlib"}, (_cpu(256, 8_850_000),)),
    # Your own: files of JSON lines in the folder corpus/.
    "jsonl": ({"data.source": "jsonl", "data.path": "corpus/*.jsonl*"}, (GPU, POD)),
}
