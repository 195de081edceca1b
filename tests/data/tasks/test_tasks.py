"""Tasks against brute force: answers, the checker, samples as pure functions of (seed, index)."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lengthwise.common.errors import UserError
from lengthwise.data.tasks.draws import Draws
from lengthwise.data.tasks.registry import TASKS, task_named
from lengthwise.data.tasks.sequences import as_batch, flip, rows_of, squeeze
from lengthwise.data.tasks.task import Problems, Task
from tests.data.tasks.references import LONGEST, REFERENCES

NAMES = sorted(TASKS)


def problems(task: Task, count: int, seed: int = 3, longest: int = 24) -> Problems:
    high = min(task.max_length or longest, LONGEST.get(task.name, longest))
    draws = Draws.of(seed, "test", np.arange(count))
    return task.problems(draws, task.min_length + draws.one("n", high - task.min_length + 1))


@pytest.mark.parametrize("name", NAMES)
def test_answers_are_those_of_brute_force(name: str):
    task = TASKS[name]
    made = problems(task, 60)
    for prompt, answer in zip(rows_of(made.prompt), rows_of(made.answer), strict=True):
        wanted = REFERENCES[name](task.decode(prompt))
        assert task.decode(answer) == wanted
        assert task.solve(task.decode(prompt)) == wanted  # what the checker goes by


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(NAMES), st.integers(0, 2**32 - 1), st.data())
def test_the_checker_takes_the_answer_and_refuses_a_changed_one(name: str, seed: int, data):
    task = TASKS[name]
    made = problems(task, 3, seed)
    assert task.check(made.prompt, made.answer).all()
    answers = rows_of(made.answer)
    row = data.draw(st.integers(0, 2))
    changed = list(answers[row])
    if changed and data.draw(st.booleans()):
        place = data.draw(st.integers(0, len(changed) - 1))
        others = [s for s in range(len(task.alphabet)) if s != changed[place]]
        if not others:  # an alphabet of one symbol: only its number can be wrong
            others = [0]
            changed.append(0)
        changed[place] = data.draw(st.sampled_from(others))
    elif changed and data.draw(st.booleans()):
        del changed[-1]
    else:
        changed.append(data.draw(st.integers(0, len(task.alphabet) - 1)))
    answers[row] = changed
    wanted = np.arange(3) != row
    np.testing.assert_array_equal(task.check(made.prompt, as_batch(answers)), wanted)


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(NAMES), st.lists(st.integers(0, 49), min_size=1, max_size=6))
def test_a_sample_is_the_same_in_any_batch(name: str, chosen: list[int]):
    task = TASKS[name]
    made = problems(task, 50)
    high = min(task.max_length or 24, LONGEST.get(name, 24))
    draws = Draws.of(3, "test", np.array(chosen))
    again = task.problems(draws, task.min_length + draws.one("n", high - task.min_length + 1))
    for field in ("prompt", "answer"):
        all_rows = rows_of(getattr(made, field))
        assert rows_of(getattr(again, field)) == [all_rows[i] for i in chosen]


def test_other_seeds_and_uses_give_other_samples():
    task, length = TASKS["copy"], np.full(20, 12)
    made = [
        rows_of(task.problems(Draws.of(seed, use, np.arange(20)), length).prompt)
        for seed, use in ((0, "a"), (0, "b"), (1, "a"))
    ]
    rows = {tuple(row) for batch in made for row in batch}
    assert len(rows) == 60


# What the length says of a problem, from its symbols alone.
LENGTHS = {
    "addition": lambda p, a: max(map(len, "".join(p).rstrip("=").split("+"))),
    "binary_addition": lambda p, a: len(p),
    "count": lambda p, a: len(a),
    "sort_integers_unique": lambda p, a: p.count(",") + 1,
    "modular_arithmetic": lambda p, a: len(p[::2]),
    "solve_equation": lambda p, a: len(p) - 2,
    "polynomial_mod_10": lambda p, a: len(p) - 1,
    "missing_duplicate_string": lambda p, a: len(p) / 2,
    "multi_query_recall": lambda p, a: len(a),
    "lego": lambda p, a: p.count(";"),
    "convex_hull": lambda p, a: len(p) / 2,
    "string_edits": lambda p, a: sum(s.islower() for s in p),
    "square_root": lambda p, a: len(p) - 2,
    "stack_manipulation": lambda p, a: len(p),
    "successor": lambda p, a: p.index("?"),
    "copy_2x": lambda p, a: len(p),
}


@pytest.mark.parametrize("name", sorted(LENGTHS))
def test_the_length_counts_what_it_says(name: str):
    task = TASKS[name]
    for length in (max(task.min_length, 3), 10):
        made = task.problems(Draws.of(0, "l", np.arange(40)), np.full(40, length))
        for prompt, answer in zip(rows_of(made.prompt), rows_of(made.answer), strict=True):
            assert LENGTHS[name](task.decode(prompt), task.decode(answer)) == length


@pytest.mark.parametrize("name", [name for name in NAMES if TASKS[name].trace])
def test_the_outputs_of_a_trace_are_the_answer(name: str):
    task = TASKS[name]
    made = problems(task, 40)
    trace = task.trace(made)
    assert (trace.consumed < trace.steps[:, None]).all()
    outputs = squeeze(trace.output.reshape(len(made.prompt), -1))
    answer = flip(made.answer) if task.numeric else made.answer  # sums come from the right
    assert rows_of(outputs) == rows_of(answer)


def test_unknown_tasks_and_impossible_lengths():
    assert task_named("parity_check", "x") is TASKS["parity"]
    with pytest.raises(UserError, match=r"data.task.name='pairity' is no task; .*parity"):
        task_named("pairity", "data.task.name")
    with pytest.raises(UserError, match=r"lengths=\(2, 9\): binary_addition takes .* 3 or more"):
        TASKS["binary_addition"].check_lengths(2, 9, "lengths")
    with pytest.raises(UserError, match=r"copy_unique takes lengths 1 to 200 \(symbols of"):
        TASKS["copy_unique"].check_lengths(1, 201, "lengths")
    with pytest.raises(UserError, match=r"lengths=\(9, 5\) is empty; copy takes lengths 1 or more"):
        TASKS["copy"].check_lengths(9, 5, "lengths")
    with pytest.raises(UserError, match="mode takes lengths 1 or more"):
        TASKS["mode"].problems(Draws.of(0, "", np.arange(1)), np.zeros(1, np.int64))


def test_lengths_that_no_command_of_scan_has_are_named():
    task = TASKS["scan"]
    draws = Draws.of(0, "test", np.arange(64))
    for length in range(task.min_length, 49):
        problems = task.problems(draws, np.full(64, length))
        found = {len(row) for row in rows_of(problems.answer)}
        assert (found == {length}) == (length not in task.missing)
