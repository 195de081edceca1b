"""Text of users (names of runs, domains, files) where it meets a markup or a terminal.

Markup is escaped by what writes it: Jinja for HTML, matplotlib for SVG, json for JSON. None of them
knows what no markup can hold: control characters, which XML forbids and terminals obey; halves of
surrogate pairs, which names of files decode to and UTF-8 can't encode; overrides of the direction
of writing, which turn round what stands beside them.
"""

import re

_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\u2029\ud800-\udfff\ufffe\uffff]"
)


def visible(text: str) -> str:
    """The text with each such character as its escape, such as \\x1b; newlines and tabs stay."""
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def label(text: str, longest: int = 80) -> str:
    """`visible` on one line of at most `longest` characters; what is longer loses its middle."""
    line = " ".join(visible(text).split())
    if len(line) <= longest:
        return line
    head = (longest - 1) // 2
    return f"{line[:head]}…{line[len(line) - (longest - 1 - head) :]}"
