"""Tasks that a tokenizer has no tokens for: promises made of texts are checked of their tokens."""

import re

import pytest
from tokenizers import normalizers

from lengthwise.common.errors import UserError
from lengthwise.eval.prompts.assemble import PromptMaker
from lengthwise.eval.prompts.prompt import Answer, Material, PromptTask, Unaskable
from lengthwise.eval.prompts.registry import TASKS
from lengthwise.eval.prompts.tasks.lookups import noise
from lengthwise.eval.prompts.tasks.questions import QuestionFile, QuestionRecord, from_file
from lengthwise.eval.scoring.bench import Bench
from lengthwise.eval.scoring.factory import LeftOut, make_scorers
from lengthwise.eval.scoring.scheduled import ScheduledScorers
from tests.data.store import tokenizer_files as files
from tests.eval.planted import eval_config, skewed_documents

ASCII = "".join(map(chr, range(33, 127))) + " \n"
GREEK = "αβγδεζηθικλμνξοπρστυφχψω"
PROSE = ["A sentence of a book. "]
WORDS = re.findall(r"\S+", "Keep the pass key. The grass is green. The sky is blue. Here we go.")


def reason(tokenizer, name, prose=PROSE, length=1500, task=None):
    with pytest.raises(Unaskable) as error:
        PromptMaker(tokenizer, 64, lambda: prose).prompts(task or TASKS[name], length, 1, 0)
    said = str(error.value)
    assert "\n" not in said
    assert said.startswith(f"{name} can't be asked under data.tokenizer, tokenizer.json ")
    assert tokenizer.describe() in said
    return said


@pytest.mark.parametrize("name", ["passkey", "single_key", "reading", "yes_no"])
def test_words_that_are_all_unknown_cannot_be_told_apart(name, tmp_path):
    words = files.word_level(*dict.fromkeys(WORDS))
    assert "the same " in reason(files.save(words, tmp_path), name)


@pytest.mark.parametrize("name", TASKS.names())
def test_without_any_token_every_task_ends_with_its_reason(name, tmp_path):
    said = reason(files.save(files.bpe(GREEK), tmp_path), name)
    assert "no token" in said or "the same ones" in said


@pytest.mark.parametrize("name", TASKS.names())
def test_characters_alone_are_enough_for_every_task(name, tmp_path):
    tokenizer = files.save(files.bpe(ASCII), tmp_path)
    for prompt in PromptMaker(tokenizer, 64, lambda: PROSE).prompts(TASKS[name], 1500, 2, 0):
        assert prompt.size == 1500


def test_a_haystack_without_tokens_is_refused_and_one_with_few_is_filled(tmp_path):
    tokenizer = files.save(files.bpe(ASCII), tmp_path)
    said = reason(tokenizer, "key_in_prose", ["日本語。"])
    assert "its filler has no tokens, such as '日本語。'" in said
    maker = PromptMaker(tokenizer, 64, lambda: ["日本語。"] * 500 + ["Prose. "])
    assert maker.prompts(TASKS["key_in_prose"], 300, 1, 0)[0].size == 300


def test_numbers_that_are_normalized_alike_are_no_answers(tmp_path):
    plain = files.bpe(ASCII)
    plain.normalizer = normalizers.Sequence([normalizers.Replace(str(d), "0") for d in range(10)])
    assert "the same tokens" in reason(files.save(plain, tmp_path), "passkey")


def test_facts_with_unknown_text_are_not_asked(tmp_path):
    tokenizer = files.save(files.bpe(ASCII.replace("y", "")), tmp_path)
    assert "no token for 'y'" in reason(tokenizer, "passkey")


@pytest.mark.parametrize(
    ("answers", "why"),
    [((" ab", " AB"), "' ab' and ' AB' are the same"), ((" ab", " abc"), "equally many tokens")],
)
def test_candidates_of_a_task_of_ones_own_are_checked(answers, why, tmp_path):
    plain = files.bpe(ASCII)
    plain.normalizer = normalizers.Lowercase()
    material = Material("", (), (), noise(), "Which?", (Answer(answers),), "")
    task = PromptTask("mine", "low", "low", lambda words: material)
    assert why in reason(files.save(plain, tmp_path), "mine", task=task)


def test_answers_of_a_file_are_told_apart_by_tokens(tmp_path):
    tokenizer = files.save(files.bpe(ASCII), tmp_path)
    entries = [
        QuestionRecord("Which?", a, ("It is so.",)) for a in ("ab", "cd日", "cd", "日", "ef")
    ]
    file = QuestionFile(tuple(entries), ("It is so.",))
    said = reason(tokenizer, "reading", task=from_file(TASKS["reading"], file, tmp_path))
    assert f"{tmp_path} has too few answers of equally many tokens" in said


def bench(tokenizer, **changes):
    source = skewed_documents(48, 700)
    config = eval_config(**changes)
    return Bench(source, tokenizer, config, 512, (512, 1024), "corpus-1", "")


def test_the_others_are_scored_and_alone_it_is_an_error(tmp_path):
    tokenizer = files.save(files.bpe(ASCII), tmp_path)
    digits = files.save(files.bpe(re.sub("[0-9]", "", ASCII)), tmp_path)
    both = make_scorers(bench(digits, tasks=("passkey", "survey", "passkey")))
    assert [(type(each) is LeftOut, each.name) for each in both] == [
        (True, "passkey"),
        (False, "survey"),
    ]
    assert both[0].reason.startswith("passkey can't be asked under data.tokenizer, tokenizer.json")
    assert both[0]([]).curves == ()
    assert list(both[0].rows) == []
    assert not any(
        type(each) is LeftOut for each in make_scorers(bench(tokenizer, tasks=("passkey",)))
    )
    for changes in ({"tasks": ("passkey",)}, {"scorers": ("needle_depth",)}):
        with pytest.raises(UserError, match="can't be asked under") as error:
            make_scorers(bench(digits, **changes))
        assert not isinstance(error.value, Unaskable)
    scheduled = ScheduledScorers(bench(digits, during=("passkey", "survey")))
    assert scheduled.names == ("survey@512", "survey@1024")
    assert list(scheduled.left_out) == ["passkey"]
    assert scheduled.left_out["passkey"].startswith("passkey can't be asked under")
