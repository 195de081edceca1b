"""Names of methods, for people."""

from __future__ import annotations

import re

from lengthwise.eval.methods.part import METHODS

PLAIN_NOTE = "the model as trained, run at the longer length"


def method_title(name: str) -> str:
    """A method's name for people: "YaRN (factor=4) + log n"; unknown ones keep their own."""
    if name == "plain":
        return "Plain"
    text = " + ".join(map(part_title, parts_of(name)))
    return text[:1].upper() + text[1:] if _split(parts_of(name)[0])[0] in METHODS else text


def part_title(part: str) -> str:
    """Title of one part, with its settings."""
    name, settings = _split(part)
    return (METHODS[name].title if name in METHODS else name) + settings


def in_sentence(name: str) -> str:
    """Method as the end of a sentence."""
    if name == "plain":
        return "run as it is"
    parts = map(_split, parts_of(name))
    return "with " + " and ".join(
        (METHODS[part].phrase if part in METHODS else part) + settings for part, settings in parts
    )


def method_note(part: str) -> str:
    """What a part of a method does; empty: it is none."""
    name, _ = _split(part)
    return METHODS[name].note if name in METHODS else ""


def parts_of(name: str) -> list[str]:
    """Parts that a method combines, with their settings."""
    return [part.strip() for part in re.split(r"\+(?=\s*[a-z])", name)]


def _split(part: str) -> tuple[str, str]:
    """(name, its settings as they follow a title)."""
    name, _, settings = part.partition(":")
    return name, f" ({settings.replace(',', ', ')})" if settings else ""
