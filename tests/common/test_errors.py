"""Advice of errors: fields that there are, with values that they may have; it travels along."""

import ast
import pickle
from pathlib import Path

from lengthwise.common.errors import UserError
from lengthwise.configs.base import get_config
from lengthwise.configs.resolve import load

ROOT = Path(__file__).parents[2]
ROOMS = ("common", "configs", "data", "model", "train", "eval", "app", "experiments")


def advised() -> list[tuple[str, ast.expr]]:
    """(field, value) of every advice that the code writes out."""
    items = []
    for file in (path for room in ROOMS for path in (ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "advice":
                for written in (
                    each for each in ast.walk(node.value) if isinstance(each, ast.Dict)
                ):
                    items += [
                        (key.value, value)
                        for key, value in zip(written.keys, written.values, strict=True)
                        if isinstance(key, ast.Constant)
                    ]
    return items


def test_advice_is_a_config_that_loads() -> None:
    fields = advised()
    assert {field for field, _ in fields} >= {"data.bad_records", "stopping.patience"}
    for field, value in fields:
        config = get_config()
        section, name = config, field
        while "." in name:
            head, _, name = name.partition(".")
            section = section[head]
        assert name in section, field
        if isinstance(value, ast.Constant):
            section[name] = value.value
            load(config, None)


def test_advice_survives_the_way_back_from_a_worker() -> None:
    error = UserError("a line", advice={"data.bad_records": "skip"})
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.advice) == ("a line", {"data.bad_records": "skip"})
