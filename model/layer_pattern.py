"""The pattern of layers: the position scheme and the mask of successive ones, as a config has them.

An entry is `SCHEME[:FIELD=VALUE,...][/MASK[:FIELD=VALUE,...]]`, such as "rope",
"rope:theta=1e4/window:size=512" or "none/full". Fields of a scheme that an entry doesn't give are
those of model.positions.
"""

import ast
from typing import Any

from lengthwise.common.errors import UserError


def scheme_names(pattern: tuple[str, ...]) -> set[str]:
    """The position schemes that a pattern names."""
    return {parts(entry.partition("/")[0])[0] for entry in pattern}


def parts(text: str) -> tuple[str, dict[str, Any]]:
    """(name, its fields) of "name:field=value,field=value"."""
    name, _, rest = text.strip().partition(":")
    fields: dict[str, Any] = {}
    for each in filter(None, rest.split(",")):
        field, equals, value = each.partition("=")
        if not equals:
            raise UserError(
                f"model.layer_pattern holds {text!r}: {each!r} is no FIELD=VALUE; write it as "
                "'rope:theta=10000/window:size=512'"
            )
        try:
            fields[field.strip()] = ast.literal_eval(value.strip())
        except (ValueError, SyntaxError):
            fields[field.strip()] = value.strip()  # a word
    return name, fields
