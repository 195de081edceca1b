"""Exact distributions at tiny lengths: all problems are listed and counts compared with them."""

import itertools
from collections import Counter
from collections.abc import Iterable
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from lengthwise.data.tasks.draws import Draws
from lengthwise.data.tasks.registry import TASKS
from lengthwise.data.tasks.sequences import rows_of

SAMPLES = 40_000
Expected = dict[str, Fraction]


def uniform(prompts: Iterable[str]) -> Expected:
    listed = list(prompts)
    return {prompt: Fraction(1, len(listed)) for prompt in listed}


def words(alphabet: Iterable[str], length: int) -> list[str]:
    return [" ".join(w) for w in itertools.product(alphabet, repeat=length)]


def numbers(digits: int) -> list[int]:
    return list(range(10)) if digits == 1 else list(range(10 ** (digits - 1), 10**digits))


def sums(length: int) -> Expected:
    """Pairs of numbers of digits all alike, then numbers."""
    sizes = [s for s in itertools.product(range(1, length + 1), repeat=2) if max(s) == length]
    found = {}
    for first, second in sizes:
        pairs = list(itertools.product(numbers(first), numbers(second)))
        for a, b in pairs:
            text = f"{' '.join(str(a))} + {' '.join(str(b))} ="
            found[text] = Fraction(1, len(sizes) * len(pairs))
    return found


def expressions(length: int, operators: str) -> Expected:
    digits = range(5)
    templates = {1: "{}", 2: "- {}", 3: "( {} )", 4: "( - {} )"}
    if length in templates:
        return uniform(templates[length].format(d) for d in digits)
    found: Counter[str] = Counter()
    for left in range(1, length - 3):
        for a, p in expressions(left, operators).items():
            for b, q in expressions(length - left - 3, operators).items():
                for operator in operators:
                    share = p * q / (length - 4) / len(operators)
                    found[f"( {a} {operator} {b} )"] += share
    return dict(found)


def stacks(length: int) -> Expected:
    found: Counter[str] = Counter()
    for held in range(1, length + 1):
        kinds = [("0", "1")] * held + [("pop", "push0", "push1")] * (length - held)
        listed = list(itertools.product(*kinds))
        for each in listed:
            found[" ".join(each)] += Fraction(1, length * len(listed))
    return dict(found)


def bits(size: int) -> list[str]:
    return (
        ["0", "1"]
        if size == 1
        else ["1" + "".join(b) for b in itertools.product("01", repeat=size - 1)]
    )


def binary_sums(length: int) -> Expected:
    found = {}
    for first in range(1, length - 1):
        pairs = list(itertools.product(bits(first), bits(length - 1 - first)))
        for a, b in pairs:
            text = f"{' '.join(a[::-1])} + {' '.join(b[::-1])}"
            found[text] = Fraction(1, len(pairs) * (length - 2))
    return found


def missing(length: int) -> Expected:
    found = {}
    for word in itertools.product("01", repeat=length):
        for hidden in range(length):
            second = [*word[:hidden], "_", *word[hidden + 1 :]]
            found[" ".join([*word, *second])] = Fraction(1, 2**length * length)
    return found


def untied(length: int) -> list[str]:
    return [w for w in words("01", length) if 2 * w.count("1") != length]


CASES = {
    ("copy_repeat", 3): uniform(words("01", 3)),
    ("parity", 4): uniform(words("01", 4)),
    ("majority", 4): uniform(untied(4)),
    ("bucket_sort", 3): uniform(words("01234", 3)),
    ("copy_unique", 1): uniform(f"t{i}" for i in range(200)),
    ("count", 200): uniform(f"n{i} n{i + 199}" for i in range(57)),
    ("sum_mod_10", 2): uniform(words("0123456789", 2)),
    ("polynomial_mod_10", 1): uniform(words("0123456789", 2)),
    ("cycle_navigation", 3): uniform(words("012", 3)),
    ("s5_words", 1): uniform("".join(p) for p in itertools.permutations("12345")),
    ("modular_arithmetic", 2): uniform(
        f"{a} {o} {b}" for a in range(5) for o in "+-*" for b in range(5)
    ),
    ("addition", 1): sums(1),
    ("addition", 2): sums(2),
    ("binary_addition", 5): binary_sums(5),
    ("square_root", 2): uniform(f"sqrt {' '.join(str(n))} =" for n in range(10, 100)),
    ("compute_sqrt", 3): uniform(" ".join(b) for b in bits(3)),
    ("modular_arithmetic_brackets", 6): expressions(6, "+-*"),
    ("stack_manipulation", 3): stacks(3),
    ("missing_duplicate_string", 3): missing(3),
    ("mode", 1): uniform("abcdefghijklmnopqrstuvwxyz"),
}


def fits(observed: Counter, expected: Expected) -> bool:
    """Whether counts are those of the distribution, by a chi-square test at 1e-4."""
    assert set(observed) <= set(expected)
    assert sum(expected.values()) == 1
    total = sum(observed.values())
    found = [observed[key] for key in expected]
    wanted = [float(share) * total for share in expected.values()]
    return stats.chisquare(found, wanted).pvalue > 1e-4


def prompts(name: str, length: int, samples: int = SAMPLES) -> list[str]:
    draws = Draws.of(11, "chi", np.arange(samples))
    made = TASKS[name].problems(draws, np.full(samples, length))
    return [" ".join(TASKS[name].decode(row)) for row in rows_of(made.prompt)]


@pytest.mark.parametrize(("name", "length"), sorted(CASES), ids=str)
def test_problems_have_their_stated_distribution(name: str, length: int):
    assert fits(Counter(prompts(name, length)), CASES[name, length])


def test_the_test_sees_a_wrong_distribution():
    skewed = Counter(prompts("parity", 4))
    skewed["0 0 0 0"] += 400
    assert not fits(skewed, CASES["parity", 4])


def test_different_integers_are_uniform_over_ordered_pairs():
    """10,000 values are too many to list: by thousands."""
    pairs = [p.replace(" ", "").split(",") for p in prompts("sort_integers_unique", 2)]
    assert all(a != b for a, b in pairs)
    found = Counter((int(a) // 1000, int(b) // 1000) for a, b in pairs)
    same, other = Fraction(1000 * 999, 10**4 * 9999), Fraction(10**6, 10**4 * 9999)
    cells = itertools.product(range(10), repeat=2)
    assert fits(found, {(i, j): same if i == j else other for i, j in cells})


def test_chains_come_in_all_orders_and_signs():
    found: Counter = Counter()
    for prompt in prompts("lego", 3, 20_000):
        clauses = [clause.split() for clause in prompt.split("?")[0].split(";")[:-1]]
        follows = {before: (variable, sign) for variable, _, sign, before in clauses}
        at, signs, order = "1", "", []
        while at in follows:
            at, sign = follows[at]
            signs += sign
            order.append([c[0] for c in clauses].index(at))
        found[signs, tuple(order)] += 1
    orders = itertools.permutations(range(3))
    signs = ["".join(s) for s in itertools.product("+-", repeat=3)]
    assert fits(found, uniform(itertools.product(signs, orders)))


def test_the_hidden_digit_of_an_equation_is_any():
    found = Counter(p.split().index("x") for p in prompts("solve_equation", 6, 20_000))
    # ( d + - d ) and ( - d + d ): the digits stand at 1, 4 and 2, 4, each form half the time.
    assert fits(found, {1: Fraction(1, 4), 2: Fraction(1, 4), 4: Fraction(1, 2)})


def test_all_commands_of_scan_are_alike_within_a_length():
    assert fits(
        Counter(p for p in prompts("scan", 1, 2000)),
        uniform(["walk", "look", "run", "jump", "turn left", "turn right"]),
    )
    assert set(prompts("scan", 41, 50)) <= set(prompts("scan", 40, SAMPLES))


def test_permutations_are_uniform():
    draws = Draws.of(0, "order", np.arange(SAMPLES))
    found = Counter(map(tuple, draws.order("order", 4, 3).tolist()))
    assert fits(found, uniform(itertools.permutations(range(4), 3)))
