"""Names of methods, for people."""

from __future__ import annotations

# Part of a method's name -> (title, in a sentence after "with", what it does).
PARTS = {
    "linear": (
        "Linear (PI)",
        "linear RoPE scaling",
        "position interpolation: RoPE positions divided by the factor",
    ),
    "ntk": (
        "NTK-aware",
        "NTK-aware RoPE scaling",
        "RoPE base raised so that the lowest frequency is interpolated by the factor",
    ),
    "dynamic": (
        "Dynamic NTK",
        "dynamic NTK scaling",
        "RoPE base raised with the length of the sequence",
    ),
    "by_parts": (
        "NTK by parts",
        "NTK-by-parts RoPE scaling",
        "slow RoPE channels interpolated, fast ones kept, those between mixed",
    ),
    "yarn": ("YaRN", "YaRN", "like NTK by parts, and sharper attention"),
    "llama3": (
        "Llama 3",
        "Llama 3's RoPE scaling",
        "like NTK by parts, with more channels interpolated",
    ),
    "truncated": (
        "Truncated basis",
        "a truncated RoPE basis",
        "RoPE channels that never came round in training slowed to one frequency or stopped",
    ),
    "power": (
        "Power basis",
        "a power RoPE basis",
        "RoPE channels slowed more, the slower they are",
    ),
    "window": (
        "Sliding window",
        "a sliding window",
        "attention sees the last L_train tokens, in each layer",
    ),
    "lambda": (
        "Lambda mask",
        "the Lambda mask",
        "attention sees the first tokens (sinks) and a window, L_train tokens in all",
    ),
    "chunks": (
        "Chunks",
        "chunked attention",
        "attention sees its own stretch of L_train tokens",
    ),
    "ceiling": (
        "distance ceiling",
        "a ceiling on distances",
        "distances beyond L_train count as the longest in it",
    ),
    "string": (
        "STRING",
        "shifted positions (STRING)",
        "far distances shifted to nearer ones, so that the longest is about half the context",
    ),
    "log_n": (
        "log n",
        "queries scaled by log n",
        "queries beyond L_train grow with the log of their position",
    ),
}
PLAIN_NOTE = "the model as trained, run at the longer length"


def method_title(name: str) -> str:
    """A method's name for people: "YaRN + log n"; unknown ones keep their own."""
    if name == "plain":
        return "Plain"
    titles = [PARTS[part][0] if part in PARTS else part for part in parts_of(name)]
    text = " + ".join(titles)
    return text[:1].upper() + text[1:] if parts_of(name)[0] in PARTS else text


def in_sentence(name: str) -> str:
    """Method as the end of a sentence."""
    if name == "plain":
        return "run as it is"
    return "with " + " and ".join(PARTS[p][1] if p in PARTS else p for p in parts_of(name))


def parts_of(name: str) -> list[str]:
    """Parts that a method combines."""
    return [part.strip() for part in name.split("+")]
