"""Sections of the pages of all runs: training, layout, config, machine, speed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from lengthwise.eval.report.page import Picture
from lengthwise.eval.report.run.data_wording import percent
from lengthwise.eval.report.run.pictures import draw_curriculum, draw_training_curves
from lengthwise.eval.report.style import DARK, LIGHT, bucket_colors, token_count
from lengthwise.eval.report.training_log import TrainingLog

# What the seconds of a "goodput" row that are no steps went into.
ELSEWHERE = {
    "start": "starting",
    "compile": "compiling",
    "restore": "restoring",
    "evaluation": "evaluation",
    "saving": "saving",
    "data_wait": "waiting for data",
    "lost": "steps thrown away by kills and rollbacks",
    "down": "no process running",
}


def account_sentences(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Sentences on goodput, phases and anomalies, from the rows of metrics.jsonl."""
    return [*_goodput(rows), *_phases(rows), *_anomalies(rows)]


def _phases(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What each of several phases took, and where its conditions have ended it."""
    shares = TrainingLog(rows).phase_shares() if any(r["kind"] == "train" for r in rows) else {}
    ends = {row["phase"]: row for row in rows if row["kind"] == "phase_end"}
    sentences = []
    for phase, of in shares.items():
        if len(shares) == 1 and phase not in ends:
            continue
        taken = ", ".join(f"{percent(share)} of the {name}" for name, share in of.items())
        ended = ""
        if phase in ends:
            conditions = " and ".join(ends[phase]["conditions"])
            ended = f"; it ended at step {ends[phase]['step']:,}: {conditions}"
        sentences.append(f"Phase {phase + 1} took {taken}{ended}.")
    return sentences


def _goodput(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    accounts = [row for row in rows if row["kind"] == "goodput"]
    if not accounts:
        return []
    last = accounts[-1]
    wall = last["wall_seconds"]
    shares = {text: last[f"{cause}_seconds"] / wall for cause, text in ELSEWHERE.items()}
    rest = [
        f"{text} {percent(share)}"
        for text, share in sorted(shares.items(), key=lambda item: -item[1])
        if share >= 0.001
    ]
    hours = f"{wall / 3600:.3g} hours" if wall >= 3600 else f"{wall / 60:.3g} minutes"
    return [
        f"Of {hours} since the first start, {percent(last['goodput'])} went into steps that "
        f"count{'; ' if rest else ''}{', '.join(rest)}."
    ]


def _anomalies(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    sentences = []
    skips = [row for row in rows if row["kind"] == "skip"]
    if skips:
        steps = ", ".join(f"{row['step']:,} ({row['cause']})" for row in skips[:5])
        more = f" and {len(skips) - 5} more" if len(skips) > 5 else ""
        sentences.append(f"Updates that were skipped: {len(skips)}, at step {steps}{more}.")
    for row in rows:
        if row["kind"] == "rollback":
            begin, end = row["passed_over"]
            sentences.append(
                f"Rolled back from step {row['step']:,} ({row['cause']}) to checkpoint "
                f"{row['to_step']:,}; {end - begin:,} batches were skipped."
            )
    return sentences


@dataclass(frozen=True)
class RunInputs:
    """Content of the page that any run has."""

    title: str
    config: Mapping[str, Any]  # resolved, nested
    metrics: Sequence[Mapping[str, Any]]  # rows of metrics.jsonl
    layouts: Sequence[Mapping[str, Any]]  # data.layouts.Accounting.as_dict(), one per phase
    facts: Mapping[str, Mapping[str, Any]]  # titled blocks: "Corpus", "Model", "Machine", ...


def run_filters() -> dict[str, Any]:
    """The filters of run_sections.html.j2."""
    return {"tokens": token_count, "share": percent, "setting": _setting, "fact": _fact}


def run_values(inputs: RunInputs, log: TrainingLog) -> dict[str, Any]:
    """Values of run_sections.html.j2 and bucket_colors.html.j2, and the length of the training."""
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
