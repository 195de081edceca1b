"""Detects damaged checkpoints and moves them aside."""

import hashlib
import json
import time
from pathlib import Path
from typing import Any

from lengthwise.common.errors import UserError


class DamagedCheckpointError(UserError):
    """A checkpoint can't be read, or differs from what was saved."""


def signed(content: dict[str, Any]) -> dict[str, Any]:
    """Adds a digest of all other content."""
    rest = {name: value for name, value in content.items() if name != "digest"}
    text = json.dumps(rest, sort_keys=True)
    return {**rest, "digest": hashlib.blake2b(text.encode(), digest_size=16).hexdigest()}


def without_score(directory: Path, name: str) -> list[int]:
    """Steps of the checkpoints whose metrics are no JSON with a number `name`."""
    broken = []
    for path in sorted(directory.glob("*/metrics/metrics")):
        try:
            score = json.loads(path.read_bytes())[name]
        except (ValueError, KeyError, TypeError):
            score = None
        if not isinstance(score, float | int) and path.parts[-3].isdigit():
            broken.append(int(path.parts[-3]))
    return broken


def move_aside(directory: Path, step: int) -> Path:
    """Moves a checkpoint to `damaged`, next to the directory; returns its new path."""
    folder = directory.parent / "damaged"
    folder.mkdir(exist_ok=True)
    target = folder / f"{step}-{time.time_ns()}"
    (directory / str(step)).rename(target)
    return target
