"""The list of claims, as data."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_FILE = Path(__file__).with_name("claims.toml")


@dataclass(frozen=True)
class ListedClaim:
    """A claim that users come with, and what bears on it."""

    number: str  # A1 ... of the article, B1 ... of the chapter
    claim: str
    source: str = ""
    unverified: bool = False  # the source's text was not read here
    experiments: tuple[str, ...] = ()  # of the task lab, docs/reproductions.md
    questions: tuple[str, ...] = ()  # of the grids on text
    measured: str = ""
    missing: str = ""
    untestable: str = ""


def listed_claims() -> tuple[ListedClaim, ...]:
    """All claims, in their order."""
    stored = tomllib.loads(_FILE.read_text("utf-8"))
    return tuple(ListedClaim(number, **_tuples(fields)) for number, fields in stored.items())


def _tuples(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()
    }
