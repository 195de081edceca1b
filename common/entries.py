"""Entries of settings: a component and some of its fields as one text, "name:field=value,..."."""

import ast
from typing import Any

from lengthwise.common.errors import UserError


def entry(text: str, where: str, example: str) -> tuple[str, dict[str, Any]]:
    """(name, its fields) of "name:field=value,field=value".

    where, example: the field that holds the text, and a right one, for errors.
    """
    name, _, rest = text.strip().partition(":")
    fields: dict[str, Any] = {}
    for each in filter(None, rest.split(",")):
        field, equals, value = each.partition("=")
        if not equals:
            raise UserError(
                f"{where} holds {text!r}: {each!r} is no FIELD=VALUE; write it as {example!r}"
            )
        try:
            fields[field.strip()] = ast.literal_eval(value.strip())
        except (ValueError, SyntaxError):
            fields[field.strip()] = value.strip()  # a word
    return name, fields
