"""Formats against writers of single problems in plain Python; samples, shots and hints."""

import itertools

import numpy as np
import pytest

from lengthwise.common.errors import UserError
from lengthwise.data.tasks.config import FormatConfig, HintConfig, TaskConfig
from lengthwise.data.tasks.formats import FORMATS, Format, formats_of
from lengthwise.data.tasks.registry import TASKS
from lengthwise.data.tasks.samples import TaskSamples
from lengthwise.data.tasks.scratchpads import SCRATCHPAD_PARTS, TAIL_PARTS
from lengthwise.data.tasks.sequences import rows_of


def task_config(name: str = "addition", *transforms: str, **changes) -> TaskConfig:
    form = {
        "transforms": transforms,
        "scratchpad_parts": SCRATCHPAD_PARTS,
        "tail_parts": TAIL_PARTS,
        "hint_symbols": 32,
        "shots": 0,
    }
    form |= {key: changes.pop(key) for key in tuple(changes) if key in form}
    rest = {"lengths": (1, 6), "samples": 100, "hints": (), "seed": 0} | changes
    return TaskConfig(name=name, format=FormatConfig(**form), **rest)


def documents(config: TaskConfig, count: int = 200) -> list[tuple[list[str], list[str]]]:
    """(prompt, answer) in names, without <answer> and <end>."""
    samples = TaskSamples(config)
    made = samples.training(np.arange(count))
    found = []
    for row, size in zip(rows_of(made.tokens), made.prompt.tolist(), strict=True):
        names = samples.symbols.text(row).split()
        assert names[size - 1] == "<answer>"
        assert names[-1] == "<end>"
        found.append((names[: size - 1], names[size:-1]))
    return found


def operands(prompt: list[str]) -> tuple[int, int]:
    first, second = "".join(prompt).rstrip("=").split("+")
    return int(first), int(second)


def steps(a: int, b: int) -> list[tuple[str, str, int, int, int]]:
    """Of each place: the digits that are there, the carry, the digit of the sum, the next carry."""
    found, carry, place = [], 0, 0
    while place < max(len(str(a)), len(str(b))) or carry:
        x, y = (str(n)[::-1][place : place + 1] for n in (a, b))
        total = int(x or 0) + int(y or 0) + carry
        found.append((x, y, carry, total % 10, total // 10))
        carry, place = total // 10, place + 1
    return found


def plain(a: int, b: int) -> str:
    return str(a + b)


def padded(a: int, b: int) -> str:
    return str(a + b).zfill(max(len(str(a)), len(str(b))) + 1)


def backwards(a: int, b: int) -> str:
    return "$" + str(a + b)[::-1]


def padded_backwards(a: int, b: int) -> str:
    return "$" + padded(a, b)[::-1]


def simple(a: int, b: int) -> str:
    lines = [f"A->{digit},C->{carry}<step>" for *_, digit, carry in steps(a, b)]
    return "".join(lines) + f"=>{a + b}"


def detailed(a: int, b: int) -> str:
    lines, so_far = "", ""
    for place, (x, y, carry, digit, after) in enumerate(steps(a, b)):
        left = [str(n)[: max(len(str(n)) - place, 0)] for n in (a, b)]
        total = int(x or 0) + int(y or 0) + carry
        lines += f"[{left[0]}]+[{left[1]}],A=[{so_far}],C={carry},"
        lines += f"{x or 0}+{y or 0}+{carry}={total},A->{digit},C->{after}<step>"
        so_far = f"{digit}{so_far}"
    return lines + f"=>{a + b}"


def five(a: int, b: int, parts: tuple[str, ...]) -> str:
    text = ""
    for place, (x, y, carry, digit, after) in enumerate(steps(a, b)):
        left = [str(n)[: max(len(str(n)) - place - 1, 0)] for n in (a, b)]
        total = int(x or 0) + int(y or 0) + carry
        of = {
            "input": f"{x}{y}",
            "computation": f"{x or 0}+{y or 0}+{carry}={total}",
            "output": str(digit),
            "variables": str(after),
            "remaining": "".join(left),
        }
        text += "".join(of[part] + "|" for part in SCRATCHPAD_PARTS if part in parts) + "<step>"
    return text + f"=>{a + b}"


def tail(a: int, b: int, parts: tuple[str, ...]) -> str:
    text, made = "", steps(a, b)
    for place, (x, y, carry, digit, after) in enumerate(made):
        last = place == len(made) - 1
        if "transition" not in parts and place % 2 == 0 and not last:
            continue
        total = int(x or 0) + int(y or 0) + carry
        text += f"{x}{y}|" if "fetcher" in parts else ""
        text += f"{x or 0}+{y or 0}+{carry}={total}|" if "atomic" in parts else ""
        text += f"{digit}{after}"
        text += ("END" if last else "next") if "atomic" in parts else ""
        text += "<step>"
    return text + f"=>{a + b}"


@pytest.mark.parametrize(
    ("transforms", "writer"),
    [
        ((), plain),
        (("padded",), padded),
        (("reversed",), backwards),
        (("reversed", "padded"), padded_backwards),
        (("simple_scratchpad",), simple),
        (("detailed_scratchpad",), detailed),
    ],
)
def test_additions_are_written_as_by_hand(transforms, writer):
    for prompt, answer in documents(task_config("addition", *transforms)):
        a, b = operands(prompt)
        assert "".join(answer) == writer(a, b)
        wide = max(len(str(a)), len(str(b))) if "padded" in transforms else 0
        assert "".join(prompt) == f"{str(a).zfill(wide)}+{str(b).zfill(wide)}="


@pytest.mark.parametrize("left_out", [None, *SCRATCHPAD_PARTS])
def test_each_part_of_the_scratchpad_can_be_left_out(left_out):
    parts = tuple(part for part in SCRATCHPAD_PARTS if part != left_out)
    for prompt, answer in documents(task_config("addition", "scratchpad", scratchpad_parts=parts)):
        assert "".join(answer) == five(*operands(prompt), parts)


@pytest.mark.parametrize("left_out", [None, *TAIL_PARTS])
def test_each_part_of_a_tail_trace_can_be_left_out(left_out):
    parts = tuple(part for part in TAIL_PARTS if part != left_out)
    for prompt, answer in documents(task_config("addition", "tail", tail_parts=parts)):
        assert "".join(answer) == tail(*operands(prompt), parts)


def test_index_hints_of_equal_places_are_equal():
    offsets = set()
    for transforms in (("index_hints",), ("index_hints", "reversed", "padded")):
        for prompt, answer in documents(task_config("addition", *transforms)):
            symbols = [*prompt, *answer]
            digits = {}
            for hint, digit in itertools.pairwise(symbols):
                if hint[0] == "h":
                    assert digit.isdecimal()
                    digits.setdefault(hint, []).append(int(digit))
            first = min(int(hint[1:]) for hint in digits)
            offsets.add(first)
            # Column sums, which the hints alone define, carries carried by hand.
            carry = 0
            for number in range(first, first + len(digits)):
                *terms, total = digits[f"h{number}"]
                assert (sum(terms) + carry) % 10 == total
                carry = (sum(terms) + carry) // 10
            assert carry == 0
    assert len(offsets) > 20  # of 32


@pytest.mark.parametrize("name", ["copy", "reverse_2x", "sort"])
def test_index_hints_of_copied_symbols_say_where_they_stood(name: str):
    for prompt, answer in documents(task_config(name, "index_hints")):
        at = dict(zip(prompt[::2], prompt[1::2], strict=True))
        assert len(at) == len(prompt) // 2
        assert [at[hint] for hint in answer[::2]] == answer[1::2]


@pytest.mark.parametrize(
    ("name", "form"), [(n, f) for n in sorted(TASKS) for f in formats_of(TASKS[n])]
)
def test_every_format_of_every_task_keeps_prompt_and_answer(name: str, form: str):
    task = TASKS[name]
    low = task.min_length
    config = task_config(name, form, lengths=(low, low + 5))
    reference = task_config(name, lengths=(low, low + 5))
    pairs = zip(documents(config, 30), documents(reference, 30), strict=True)
    for (prompt, answer), (plain_prompt, plain_answer) in pairs:
        if form in ("padded", "reversed"):
            sign = [s for s in answer if s == "-"]
            digits = [s for s in answer if s.isdecimal()]
            digits = digits[::-1] if form == "reversed" else digits
            assert int("".join(sign + digits)) == int("".join(plain_answer))
        elif form == "index_hints":
            unhinted = [s for s in answer if s[0] != "h"]
            assert unhinted == plain_answer
        else:
            assert prompt == plain_prompt
            assert answer[len(answer) - answer[::-1].index("=>") :] == plain_answer


def test_remaining_input_of_an_automaton_is_what_it_has_not_read():
    config = task_config("parity", "scratchpad", scratchpad_parts=("remaining",))
    for prompt, answer in documents(config):
        lines = " ".join(answer).split("=>")[0].split("<step>")[:-1]
        rests = [prompt[i + 1 :] for i in range(len(prompt))]
        assert [line.split()[:-1] for line in lines] == rests


def test_shots_are_solved_examples_of_the_same_length():
    for prompt, answer in documents(task_config("reverse", shots=2, lengths=(3, 6))):
        *shots, asked = " ".join(prompt).split(" <separator> ")
        questions = [asked, *(shot.split(" <answer> ")[0] for shot in shots)]
        assert len(set(questions)) == 3  # none repeats what is asked
        assert answer == asked.split()[::-1]
        for shot in shots:
            question, said = (part.split() for part in shot.split(" <answer> "))
            assert said == question[::-1]
            assert len(question) == len(answer)


def test_hints_come_on_top_of_the_same_samples_of_the_main_task():
    alone = documents(task_config("sort", samples=600), 600)
    hints = (HintConfig("successor", 0.3), HintConfig("fill", 0.1))
    config = task_config("sort", samples=600, hints=hints)
    total = TaskSamples(config).total
    mixed = documents(config, total)
    main = [(prompt[1:], answer) for prompt, answer in mixed if prompt[0] == "<sort>"]
    assert main == alone
    assert mixed[-1][0][0] == "<sort>"  # no sample more than the main task needs
    tags = [prompt[0] for prompt, _ in mixed]
    assert abs(tags.count("<successor>") / total - 0.3) < 0.01
    assert abs(tags.count("<fill>") / total - 0.1) < 0.01
    for prompt, answer in mixed:
        task = TASKS[prompt[0].strip("<>")]
        assert task.solve(prompt[1:]) == answer


def test_splits_are_streams_of_their_own():
    samples = TaskSamples(task_config("copy"))
    rows = [
        tuple(row)
        for made in (
            samples.scored("selection", 12, np.arange(50)),
            samples.scored("report", 12, np.arange(50)),
            samples.training(np.arange(50)),
        )
        for row in rows_of(made.tokens)
        if len(row) > 8
    ]
    assert len(set(rows)) == len(rows)
    some = rows_of(samples.scored("report", 12, np.array([40, 3])).tokens)
    assert [tuple(row) for row in some] == [rows[90], rows[53]]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (task_config("copy", "reversed"), r"copy has no 'reversed'; it has index_hints, scratchp"),
        (task_config("mode", "tail"), r"mode has no 'tail'; it has none but plain, \(\)"),
        (task_config("addition", "tail", "scratchpad"), "alternatives; choose one"),
        (task_config("addition", "tail", "padded"), "leave out padded and index_hints"),
        (task_config("copy", "scratchpad", scratchpad_parts=("in",)), "one of input, computation"),
        (task_config("copy", "tail", tail_parts=("x",)), "one of transition, atomic, fetcher"),
        (task_config("addition", "tail", "tail"), "transforms: tail, tail must all differ"),
        (task_config("copy", "tail", tail_parts=("atomic",) * 2), "atomic, atomic must all differ"),
        (task_config("copy", "index_hints", hint_symbols=0), "hint_symbols=0 must be at least 1"),
        (task_config("copy", shots=-1), "shots=-1 must be 0 or more"),
        (task_config("copy", lengths=(5, 3)), r"lengths=\(5, 3\) is empty"),
        (task_config("copy", lengths=(5,)), r"must be \(shortest, longest\)"),
        (task_config("sort", hints=(HintConfig("fil", 0.1),)), "'fil' is no task"),
        (task_config("sort", hints=(HintConfig("sort", 0.1),)), "must all differ"),
        (task_config("sort", hints=(HintConfig("fill", 1.0),)), "sum to less than 1"),
        (task_config("sort", hints=(HintConfig("fill", 1e-5),)), "0.001 is the least"),
    ],
)
def test_bad_settings_say_what_there_is(config: TaskConfig, message: str):
    with pytest.raises(UserError, match=message) as raised:
        TaskSamples(config)
    assert "\n" not in str(raised.value)


def test_too_few_hints_for_a_length_say_how_many_it_takes():
    samples = TaskSamples(task_config("copy", "index_hints", lengths=(1, 40)))
    with pytest.raises(
        UserError, match=r"data.task.format.hint_symbols=32 are too few for 40 places"
    ):
        samples.scored("report", 40, np.arange(2))


def test_all_formats_are_of_some_task():
    assert {name for task in TASKS.values() for name in formats_of(task)} == set(FORMATS)
    assert Format(TASKS["mode"], task_config("mode").format).names == TASKS["mode"].alphabet
