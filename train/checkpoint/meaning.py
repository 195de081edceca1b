"""Meaning of weights: what beside their numbers decides the function that they compute.

A checkpoint records it as three dicts: "tokens" (`Manifest.token_meaning`), "model"
(`ModelConfig.meaning`) and "rope_scaling", that of the phase that it was trained in.
"""

import json
from collections.abc import Mapping
from typing import Any

from lengthwise.common.trees import flatten
from lengthwise.data.store.tokenizers import IDS

Meaning = Mapping[str, Mapping[str, Any]]


def differences(there: Meaning, here: Meaning, part: str) -> list[str]:
    """What differs in one part of two meanings, as "field: there -> here".

    A field that one of them lacks belongs to a position scheme that the other does not use.
    """
    before, now = (flatten({part: _as_json(each[part])}) for each in (there, here))
    return [
        f"{name}: {value!r} -> {now[name]!r}"
        for name, value in before.items()
        if name in now and now[name] != value
    ]


def other_tokens(there: Meaning, here: Meaning) -> list[str]:
    """Why ids of one meaning are others in the other; [] where they may be the same.

    Of documents that came as ids nobody knows the tokenizer: vocabulary and end of text decide. A
    token before each document may be new, or be left out; it can't be another one.
    """
    both = there["tokens"], here["tokens"]
    allowed = []
    if any(str(each["tokenizer"]).startswith(IDS) for each in both):
        allowed.append("tokens.tokenizer:")
    if any(each["begin_of_text"] is None for each in both):
        allowed.append("tokens.begin_of_text:")
    differing = differences(there, here, "tokens")
    return [line for line in differing if not line.startswith(tuple(allowed))]


def other_meaning(there: Meaning, here: Meaning) -> list[str]:
    """What differs where nothing may: a run's own weights. Its scaling goes by the step's phase."""
    return differences(there, here, "tokens") + differences(there, here, "model")


def _as_json(fields: Mapping[str, Any]) -> Any:
    """Tuples as the lists that a checkpoint gives back."""
    return json.loads(json.dumps(fields))
