"""The numbers and pictures of a scored checkpoint, for the trackers of its run."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lengthwise.eval.card.card import CARD
from lengthwise.train.tracking.tracker import TrackingConfig, opened

ANSWERS = Path("eval") / "answers.json"


def track_scores(tracking: TrackingConfig, workdir: Path, step: int) -> None:
    """Shows card, or scores of a task, and the pictures of the report to the trackers."""
    figures: dict[str, float] = {}
    if card := _of_step(workdir / CARD, step):
        figures |= card_figures(card)
    if answers := _of_step(workdir / ANSWERS, step):
        figures |= answers_figures(answers)
    if not figures:
        return
    paths = sorted((workdir / "report").glob("*.png"))
    pictures = {f"report/{path.stem}": path for path in paths}
    with opened(tracking.make(), workdir, step) as trackers:
        for tracker in trackers:
            tracker.summarize(figures, pictures)


def card_figures(card: Mapping[str, Any]) -> dict[str, float]:
    """Numbers of card.json's first entry: lengths in tokens, and the scores by length."""
    entry = card["entries"][0]
    figures: dict[str, float] = {"card/l_train": entry["l_train"]}
    for each in entry["judgements"]:
        name = f"card/{each['scorer']}/{each['metric']}/{each['method']}"
        for reach in ("holds", "useful"):
            if each[reach] and each[reach]["tokens"] is not None:
                figures[f"{name}/{reach}"] = each[reach]["tokens"]
        for length, score in zip(each["lengths"], each["scores"], strict=True):
            figures[f"{name}/{length}"] = score["value"]
    return figures


def answers_figures(answers: Mapping[str, Any]) -> dict[str, float]:
    """Numbers of answers.json: exact match in range, beyond, and by length."""
    figures = {
        f"answers/{name}": answers[name]
        for name in ("mean_exact_in_range", "mean_exact_beyond", "falls_at")
        if answers[name] is not None
    }
    for each in answers["lengths"]:
        figures[f"answers/exact/{each['length']}"] = each["exact"]["value"]
    return figures


def _of_step(path: Path, step: int) -> dict[str, Any] | None:
    """A file of scores, where it is of this checkpoint."""
    if not path.exists():
        return None
    scores: dict[str, Any] = json.loads(path.read_bytes())
    of = scores["entries"][0]["checkpoints"][0] if "entries" in scores else scores
    return scores if of["checkpoint_step"] == step else None
