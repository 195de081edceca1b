"""Values that a field of a config may be given by mistake: as text of a flag, as Python."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lengthwise.common.errors import UserError
from lengthwise.common.settings import Declared, declarations
from lengthwise.common.trees import check_value
from lengthwise.configs.base import RunConfig
from lengthwise.data.layouts.config import LAYOUTS
from lengthwise.data.schedule.curriculum import CURRICULA
from lengthwise.eval.registry import SCORERS
from lengthwise.model.positions.registry import SCHEMES
from lengthwise.train.rules.registry import STOPPING_SCORES
from lengthwise.train.step.registry import OPTIMIZERS

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


# Names that a registry has.
_NAMES: dict[str, Callable[[], Sequence[str]]] = {
    "model.positions.scheme": SCHEMES.names,
    "model.layer_pattern": SCHEMES.names,
    "phase.layout.name": LAYOUTS.names,
    "phase.curriculum.name": CURRICULA.names,
    "optimizer.name": OPTIMIZERS.names,
    "stopping.score": STOPPING_SCORES.names,
    "eval.scorers": SCORERS.names,
    "eval.during": SCORERS.names,
    "eval.methods": lambda: ("linear", "yarn+log_n", "lambda+ceiling", "power", "string", "chunks"),
}


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


def allowed_value(rng: np.random.Generator, sections: tuple[str, ...]) -> tuple[str, object]:
    """A field of some sections with a value that its declaration allows: an end of its interval, a
    choice, an odd number."""
    names = [name for name in FIELDS if name.startswith(sections)]
    while True:  # a text may have no other value
        field = names[int(rng.integers(len(names)))]
        declared = _DECLARED[field]
        options = [each for each in _options(field, declared) if _is_allowed(each, declared)]
        if options:
            return field, options[int(rng.integers(len(options)))]


def _options(field: str, declared: Declared) -> tuple[Any, ...]:
    default = declared.default
    if field in _NAMES or declared.choices:
        names = _NAMES[field]() if field in _NAMES else declared.choices
        one_each = tuple((name,) for name in names)
        return (*one_each, tuple(names[:2])) if isinstance(default, tuple) else tuple(names)
    if isinstance(default, bool):
        return (not default,)
    if isinstance(default, int):
        return (*(0, 1, 2, 3, 7, 16, 63, 64, 100), 2 * default, default // 2, default + 1)
    if isinstance(default, float):
        return (0.0, 1e-9, 0.3, 0.5, 1.0, 2.0, 100.0, 10 * default, default / 10)
    if default is None:
        return (0, 7)
    if isinstance(default, tuple):
        number = default[0] if default else 1
        if isinstance(number, bool | str):
            return ((),)
        return ((), (1,), (64,), (1, 2), (2, 1), (1, 2, 3), (0.5, 1.0), (1.0, 2.0), (1.5, 3.0, 1.0))
    return ()


def _is_allowed(value: Any, declared: Declared) -> bool:
    try:
        check_value(value, "", {"within": declared.within, "choices": declared.choices})
    except UserError:
        return False
    return True
