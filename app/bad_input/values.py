"""Values that a field of a config may be given by mistake: as text of a flag, as Python."""

import numpy as np

from lengthwise.common.settings import declarations
from lengthwise.configs.base import RunConfig

_DECLARED = dict(declarations(RunConfig))
FIELDS = tuple(_DECLARED)

# Of another type, out of any range, not finite, empty, huge, of another alphabet, of a shell.
TEXTS = (
    *("", " ", "x", "None", "none", "null", "true", "False", "yes", "nope", "auto", "default"),
    *("0", "-1", "1", "2", "3", "7", "0.5", "-0.0", "1e400", "1e-320", "nan", "inf", "-inf"),
    *("99999999999999999999999999", "1_000", "0x10", "1,000", "1e3", "2**10", "½", "四", "٣"),
    *("()", "(", "(1,2", "(1,2)", "('a',)", "[1]", "{}", "{'a':1}", "({'a':1},)", "(((1)))"),
    *("a b", "'", '"', "\\", "$x_1$", "<script>", "\x00", "\n", "\x1b[31m", "é" * 300, "a" * 5000),
    *(
        "../../etc/passwd",
        "/dev/null",
        "/",
        "~",
        ".",
        "gs://bucket/x",
        "C:\\x",
        "a/../b",
        "-",
        "--",
    ),
    *("1; rm", "%s", "{0}", "None,", "1 2", "lambda: 0", "1j", "b'x'", "1e999", "9" * 400),
)
LITERALS = (
    *("None", "True", "False", "''", "'x'", "b'x'", "0", "-1", "1", "10**30", "0.5", "-0.0"),
    *("1e400", "float('nan')", "-float('inf')", "1j", "()", "(1,)", "('a', 1)", "[]", "[1, 2]"),
    *("{}", "{'a': 1}", "({'a': 1},)", "({},)", "({'domain': 'a'},)", "({'steps': 5},)", "set()"),
    *("object()", "int", "len", "lambda: 0", "range(3)", "'\\x00'", "'a' * 10_000", "'é\\n'"),
    *("__import__('numpy').float32(3)", "__import__('numpy').arange(3)", "'\\ud800'", "[[[]]]"),
)


def some_fields(rng: np.random.Generator) -> list[str]:
    """One field, or a few at once."""
    count = 1 if rng.random() < 0.7 else int(rng.integers(2, 4))
    return [str(name) for name in rng.choice(FIELDS, size=count, replace=False)]


def flag_text(rng: np.random.Generator, field: str) -> str:
    """Text of a flag: one of those above, the default with a change, or a choice of another."""
    if rng.random() < 0.7:
        return str(rng.choice(np.array(TEXTS, object)))
    declared = _DECLARED[field]
    default = declared.default
    near = [f"{default}", f"{default}x", f"-{default}", f"{default},", *declared.choices]
    return str(rng.choice(np.array(near, object)))


def literal(rng: np.random.Generator) -> str:
    """A Python expression."""
    return str(rng.choice(np.array(LITERALS, object)))
