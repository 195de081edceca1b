"""What the pages of runs on text and on tasks share: training, layout, config, machine, speed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from eval.data_wording import percent
from eval.page import Picture
from eval.pictures import draw_curriculum, draw_training_curves
from eval.style import DARK, LIGHT, bucket_colors, token_count
from eval.training_account import account_sentences
from eval.training_log import TrainingLog


@dataclass(frozen=True)
class RunInputs:
    """What the page of any run shows."""

    title: str
    config: Mapping[str, Any]  # resolved, nested
    metrics: Sequence[Mapping[str, Any]]  # rows of metrics.jsonl
    layouts: Sequence[Mapping[str, Any]]  # data.accounting.Accounting.as_dict(), one per phase
    facts: Mapping[str, Mapping[str, Any]]  # titled blocks: "Corpus", "Model", "Machine", ...


def run_filters() -> dict[str, Any]:
    """The filters of run_sections.html.j2."""
    return {"tokens": token_count, "share": percent, "setting": _setting, "fact": _fact}


def run_values(inputs: RunInputs, log: TrainingLog) -> dict[str, Any]:
    """What run_sections.html.j2 and bucket_colors.html.j2 show, and the length of the training."""
    return {
        "title": inputs.title,
        "layouts": inputs.layouts,
        "sections": _sections(inputs.config),
        "facts": inputs.facts,
        "speed": log.speed(),
        "log_every": log.log_every,
        "account": account_sentences(inputs.metrics),
        "bucket_colors": {theme.name: bucket_colors(log.lengths, theme) for theme in (LIGHT, DARK)},
        "last_step": int(log.step[-1]),
        "last_tokens": int(log.tokens[-1]),
    }


def training_pictures(log: TrainingLog) -> list[Picture]:
    """The curves of training, and what was trained when."""
    return [
        Picture(
            "training",
            "Each line is one bucket: sequences of one length, averaged over stretches of "
            "training. Buckets hold different documents, so their levels are not comparable.",
            "Line charts of training loss and gradient norm by bucket.",
            partial(draw_training_curves, log),
        ),
        Picture(
            "curriculum",
            "Which lengths the model was trained on, when, and how much."
            + ("" if log.log_every == 1 else f" From every {log.log_every}th step."),
            "Stacked area chart of the share of each bucket over steps, and a bar chart of "
            "tokens by bucket.",
            partial(draw_curriculum, log),
        ),
    ]


def _sections(config: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Nested parts of the config by name; plain fields of the top level come first."""
    plain = {key: value for key, value in config.items() if not isinstance(value, Mapping)}
    nested = {key: value for key, value in config.items() if isinstance(value, Mapping)}
    return ({"run": plain} if plain else {}) | nested


def _setting(value: Any) -> str:
    """A config value as it would be written."""
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _fact(value: Any) -> str:
    """A value for reading: whole numbers with thousands separators."""
    return f"{value:,}" if isinstance(value, int) else _setting(value)
