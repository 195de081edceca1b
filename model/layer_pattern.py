"""The pattern of layers: the position scheme and the mask of successive ones, as a config has them.

An entry is `SCHEME[:FIELD=VALUE,...][/MASK[:FIELD=VALUE,...]]`, such as "rope",
"rope:theta=1e4/window:size=512" or "none/full". Fields of a scheme that an entry doesn't give are
those of model.positions.
"""

from typing import Any

from lengthwise.common.entries import entry


def scheme_names(pattern: tuple[str, ...]) -> set[str]:
    """The position schemes that a pattern names."""
    return {parts(entry.partition("/")[0])[0] for entry in pattern}


def parts(text: str) -> tuple[str, dict[str, Any]]:
    """(name, its fields) of "name:field=value,field=value"."""
    return entry(text, "model.layer_pattern", "rope:theta=10000/window:size=512")
