"""Text behind other text keeps its own spaces, whatever the tokenizer, wherever it is used."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import pre_tokenizers

from lengthwise.app.harness import model as harness_model
from lengthwise.app.harness.tasks import task_config
from lengthwise.common.errors import UserError
from lengthwise.eval.config import GenerateConfig
from lengthwise.eval.inference import generation
from lengthwise.eval.inference.cached_scorer import Continuation
from lengthwise.eval.inference.continued_text import decode_behind, encode_behind, encode_pair
from lengthwise.eval.inference.start_token import StartToken
from lengthwise.eval.prompts.assemble import PromptMaker
from lengthwise.eval.prompts.prompt import Prompting
from lengthwise.eval.prompts.registry import TASKS
from tests.data.store import tokenizer_files as files
from tests.eval.readers import BYTES, Reader

START = StartToken(2, stored=False, trained=True)
PROSE = [f"Sentence {i} of a book that says nothing. " for i in range(300)]


def byte_level_with_a_space_first():
    plain = files.bpe("".join(pre_tokenizers.ByteLevel.alphabet()))
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    plain.decoder = files.decoders.ByteLevel()
    return plain


@pytest.fixture(
    scope="module",
    params=[files.sentencepiece_bpe, files.sentencepiece_unigram, byte_level_with_a_space_first],
)
def tokenizer(request, tmp_path_factory):
    return files.save(request.param(), tmp_path_factory.mktemp("tokenizer"))


def ids(tokenizer, text):
    return tokenizer.encode_batch([text])[0]


# Not with a blank first, which the decoders take for one of their own; "▁" is a blank to them.
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="▁"), max_size=12)


@settings(max_examples=60)
@given(before=TEXT.filter(lambda text: text.strip()[:1] == text[:1] != ""), behind=TEXT)
def test_text_behind_another_is_itself(tokenizer, before, behind):
    prefix, tokens = ids(tokenizer, before), encode_behind(tokenizer, behind)
    whole = tokenizer.decode(np.concatenate([prefix, tokens]))
    assert whole in (before + behind, f" {before}{behind}")  # byte-level decoders keep the first
    assert decode_behind(tokenizer, prefix, tokens) == behind


def test_a_prefix_that_ends_inside_of_a_character_is_completed():
    text = np.frombuffer("aé".encode(), np.uint8)
    assert decode_behind(BYTES, text[:2], text[2:]) == "é"
    assert decode_behind(BYTES, text[:1], text[1:2]) == "\ufffd"
    assert decode_behind(BYTES, text[:0], text) == "aé"


@pytest.mark.parametrize("name", TASKS.names())
def test_prompts_keep_the_spaces_of_their_text_and_their_length(tokenizer, name):
    maker = PromptMaker(tokenizer, 256, lambda: PROSE)
    for prompting in (Prompting.DIRECT, Prompting.FEW_SHOT):
        (prompt,) = maker.prompts(TASKS[name], 2500, 1, 3, prompting=prompting)
        last = prompt.parts[-1]
        said = tokenizer.decode(np.concatenate([prompt.tokens, last.lead, last.answer]))
        assert prompt.size == 2500
        assert "  " not in said
        if "survey" not in name:  # that has no introduction: it begins as text behind text does
            assert ids(tokenizer, said[:20])[0] == prompt.tokens[0]
        # The words of yes and no, and of counts, follow the tokenizer; the reader has one set.
        if prompting == Prompting.DIRECT and name not in ("yes_no", "counting"):
            end, expected = Reader(name).completion(said)
            assert said[end:] == expected


def test_generated_text_begins_with_its_own_space(tokenizer, monkeypatch):
    new = encode_behind(tokenizer, " delta")
    monkeypatch.setattr(generation, "generate", lambda model, prompts, **_: [new] * len(prompts))
    texts = ["doc 5 hello", "doc 5\n", ""]
    rows = generation.generate_texts(
        None, tokenizer, texts, GenerateConfig(), generation.GREEDY, START
    )
    assert [row["text"] for row in rows[:2]] == [" delta", " delta"]
    assert rows[2]["text"].strip() == "delta"


@dataclass
class Model:
    longest: int


@pytest.fixture
def checkpoint(tokenizer):
    return harness_model.CheckpointLM(Model(0), tokenizer, 512, START)


def requests(*arguments):
    return [SimpleNamespace(args=each) for each in arguments]


def test_the_harness_generates_text_with_its_own_space(checkpoint, tokenizer, monkeypatch):
    new = encode_behind(tokenizer, " delta\nmore")
    monkeypatch.setattr(harness_model, "generate", lambda model, prompts, **_: [new] * len(prompts))
    asked = requests(("doc 5 hello", {"until": ["\n"], "max_gen_toks": 9}))
    assert checkpoint.generate_until(asked) == [" delta"]


def test_tasks_of_the_harness_are_text_with_its_own_spaces(tokenizer):
    maker = PromptMaker(tokenizer, 64)
    config = task_config("lengthwise_passkey_256", tokenizer, maker, count=3, seed=0)
    for row in config["custom_dataset"]()["test"]:
        assert row["text"].endswith("\nThe pass key is")
        right, *wrong = row["choices"]
        assert f"The pass key is{right}. " in row["text"]
        assert all(choice[:1] == " " and choice[1:].isdigit() for choice in (right, *wrong))


def merging(tmp_path):
    """BPE in which "gagg" is one token."""
    merges = [("g", "a"), ("ga", "g"), ("gag", "g")]
    return files.save(files.bpe("ag \n.", merges), tmp_path)


def test_a_continuation_that_merges_with_its_context_is_encoded_apart(tmp_path):
    tokenizer = merging(tmp_path)
    gag, g, gagg = (ids(tokenizer, text).tolist() for text in ("gag", "g", "gagg"))
    assert len(gag) == len(g) == len(gagg) == 1

    def pair(context, continuation):
        before, tokens, shared = encode_pair(tokenizer, context, continuation)
        return before.tolist(), tokens.tolist(), shared

    assert pair("gag", "g") == (gag, g, False)
    assert pair("ga", "gg") == (ids(tokenizer, "ga").tolist(), g + g, False)
    assert pair("g", "g") == (g, g, True)
    assert pair("g ", "g") == (g, ids(tokenizer, " g").tolist(), True)
    assert pair("", "g") == ([], g, True)
    assert pair("  ", "g") == ([], ids(tokenizer, "  g").tolist(), True)


def test_a_run_of_the_harness_goes_on_and_counts_them(tmp_path):
    tokenizer = merging(tmp_path)
    checkpoint = harness_model.CheckpointLM(Model(0), tokenizer, 512, START)
    asked = []

    def score(prefixes, continuations):
        asked.extend(zip(prefixes, continuations, strict=True))
        return [
            [Continuation(np.ones(len(c)), np.ones(len(c))) for c in each] for each in continuations
        ]

    checkpoint._scorers = {0: score}
    pairs = requests(("gag", "g"), ("g", "g"), ("", "gag"), (" ", "g"))
    scores = checkpoint.loglikelihood(pairs, disable_tqdm=True)
    assert [nats for nats, _ in scores] == [-1, -1, -1, -2]
    (note,) = checkpoint.notes()
    assert note.startswith("1 continuations share tokens with their context")
    assert all(len(prefix) for prefix, _ in asked)
    with pytest.raises(UserError, match="the continuation '日' has no token under"):
        checkpoint.loglikelihood(requests(("gag", "日")), disable_tqdm=True)
    checkpoint.loglikelihood(requests(("g日", "g"), ("g", "g")), disable_tqdm=True)
    assert "2 texts hold some that the tokenizer has no token for" in checkpoint.notes()


def test_a_prompt_that_is_no_utf8_is_refused():
    config = GenerateConfig(prompt="ab\udcff")
    with pytest.raises(UserError, match=r"prompt='ab\\udcff' is not UTF-8 at character 2; write"):
        generation.read_prompts(config)
    assert generation.read_prompts(GenerateConfig(prompt="é")) == ["é"]
