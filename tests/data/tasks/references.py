"""Answers by brute force, written apart from the tasks: prompt symbols in, answer symbols out."""

import itertools
import math
import re

from lengthwise.data.tasks.registry import TASKS


def _number_of(text: str, base: int = 10, little_endian: bool = False) -> int:
    value = 0
    for digit in reversed(text) if little_endian else text:
        value = value * base + int(digit)
    return value


def _bits_little(value: int) -> list[str]:
    bits = []
    while True:
        bits.append(str(value % 2))
        value //= 2
        if not value:
            return bits


def _root(value: int) -> int:
    root = 0
    while (root + 1) ** 2 <= value:  # fine for small numbers
        root += 1
    return root


def _selection(items: list, key) -> list:
    left, out = list(items), []
    while left:
        smallest = min(left, key=key)
        left.remove(smallest)
        out.append(smallest)
    return out


def _number_in_name(symbol: str) -> int:
    return int(re.sub(r"\D", "", symbol))


def _arithmetic(prompt: list[str]) -> list[str]:
    text = "".join(prompt).rstrip("=")
    if text.startswith("sqrt"):
        return list(str(_root(_number_of(text[4:]))))
    return list(str(eval(re.sub(r"\b0+(?=\d)", "", text))))


def _binary(prompt: list[str]) -> list[str]:
    text = "".join(prompt)
    for operator in "+*":
        if operator in text:
            a, b = (_number_of(side, 2, little_endian=True) for side in text.split(operator))
            return _bits_little(a + b if operator == "+" else a * b)
    return _bits_little(_root(_number_of(text, 2)))[::-1]


def _equation(prompt: list[str]) -> list[str]:
    left, right = "".join(prompt).split("=")
    fits = [d for d in "01234" if (eval(left.replace("x", d)) - int(right)) % 5 == 0]
    assert len(fits) == 1
    return fits


def _stack(prompt: list[str]) -> list[str]:
    stack = ""
    for symbol in prompt:
        stack = stack[1:] if symbol == "pop" else symbol[-1] + stack
    return list(stack)


def _neighbour(prompt: list[str], sign: int) -> list[str]:
    asked = _number_in_name(prompt[-1])
    numbers = {_number_in_name(s) for s in prompt[:-2]}
    for distance in range(1, 100):
        if asked + sign * distance in numbers:
            return [f"t{asked + sign * distance}"]
    return ["none"]


def _s5(prompt: list[str]) -> list[str]:
    out = []
    for i in range(5):
        at = i
        for permutation in prompt:
            at = int(permutation[at]) - 1
        out.append(str(at + 1))
    return ["".join(out)]


def _lego(prompt: list[str]) -> list[str]:
    """Passes over the clauses until all are known."""
    clauses = [c.split() for c in " ".join(prompt[:-2]).split(";") if c.strip()]
    known = {"1": 1}
    while prompt[-1] not in known:
        for variable, _, sign, before in clauses:
            if before in known:
                known[variable] = known[before] * (1 if sign == "+" else -1)
    return ["+" if known[prompt[-1]] == 1 else "-"]


def _recall(prompt: list[str]) -> list[str]:
    middle = prompt.index("?")
    return [prompt[prompt.index(key) + 1] for key in prompt[middle + 1 :]]


_MOVES = {"walk": "WALK", "look": "LOOK", "run": "RUN", "jump": "JUMP"}


def _scan(prompt: list[str]) -> list[str]:
    """By rewriting the text."""
    text = " ".join(prompt)
    for joint in (" and ", " after "):
        if joint in text:
            first, second = (_scan(part.split()) for part in text.split(joint))
            return first + second if joint == " and " else second + first
    out: list[str] = []
    match = re.fullmatch(
        r"(\w+?)(?: (opposite|around))?(?: (left|right))?(?: (twice|thrice))?", text
    )
    verb, manner, side, times = match.groups()
    act = _MOVES.get(verb)
    turn = side.upper() if side else None
    if manner == "around":
        for _ in range(4):
            out += [turn] + ([act] if act else [])
    else:
        out += [turn] * (2 if manner == "opposite" else 1 if turn else 0) + ([act] if act else [])
    return out * {None: 1, "twice": 2, "thrice": 3}[times]


def _edits(prompt: list[str]) -> list[str]:
    """From the left, recursively; returns the value and what is left of the prompt."""

    def value(symbols: list[str]) -> tuple[str, list[str]]:
        head, rest = symbols[0], symbols[1:]
        if head.isupper():
            size = next((i for i, s in enumerate(symbols) if s == ","), len(symbols))
            return "".join(symbols[:size]), symbols[size:]
        x, rest = value(rest)
        if head in ("append", "prepend"):
            y, rest = value(rest[1:])
            return (x + y if head == "append" else y + x), rest
        swapped = x if len(x) == 1 else x[-1] + x[1:-1] + x[0]
        of = {"copy": x, "reverse": x[::-1], "shift": x[1:] + x[0], "echo": x + x[-1]}
        return of.get(head, swapped), rest

    found, rest = value(prompt)
    assert not rest
    return list(found)


def _hull(prompt: list[str]) -> list[str]:
    """Corners: points that lie in no segment or triangle of others; by angle around their mean."""
    numbers = [int(s[1:]) for s in prompt]
    points = list(zip(numbers[::2], numbers[1::2], strict=True))

    def cross(o, a, b) -> int:
        return (a[0] - o[0]) * (b[1] - o[1]) - (a[1] - o[1]) * (b[0] - o[0])

    def inside(p, others) -> bool:
        for a, b in itertools.combinations(others, 2):
            between = (a[0] - p[0]) * (b[0] - p[0]) + (a[1] - p[1]) * (b[1] - p[1]) <= 0
            if cross(a, b, p) == 0 and between:
                return True
        for a, b, c in itertools.combinations(others, 3):
            turns = [cross(a, b, p), cross(b, c, p), cross(c, a, p)]
            if cross(a, b, c) and (all(t >= 0 for t in turns) or all(t <= 0 for t in turns)):
                return True
        return False

    corners = [p for p in points if not inside(p, [q for q in points if q != p])]
    mx, my = (sum(c[i] for c in corners) / len(corners) for i in (0, 1))
    corners.sort(key=lambda c: math.atan2(c[1] - my, c[0] - mx))
    first = corners.index(min(corners))
    return [f"p{points.index(c)}" for c in corners[first:] + corners[:first]]


REFERENCES = {
    "copy": lambda p: list(p),
    "copy_2x": lambda p: [*p, *p],
    "copy_v1": lambda p: list(p),
    "copy_v1_2x": lambda p: [*p, *p],
    "copy_v2": lambda p: ["y" for _ in p],
    "copy_v2_2x": lambda p: ["y" for _ in [*p, *p]],
    "copy_unique": lambda p: list(p),
    "copy_repeat": lambda p: list(p),
    "reverse": lambda p: list(reversed(p)),
    "reverse_2x": lambda p: [*reversed(p), *p],
    "reverse_string": lambda p: list(reversed(p)),
    "duplicate_string": lambda p: [*p, *p],
    "odds_first": lambda p: [
        *(s for i, s in enumerate(p) if i % 2 == 0),
        *(s for i, s in enumerate(p) if i % 2),
    ],
    "missing_duplicate_string": lambda p: [
        a for a, b in zip(p[: len(p) // 2], p[len(p) // 2 :], strict=True) if b == "_"
    ],
    "sort": lambda p: _selection(p, _number_in_name),
    "sort_unique": lambda p: _selection(p, _number_in_name),
    "sort_integers": lambda p: list(",".join(_selection("".join(p).split(","), int))),
    "sort_integers_unique": lambda p: list(",".join(_selection("".join(p).split(","), int))),
    "bucket_sort": lambda p: [d for d in "01234" for s in p if s == d],
    "successor": lambda p: _neighbour(p, 1),
    "predecessor": lambda p: _neighbour(p, -1),
    "count_of": lambda p: [s for s in p[:-2] if s == p[-1]],
    "fill": lambda p: [
        s
        for s, shown in zip(
            _selection(p[: p.index("?")], _number_in_name), p[p.index("?") + 1 :], strict=True
        )
        if shown == "_"
    ],
    "count": lambda p: [
        f"n{i}" for i in range(256) if _number_in_name(p[0]) <= i <= _number_in_name(p[1])
    ],
    "mode": lambda p: sorted(p, key=lambda s: (-p.count(s), s))[:1],
    "majority": lambda p: ["1" if 2 * p.count("1") > len(p) else "0"],
    "parity": lambda p: [str(bin(int("".join(p), 2)).count("1") % 2)],
    "sum_mod_10": lambda p: list(str(sum(int(s) for s in p)))[-1:],
    "polynomial_mod_10": lambda p: list(
        str(sum(int(c) * int(p[0]) ** k for k, c in enumerate(reversed(p[1:]))))
    )[-1:],
    "even_pairs": lambda p: ["1" if p[0] == p[-1] else "0"],
    "modular_arithmetic": lambda p: [str(eval("".join(p)) % 5)],
    "cycle_navigation": lambda p: [str(sum({"0": 0, "1": 1, "2": 4}[s] for s in p) % 5)],
    "s5_words": _s5,
    "addition": _arithmetic,
    "subtraction": _arithmetic,
    "multiplication": _arithmetic,
    "square_root": _arithmetic,
    "binary_addition": _binary,
    "binary_multiplication": _binary,
    "compute_sqrt": _binary,
    "modular_arithmetic_brackets": lambda p: [str(eval("".join(p)) % 5)],
    "solve_equation": _equation,
    "stack_manipulation": _stack,
    "scan": _scan,
    "string_edits": _edits,
    "key_value_recall": _recall,
    "multi_query_recall": _recall,
    "lego": _lego,
    "convex_hull": _hull,
}
assert REFERENCES.keys() == TASKS.keys()

# The longest length at which each reference is quick.
LONGEST = {"square_root": 12, "compute_sqrt": 30, "convex_hull": 8, "string_edits": 12}
