"""Prompts of exact lengths that are solvable, their controls, and what the controls say."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lengthwise.common.errors import UserError
from lengthwise.data.store.file_tokenizer import FileTokenizer, train_bpe
from lengthwise.data.store.tokenizers import IdsTokenizer
from lengthwise.eval.card.diagnosis import NEGLIGIBLE, Evidence, diagnose
from lengthwise.eval.inference.scorer import TargetScores
from lengthwise.eval.prompts.assemble import PromptMaker
from lengthwise.eval.prompts.candidates import score_prompts
from lengthwise.eval.prompts.prompt import Control, Prompting, Vocabulary
from lengthwise.eval.prompts.registry import LEVELS, RULER, TASKS, PromptTasks, task_names
from lengthwise.eval.prompts.tasks.questions import tasks_of_files
from lengthwise.eval.prompts.vocabulary import sentences, sentences_of_files, vocabulary_of
from lengthwise.eval.scoring.bench import Bench
from lengthwise.eval.scoring.prompts import PromptScorer
from lengthwise.eval.statistics.bootstrap import Estimate
from tests.eval.planted import eval_config
from tests.eval.readers import BYTES, SURE, UNSURE, Reader

WORLD = ("one_fact", "two_facts", "three_facts", "yes_no", "counting")
PROSE = [f"Sentence {i} of a book that says nothing. " for i in range(300)]
MAKER = PromptMaker(BYTES, 256, lambda: PROSE)


@pytest.fixture(scope="module")
def bpe(tmp_path_factory):
    file = tmp_path_factory.mktemp("bpe") / "tokenizer.json"
    text = "The code of the grass is green. It is right or wrong. 12 345 67 89 0 1 2 3"
    file.write_bytes(train_bpe([text] * 9, 300, "<|e|>"))
    return FileTokenizer(file, "<|e|>")


def whole(prompt):
    """The text of a prompt with its answers."""
    last = prompt.parts[-1]
    return BYTES.decode(np.concatenate([prompt.tokens, last.lead, last.answer]))


def text(tokens):
    return BYTES.decode(tokens)


@pytest.mark.parametrize("name", TASKS.names())
@settings(max_examples=15)
@given(length=st.integers(950, 3000), seed=st.integers(0, 2**31))
def test_a_reader_finds_the_answer_and_the_length_is_exact(name, length, seed):
    task, reader = TASKS[name], Reader(name)
    for control in {Control.PLAIN, Control.DISTANCE_0, Control.EASY_FILLER} & set(task.controls):
        for prompt in MAKER.prompts(task, length, 2, seed, control):
            said = whole(prompt)
            end, expected = reader.completion(said)
            assert said[end:] == expected
            assert prompt.size == len(said) == length
            assert text(prompt.tokens[prompt.question_at :]) == said[prompt.question_at : end]
            for part in prompt.parts:
                candidates = [text(c) for c in (part.answer, *part.distractors)]
                assert len(set(candidates)) == len(candidates) >= 2
                assert {d.size for d in part.distractors} == {part.answer.size}
            if control == Control.DISTANCE_0:
                # Nothing but the cut sentence of the filler may stand behind the facts.
                context = said[: prompt.question_at].rstrip("\n")
                assert context.endswith((". ", "."))
    first, second = (MAKER.prompts(task, length, n, seed, Control.PLAIN) for n in (1, 2))
    assert np.array_equal(first[0].tokens, second[0].tokens)  # whatever else is made


@pytest.mark.parametrize("name", TASKS.names())
def test_lengths_are_exact_under_bpe(bpe, name):
    maker = PromptMaker(bpe, 256, lambda: PROSE)
    for prompting in (Prompting.DIRECT, Prompting.SCRATCHPAD):
        for prompt in maker.prompts(TASKS[name], 1200, 2, 0, Control.PLAIN, prompting):
            assert prompt.size == 1200
            for part in prompt.parts:
                assert {d.size for d in part.distractors} == {part.answer.size}


def test_controls_leave_out_what_they_say():
    task = TASKS["several_queries"]
    plain, bare, cut = (
        MAKER.prompts(task, 1000, 5, 0, control)
        for control in (Control.PLAIN, Control.NO_CONTEXT, Control.TRUNCATED)
    )
    for full, question, end in zip(plain, bare, cut, strict=True):
        assert np.array_equal(question.tokens, full.tokens[full.question_at :])
        assert question.question_at == 0
        assert end.size == 256
        assert np.array_equal(end.tokens, full.tokens[-end.tokens.size :])
        assert len(full.parts) == 4
        for parts in zip(full.parts, question.parts, end.parts, strict=True):
            assert len({text(part.lead) for part in parts}) == 1
            assert len({text(part.answer) for part in parts}) == 1
    leads = [text(part.lead) for part in plain[0].parts]
    answers = [text(part.answer) for part in plain[0].parts]
    for before, after, said in zip(leads, leads[1:], answers, strict=False):
        assert after == before + said + ","


def test_the_answer_stands_at_all_depths_and_in_no_fixed_place_among_the_facts():
    depths = [p.tags["depth"] for p in MAKER.prompts(TASKS["passkey"], 2000, 200, 0)]
    counts, _ = np.histogram(depths, bins=4, range=(0, 1))
    assert counts.min() > 25
    places = []
    for prompt in MAKER.prompts(TASKS["several_keys"], 1000, 80, 0):
        values = re.findall(r"is( \d+)\.", text(prompt.tokens))
        places.append(values.index(text(prompt.parts[0].answer)))
    assert np.bincount(places, minlength=4).min() > 8


def test_a_needle_stands_exactly_where_it_is_asked_for():
    for place in (0, 1, 400, 0.0, 0.25, 1.0):
        for prompt in MAKER.prompts(TASKS["single_key"], 900, 3, 0, place=lambda _, at=place: at):
            assert prompt.size == 900
            said = text(prompt.tokens)
            needle = re.search(r"\nThe code of \w+ is \d+\. ", said)
            behind = prompt.question_at - needle.end()
            if isinstance(place, int):
                assert behind == place
            else:
                room = behind + needle.start() - len("Keep the codes. ")
                assert needle.start() - len("Keep the codes. ") == round(place * room)
    with pytest.raises(UserError, match="doesn't fit 900 tokens"):
        MAKER.prompts(TASKS["single_key"], 900, 1, 0, place=lambda _: 850)


@pytest.mark.parametrize("name", TASKS.names())
def test_scratchpads_hold_true_steps_and_examples_are_solved(name):
    task, reader = TASKS[name], Reader(name)
    length = 3000
    direct, shots, steps = (
        MAKER.prompts(task, length, 4, 1, Control.PLAIN, prompting) for prompting in Prompting
    )
    for one, two, three in zip(direct, steps, shots, strict=True):
        assert one.size == two.size == three.size == length
        assert text(one.parts[0].answer) == text(two.parts[0].answer)
        lead = text(two.parts[0].lead)
        assert lead.startswith("\n")
        assert len(lead) > 10
        stated = re.findall(r"(?:Now|From) [^.]*\.", lead)
        assert all(fact in text(two.tokens) for fact in stated)
        assert bool(stated) == (name in WORLD or name == "threading")
        # Each of the solved examples is right by its own context, which ends with the next one.
        said = whole(three)
        found = [*reader.question.finditer(said)]
        assert len(found) == 3
        for number, asked in enumerate(found[:2]):
            first = 0 if number == 0 else said.index("\n", found[number - 1].end()) + 1
            example = said[first : said.index("\n", asked.end())]
            end, expected = reader.completion(example)
            assert example[end:] == expected


def test_the_steps_of_a_chain_stop_before_the_last_one():
    (prompt,) = MAKER.prompts(TASKS["threading"], 2000, 1, 0, Control.PLAIN, Prompting.SCRATCHPAD)
    lead, answer = text(prompt.parts[0].lead), text(prompt.parts[0].answer)
    assert len(re.findall("one goes to", lead)) == 3
    assert answer not in lead


class Positions:
    """Takes note of the position ids of every row."""

    def __init__(self):
        self.seen = []

    def targets(self, tokens, positions=None):
        self.seen += [positions]
        shape = tokens.shape[0], tokens.shape[1] - 1
        return TargetScores(np.ones(shape, np.float32), np.zeros(shape, bool))


def test_far_position_ids_begin_at_the_question():
    prompts = MAKER.prompts(TASKS["passkey"], 200, 2, 0)
    scorer = Positions()
    score_prompts(scorer, prompts, 200, pad=256, tokens_per_call=10**6, gap=312)
    (positions,) = scorer.seen
    for row, prompt in zip(positions, np.repeat(prompts, 4), strict=True):
        at = prompt.question_at
        assert row[:at].tolist() == list(range(at))
        assert row[at:].tolist() == list(range(at + 312, 512))
    score_prompts(scorer, prompts, 512, pad=256, tokens_per_call=10**6)
    assert scorer.seen[1] is None


def test_padding_behind_a_candidate_is_not_scored_and_calls_are_of_one_size():
    calls = []

    class Counted(Reader):
        def targets(self, tokens, positions=None):
            calls.append(tokens.shape)
            return super().targets(tokens)

    prompts = MAKER.prompts(TASKS["passkey"], 200, 3, 0)
    found = score_prompts(Counted("passkey"), prompts, 256, pad=256, tokens_per_call=5 * 256)
    # Of six bytes the blank and, by chance, the first digits are those of a distractor too.
    assert ((found.margin_PA <= 5 * (UNSURE - SURE) + 1e-5) & found.right_PA).all()
    assert found.greedy_PA.all()
    assert found.chance_PA.tolist() == [[0.25]] * 3
    assert calls == [(5, 257), (5, 257), (2, 257)]


def test_one_likelier_distractor_makes_an_answer_wrong():
    prompts = MAKER.prompts(TASKS["passkey"], 200, 6, 0)

    class Prefers:
        """One of the distractors most, the answer next."""

        def targets(self, tokens, positions=None):
            nats = np.full((len(tokens), tokens.shape[1] - 1), 9.0, np.float32)
            for row, nats_L in zip(tokens, nats, strict=True):
                for prompt in prompts:
                    (part,) = prompt.parts
                    end = prompt.tokens.size + part.answer.size
                    for candidate, liked in ((part.answer, 2.0), (part.distractors[1], 1.5)):
                        whole = np.concatenate([prompt.tokens, candidate])
                        if np.array_equal(row[:end], whole):
                            nats_L[prompt.tokens.size - 1 : end - 1] = liked
            return TargetScores(nats, np.zeros(nats.shape, bool))

    found = score_prompts(Prefers(), prompts, 256, pad=256, tokens_per_call=10**6)
    assert found.margin_PA == pytest.approx(6 * -0.5)
    assert not found.right_PA.any()


def evidence(scores, changes):
    def estimate(value):
        return Estimate(value, value - 0.12, value + 0.12)

    return Evidence(
        {Control(k): estimate(v) for k, v in scores.items()},
        {Control(k): estimate(v) for k, v in changes.items()},
    )


KNOWN = {"plain": 0.05, "no_context": 0.0, "truncated": 0.0, "distance_0": 0.05}
KNOWN |= {"easy_filler": 0.05, "far_positions": 0.9}


@pytest.mark.parametrize(
    ("scores", "changes", "words", "without"),
    [
        ({"plain": 0.9, "truncated": 0.9}, {}, "the last L_train tokens are enough", "prompt"),
        ({"plain": 0.9}, {"truncated": -0.9}, "the worse without what is older", "inconclusive"),
        ({"plain": 0.4, "truncated": 0.08}, {}, "older text", "worse without"),
        ({"plain": 0.9, "no_context": 0.9}, {}, "the question alone gives", "prompt"),
        ({}, {}, "at chance; prompt", "positions"),
        ({"distance_0": 0.15}, {}, "at chance; why is inconclusive", "prompt"),
        ({"plain": 0.1}, {}, "inconclusive; prompt", "at chance"),
        ({"distance_0": 0.9}, {"distance_0": 0.8}, "whether by positions is inc", "distractors"),
        (
            {"distance_0": 0.9, "far_positions": 0.1},
            {"distance_0": 0.8, "far_positions": -0.8},
            "positions: a short",
            "distractors",
        ),
        (
            {"distance_0": 0.9, "easy_filler": 0.9},
            {"distance_0": 0.8, "easy_filler": 0.8},
            "distractors",
            "positions",
        ),
        (  # no control beats another by more than its interval: nothing is said of a cause
            {"distance_0": 0.9, "easy_filler": 0.1},
            {"distance_0": 0.8, "easy_filler": 0.05, "far_positions": -0.05},
            "inconclusive",
            "distractors",
        ),
    ],
)
def test_the_diagnosis_follows_from_the_intervals(scores, changes, words, without):
    said = diagnose(evidence(KNOWN | scores, changes))
    assert words in said
    assert without not in said


def test_a_model_that_is_right_two_times_in_five_does_not_pass_for_one_at_chance():
    rng = np.random.default_rng(0)
    at_chance = {0.25: 0, 0.4: 0}
    for truth in at_chance:
        for _ in range(400):
            right = rng.random(40) < truth
            draws = rng.multinomial(40, [1 / 40] * 40, 300) @ right / 40
            low, high = ((np.quantile(draws, q) - 0.25) / 0.75 for q in (0.025, 0.975))
            score = Estimate((right.mean() - 0.25) / 0.75, low, high)
            said = diagnose(Evidence(dict.fromkeys(Control, score), {}))
            at_chance[truth] += said.startswith("at chance")
    assert pytest.approx(0.4) == 0.25 + 0.75 * NEGLIGIBLE
    assert at_chance[0.4] / 400 < 0.05
    assert at_chance[0.25] / 400 > 0.4


def test_rulers_tasks_and_the_placement_of_all():
    assert task_names(("ruler",)) == tuple(dict.fromkeys(RULER.values()))
    assert len(task_names(("ruler",))) == 13
    assert task_names(("niah_multivalue", "several_values", "passkey")) == (
        "several_values",
        "passkey",
    )
    levels = {"low", "mid", "high"}
    tasks = TASKS.import_all()
    assert all({task.dispersion, task.scope} <= levels for task in tasks.values())
    assert sum(t.dispersion == t.scope == "high" for t in tasks.values()) >= 2
    assert [name for name, t in tasks.items() if t.stand_in] == ["reading", "joined_reading"]
    with pytest.raises(UserError, match=r"'nope', which is unknown; choose among .*passkey"):
        task_names(("nope",))
    with pytest.raises(UserError, match="a tokenizer of text"):
        PromptMaker(IdsTokenizer(100, 99), 64)


def test_the_table_of_tasks_is_that_of_the_registry():
    page = (Path(__file__).parents[3] / "docs" / "evaluation.md").read_text()
    rows = re.findall(r"^\| (`\w+`.*?) \|.*\| (.*?) \| (.*?) \|(.*)\|$", page, re.MULTILINE)
    table = {}
    for names, dispersions, scopes, rulers in rows:
        columns = (re.findall(r"\w+", each) for each in (names, dispersions, scopes))
        for name, *levels in zip(*columns, strict=False):
            table[name] = (*levels, rulers.strip())
    rulers = {name: alias for alias, name in RULER.items()}
    for name, task in TASKS.import_all().items():
        assert table[name] == (task.dispersion, task.scope, rulers.get(name, "")), name
    assert len([row for row in table.values() if row[0] in LEVELS]) == len(TASKS.names())


def test_a_task_from_outside_has_its_own_name_and_known_levels(monkeypatch):
    monkeypatch.setattr("lengthwise.common.registry._ALL", [])  # its own, gone with the test
    registry = PromptTasks(TASKS.kind, TASKS.folder)
    material = registry.register("mine", "mid", "low", aggregates=True)(TASKS["passkey"].make)
    assert material is TASKS["passkey"].make
    mine = registry["mine"]
    assert (mine.name, mine.dispersion, mine.scope, mine.aggregates) == ("mine", "mid", "low", True)

    def other(words):
        return material(words)

    for name, levels, words in (
        ("passkey", ("low", "low"), "'passkey' is one of Lengthwise's own"),
        ("vt", ("low", "low"), "'vt' is one of RULER's names"),
        ("ruler", ("low", "low"), "'ruler' is one of RULER's names"),
        ("mine", ("low", "low"), "'mine' is registered twice"),
        ("other", ("medium", "low"), "'other': dispersion and scope are one of"),
    ):
        with pytest.raises(ValueError, match=words):
            registry.register(name, *levels)(other)
    registry.register("other", "low", "low")(other)
    assert registry.extensions() == (__name__,)


def test_questions_come_from_files(tmp_path):
    rng = np.random.default_rng(0)
    squad = {"data": [{"paragraphs": []}]}
    hotpot = []
    for i in range(30):
        answer = str(rng.integers(100, 1000))
        told = f"Paragraph {i} says that the number is {answer}."
        asked = {"question": f"Which number says {i}?", "answers": [{"text": answer}]}
        nothing = {"question": "What is not said?", "answers": []}
        squad["data"][0]["paragraphs"].append({"context": told, "qas": [asked, nothing]})
        hotpot.append(
            {
                "question": f"Which number says {i}?",
                "answer": answer,
                "context": [[f"T{i}", ["First. ", told]], ["U", ["It is so. "]], ["V", ["No. "]]],
                "supporting_facts": [[f"T{i}", 1], ["U", 0], ["U", 1]],
            }
        )
    paths = [tmp_path / name for name in ("squad.json", "hotpot.json")]
    for path, content in zip(paths, (squad, hotpot), strict=True):
        path.write_text(json.dumps(content))
    found = tasks_of_files(*map(str, paths))
    assert not found["reading"].stand_in
    for name, supports in (("reading", ["says that"]), ("joined_reading", ["says that", "It is"])):
        for prompt in MAKER.prompts(found[name], 700, 5, 0):
            assert prompt.size == 700
            said, (part,) = text(prompt.tokens), prompt.parts
            number = re.search(r"Which number says (\d+)\?\nAnswer:$", said)[1]
            context = said[: prompt.question_at]
            assert f"Paragraph {number} says that the number is{text(part.answer)}." in context
            assert all(support in context for support in supports)
            assert len({text(d) for d in part.distractors} - {text(part.answer)}) == 3
    assert tasks_of_files("", "") == {}
    none = (
        r"cannot read eval\.qa_1='\S+none\.json': No such file or directory; name a file of SQuAD"
    )
    with pytest.raises(UserError, match=none):
        tasks_of_files(str(tmp_path / "none.json"), "")
    with pytest.raises(UserError, match=r"^eval\.qa_2='\S+' is not HotpotQA's JSON: "):
        tasks_of_files("", str(paths[0]))
    with pytest.raises(UserError, match=r"^eval\.qa_1='\S+' is not SQuAD's JSON: "):
        tasks_of_files(str(paths[1]), "")
    (tmp_path / "none.json").write_text('{"rows": []}')
    with pytest.raises(UserError, match=r"is not SQuAD's JSON: no 'data'$"):
        tasks_of_files(str(tmp_path / "none.json"), "")
    (tmp_path / "none.json").write_text("{")
    with pytest.raises(UserError, match=r"cannot read eval\.qa_1=.*: Expecting .*; name a file of"):
        tasks_of_files(str(tmp_path / "none.json"), "")


@pytest.mark.parametrize(
    ("haystack", "length", "ends"),
    [
        (
            "",
            64,
            "a prompt of key_in_prose doesn't fit 64 tokens; leave it out or raise eval.ratios",
        ),
        (
            "nowhere.txt",
            1024,
            "cannot read eval.haystack='nowhere.txt': No such file or directory; "
            "name a text file in UTF-8, or a folder of .txt",
        ),
    ],
)
def test_a_task_that_fits_nowhere_is_told_what_would_help(haystack, length, ends):
    config = eval_config(prompts=2, haystack=haystack)
    bench = Bench(None, BYTES, config, length, (length,), "corpus-1", "")
    maker = PromptMaker(BYTES, length, lambda: bench.prose if haystack else ["Prose. "])
    with pytest.raises(UserError) as error:
        PromptScorer(TASKS["key_in_prose"], bench, maker)
    assert str(error.value) == f"eval.tasks, key_in_prose: {ends}"


def test_haystacks_are_cut_from_text(tmp_path):
    said = "One. Two is here!\nA line\n\nThe end? Yes"
    assert sentences(said) == ["One. ", "Two is here!\n", "A line\n\n", "The end? ", "Yes"]
    (tmp_path / "a.txt").write_text("First. ")
    (tmp_path / "b.txt").write_text("Second. ")
    assert sentences_of_files(tmp_path) == ["First. \n", "Second. "]
    with pytest.raises(UserError, match=r"cannot read eval\.haystack"):
        sentences_of_files(tmp_path / "none.txt")
    (tmp_path / "sub").mkdir()
    with pytest.raises(UserError, match="holds no text"):
        sentences_of_files(tmp_path / "sub")
    words = vocabulary_of(np.random.default_rng(0), MAKER.encode, lambda: ["a ", "b ", "c "])
    drawn = "".join(words.prose() for _ in range(7))
    assert drawn in "a b c a b c a b c "
    with pytest.raises(UserError, match=r"name some in eval\.haystack"):
        vocabulary_of(np.random.default_rng(0), MAKER.encode, list).prose()


def test_words_that_must_be_of_equal_size(bpe):
    words = vocabulary_of(np.random.default_rng(0), MAKER.encode, list)
    assert isinstance(words, Vocabulary)
    assert words.equal(((" yes", " no"), (" right", " wrong"))) == (" right", " wrong")
    with pytest.raises(UserError, match=r"gives yes, no different numbers of tokens"):
        words.equal(((" yes", " no"),))
