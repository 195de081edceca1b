"""Prompts of exact lengths that are solvable, and scores of models with known answers."""

import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.tokenizers import ByteTokenizer, FileTokenizer, IdsTokenizer, train_bpe
from errors import UserError
from eval.prompts.assemble import PromptMaker
from eval.prompts.diagnosis import diagnose
from eval.prompts.prompt import Control
from eval.prompts.score import PromptTasks, margins
from eval.prompts.tasks import TASKS
from tests.eval.planted import eval_config

BYTES = ByteTokenizer()
MAKER = PromptMaker(BYTES, l_train=256)


@pytest.fixture(scope="module")
def bpe(tmp_path_factory):
    file = tmp_path_factory.mktemp("bpe") / "tokenizer.json"
    file.write_bytes(
        train_bpe(["The code of the grass is green. 12 345 67 89 0"] * 9, 300, "<|e|>")
    )
    return FileTokenizer(file, "<|e|>")


def text_of(prompt):
    return BYTES.decode(prompt.tokens), *map(BYTES.decode, (prompt.answer, *prompt.distractors))


def solve(name, text):
    """What a reader of the whole text answers: written from the wording alone."""
    context, question = text.rsplit("\n", 1)
    if name == "passkey":
        return re.findall(r"The pass key is( \d+)\.", context)[0]
    if name in ("single_key", "several_keys", "only_keys"):
        key = re.fullmatch(r"The code of( \w+) is", question)[1]
        return dict(re.findall(r"The code of( \w+) is( \d+)\.", context))[key]
    if name == "threading":
        at, leads = (
            re.match(r"From( \w+)", question)[1],
            dict(re.findall(r"From( \w+) one goes to( \w+)\.", context)),
        )
        return leads[leads[leads[at]]]
    if name == "tracing":
        values = {}
        for variable, value in re.findall(r"Let( \w+) be( \w+)\.", context):
            values[variable] = values.get(value, value)
        return values[re.fullmatch(r"The value of( \w+) is", question)[1]]
    if name in ("common_word", "frequent_word"):
        words = context.removeprefix("Count the words:").split(" ")[1:-1]
        return " " + Counter(words).most_common(1)[0][0]
    place = Counter(re.findall(r"One lives in( \w+)\.", context)).most_common(1)[0][0]
    if name == "survey":
        return place
    return dict(re.findall(r"The number of( \w+) is( \d+)\.", context))[place]


@pytest.mark.parametrize("name", TASKS)
@given(length=st.integers(800, 3000), seed=st.integers(0, 2**31))
def test_a_reader_finds_the_answer_and_the_length_is_exact(name, length, seed):
    task = TASKS[name]
    for control in {Control.PLAIN, Control.DISTANCE_0, Control.EASY_FILLER} & set(task.controls):
        for prompt in MAKER.prompts(task, length, 2, seed, control):
            text, answer, *distractors = text_of(prompt)
            assert prompt.tokens.size + prompt.answer.size == length
            assert solve(name, text) == answer
            assert answer not in distractors
            assert len({answer, *distractors}) == 4
            assert {d.size for d in prompt.distractors} == {prompt.answer.size}
            if control == Control.DISTANCE_0:
                # Nothing but the cut sentence of the filler may stand behind the facts.
                assert len(re.split(r"\. ", text.rsplit("\n", 1)[0])[-1]) == 0
    first, second = (MAKER.prompts(task, length, n, seed, Control.PLAIN) for n in (1, 2))
    assert np.array_equal(first[0].tokens, second[0].tokens)  # whatever else is made


@pytest.mark.parametrize("name", TASKS)
def test_lengths_are_exact_under_bpe(bpe, name):
    maker = PromptMaker(bpe, l_train=256)
    for prompt in maker.prompts(TASKS[name], 1000, 3, 0, Control.PLAIN):
        assert prompt.tokens.size + prompt.answer.size == 1000
        assert {d.size for d in prompt.distractors} == {prompt.answer.size}


def test_controls_leave_out_what_they_say():
    task = TASKS["several_keys"]
    plain, bare, cut = (
        MAKER.prompts(task, 1000, 5, 0, control)
        for control in (Control.PLAIN, Control.NO_CONTEXT, Control.TRUNCATED)
    )
    for whole, question, end in zip(plain, bare, cut, strict=True):
        assert text_of(question)[0] == "\n" + text_of(whole)[0].rsplit("\n", 1)[1]
        assert end.tokens.size + end.answer.size == 256
        assert np.array_equal(end.tokens, whole.tokens[-end.tokens.size :])
        assert text_of(question)[1:] == text_of(whole)[1:] == text_of(end)[1:]


def test_the_answer_stands_at_all_depths_and_in_no_fixed_place_among_the_facts():
    depths = [p.tags["depth"] for p in MAKER.prompts(TASKS["passkey"], 2000, 200, 0, Control.PLAIN)]
    counts, _ = np.histogram(depths, bins=4, range=(0, 1))
    assert counts.min() > 25
    places = []
    for prompt in MAKER.prompts(TASKS["several_keys"], 1000, 80, 0, Control.PLAIN):
        text, answer, *_ = text_of(prompt)
        places.append(re.findall(r"is( \d+)\.", text).index(answer))
    assert np.bincount(places, minlength=4).min() > 8


class Reader:
    """A planted model that answers right where what it reads, its last `memory` tokens, has the
    answer once or more beside those of the question; elsewhere it finds all bytes alike."""

    def __init__(self, memory):
        self.memory = memory

    def __call__(self, tokens):
        nats = np.full((tokens.shape[0], tokens.shape[1] - 1), 5.0)
        for row, nats_L in zip(tokens, nats, strict=True):
            used = row[: np.append(np.flatnonzero(row == BYTES.end_of_text), row.size)[0]]
            text = BYTES.decode(used)
            question, answer = text[text.rindex("\n") :], text[-6:]
            seen = text[: text.rindex("\n")][-self.memory :]
            key = question[1:-6]
            if key + answer + "." in seen:
                nats_L[used.size - 7 : used.size - 1] = 0.01
        return nats


def tasks(prompts=40):
    return PromptTasks(
        eval_config(tasks=("passkey",), prompts=prompts), BYTES, (128, 256, 512, 1024), 256
    )


def by_control(cells, length):
    return {cell.control: cell for cell in cells if cell.length == length}


def test_an_oracle_is_always_right_and_a_uniform_model_never_better_than_chance():
    cells, said, _ = tasks().run(Reader(10**6))
    for length in (128, 256, 512, 1024):
        found = by_control(cells, length)
        assert found["plain"].accuracy.value == found["plain"].corrected == 1.0
        assert found["plain"].margin.value == pytest.approx(6 * 4.99)
        assert found["no_context"].accuracy.value == 0.0  # all alike: a tie is not right
    assert "not without what is older" in said[-1]
    rng = np.random.default_rng(0)
    guessing, _, _ = tasks(400).run(
        lambda tokens: rng.normal(5, 1, (len(tokens), tokens.shape[1] - 1))
    )
    for cell in guessing:
        assert cell.accuracy.value == pytest.approx(cell.chance, abs=0.08)
        assert cell.corrected == pytest.approx(0, abs=0.11)


def test_a_model_that_forgets_is_right_as_often_as_the_fact_is_near():
    cells, said, _ = tasks(200).run(Reader(300))
    assert by_control(cells, 256)["plain"].accuracy.value == 1.0
    for length in (512, 1024):
        found = by_control(cells, length)
        expected = 300 / length
        assert found["plain"].accuracy.value == pytest.approx(expected, abs=0.12)
        assert found["plain"].accuracy.low < expected < found["plain"].accuracy.high + 0.05
        assert found["distance_0"].accuracy.value == 1.0
    assert "above chance" in said[0]


def test_the_curves_hold_the_same_prompts_one_by_one():
    cells, _, scored = tasks().run(Reader(300))
    assert {curve.key for curve in scored.curves} == {
        ("passkey", metric, "plain", str(control))
        for metric in ("accuracy", "margin")
        for control in Control
    }
    for curve in scored.curves:
        assert curve.lengths == (128, 256, 512, 1024)
        found = [cell for cell in cells if cell.control == curve.control]
        assert curve.sums_NK.sum(axis=0) / curve.counts_NK.sum(axis=0) == pytest.approx(
            [getattr(cell, curve.metric).value for cell in found]
        )
        assert curve.primary == (curve.metric == "accuracy")
    assert len({curve.population for curve in scored.curves}) == 1


def test_padding_behind_a_candidate_is_not_scored():
    (prompt,) = MAKER.prompts(TASKS["passkey"], 200, 1, 0, Control.PLAIN)
    short = margins(Reader(10**6), [prompt], 256, BYTES.end_of_text)
    assert short == pytest.approx(6 * 4.99)


P, N, T, D, E = Control


@pytest.mark.parametrize(
    ("above", "words"),
    [
        ({P, T, D, E}, "the last L_train tokens are enough"),
        ({P, D, E}, "not without what is older"),
        ({P, N}, "the question alone gives the answer away"),
        ({D}, "positions"),
        ({D, E}, "distractors"),
        ({E}, "prompt"),
        (set(), "prompt"),
    ],
)
def test_the_diagnosis_follows_from_the_controls(above, words):
    assert words in diagnose({control: control in above for control in Control})


def test_what_cannot_be_asked_is_refused_in_a_line():
    def make(names, tokenizer=BYTES, lengths=(128, 512)):
        return PromptTasks(eval_config(tasks=names), tokenizer, lengths, 128)

    with pytest.raises(UserError, match="'nope', which is unknown; choose among passkey"):
        make(("nope",))
    with pytest.raises(UserError, match="no prompt of 'survey' fits 128 tokens"):
        make(("survey",), lengths=(64, 128))
    with pytest.raises(UserError, match="a tokenizer of text"):
        make(("passkey",), IdsTokenizer(100, 99))
    assert make(("several_keys",)).left_out == [
        "eval.tasks several_keys: no prompt fits 128 tokens"
    ]
