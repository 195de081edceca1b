"""The token before a text that nothing stands before: the same one wherever there is need of it."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from lengthwise.app.harness import model as harness_model
from lengthwise.app.scoring import Subject
from lengthwise.data.store.tokenizers import IdsTokenizer
from lengthwise.eval.config import GenerateConfig
from lengthwise.eval.inference import generation
from lengthwise.eval.inference.cached_scorer import Continuation
from lengthwise.eval.inference.scorer import Method, Setting, TargetScores
from lengthwise.eval.inference.start_token import UNTRAINED, StartToken
from lengthwise.eval.prompts.assemble import PromptMaker
from lengthwise.eval.prompts.prompt import Control, Prompting
from lengthwise.eval.prompts.registry import TASKS
from lengthwise.eval.scoring.bench import Bench
from lengthwise.eval.scoring.factory import make_scorers
from tests.eval.inference.test_continued_text import Model, requests
from tests.eval.planted import VOCAB, eval_config, skewed_documents
from tests.eval.readers import BYTES

BEGIN, END = 256, VOCAB
STORED = StartToken(BEGIN, stored=True, trained=True)
JOINED = StartToken(BEGIN, stored=False, trained=True)
UNKNOWN = StartToken(BEGIN, stored=False, trained=False)


def test_it_is_the_begin_of_documents_or_else_the_end_of_text() -> None:
    assert StartToken.of(7, 9, joined=False) == StartToken(7, stored=True, trained=True)
    assert StartToken.of(7, 9, joined=True) == StartToken(7, stored=True, trained=True)
    assert StartToken.of(None, 9, joined=True) == StartToken(9, stored=False, trained=True)
    assert StartToken.of(None, 9, joined=False) == StartToken(9, stored=False, trained=False)
    text, empty = np.array([1, 2]), np.zeros(0, np.int64)
    assert [STORED.before(each).tolist() for each in (text, empty)] == [[BEGIN, 1, 2], [BEGIN]]
    assert [UNKNOWN.before(each).tolist() for each in (text, empty)] == [[1, 2], [BEGIN]]


@pytest.mark.parametrize(("joined", "trained"), [((False, False), False), ((False, True), True)])
def test_a_run_knows_it_by_its_store_and_layouts(joined, trained) -> None:
    phases = [SimpleNamespace(layout=SimpleNamespace(joined=each)) for each in joined]
    manifest = SimpleNamespace(begin_of_text=None, end_of_text=9, corpus_fingerprint="c")
    run = SimpleNamespace(
        store=SimpleNamespace(manifest=manifest), phases=SimpleNamespace(phases=phases)
    )
    assert Subject.start_token.fget(run) == StartToken(9, stored=False, trained=trained)
    assert Subject.scored_text.fget(run) == "c"
    manifest.begin_of_text = 9
    assert Subject.start_token.fget(run) == StartToken(9, stored=True, trained=True)
    assert Subject.scored_text.fget(run) != "c"  # one target more a document


class Recorder:
    """Keeps the rows that it scores."""

    def __init__(self):
        self.rows = []

    def __call__(self, tokens):
        return self.targets(tokens).nats

    def targets(self, tokens, positions=None):
        self.rows += tokens.tolist()
        nats = np.ones(np.subtract(tokens.shape, (0, 1)), np.float32)
        return TargetScores(nats, nats > 0)


def scored(name, start):
    tokenizer = IdsTokenizer(VOCAB + 2, END)
    config = eval_config(scorers=(name,), documents=12)
    source = skewed_documents(24, 300)
    bench = Bench(source, tokenizer, config, 32, (32, 64), "c", "", start_token=start)
    (scorer,) = make_scorers(bench)
    recorder = Recorder()
    plain = Method("plain", lambda context: Setting(), lambda setting: recorder)
    return scorer, scorer([plain]), recorder.rows


def test_sliding_windows_have_no_context_only_behind_a_token_that_was_trained() -> None:
    known = replace(JOINED, id=VOCAB + 1)
    scorer, result, rows = scored("sliding_window", known)
    assert {curve.control for curve in result.curves} == {"plain", "truncated", "no_context"}
    assert {row[0] for row in rows if len(row) == 2} == {known.id}
    assert 1 in scorer.rows
    scorer, result, rows = scored("sliding_window", replace(known, trained=False))
    assert {curve.control for curve in result.curves} == {"plain", "truncated"}
    assert min(map(len, rows)) > 2
    assert 1 not in scorer.rows
    assert result.left_out == (f"sliding_window, no_context: {UNTRAINED}",)


def test_copies_stand_behind_it_and_it_is_said_where_it_was_not_trained() -> None:
    known = replace(JOINED, id=VOCAB + 1)
    _, result, rows = scored("forgetting", known)
    for row in rows:
        half = (len(row) - 1) // 2
        assert [i for i, token in enumerate(row) if token == known.id][:3] == [0, half, 2 * half]
    assert result.sentences == ()
    _, result, _ = scored("forgetting", replace(known, trained=False))
    assert result.sentences == (f"forgetting: {UNTRAINED}, and stands before what is copied",)


@pytest.mark.parametrize("name", ["passkey", "survey", "several_queries"])
def test_prompts_begin_with_it_at_the_same_length(name) -> None:
    plain, begun = (
        PromptMaker(BYTES, 256, lambda: ["Prose. "], prefix=start.prefix)
        for start in (UNKNOWN, STORED)
    )
    for prompting in (Prompting.DIRECT, Prompting.FEW_SHOT):
        for control in (Control.PLAIN, Control.NO_CONTEXT):
            (prompt,) = begun.prompts(TASKS[name], 1200, 1, 0, control, prompting)
            (without,) = plain.prompts(TASKS[name], 1200, 1, 0, control, prompting)
            assert (prompt.tokens == BEGIN).nonzero()[0].tolist() == [0]
            assert BEGIN not in without.tokens
            if control == Control.PLAIN:
                assert prompt.size == without.size == 1200
            else:
                assert prompt.tokens[1:].tolist() == without.tokens.tolist()
                assert prompt.question_at == 1


def test_generated_text_begins_behind_it(monkeypatch) -> None:
    asked = []

    def generate(model, prompts, **_):
        asked.extend(prompt.tolist() for prompt in prompts)
        return [np.array([97])] * len(prompts)

    monkeypatch.setattr(generation, "generate", generate)
    for start in (STORED, UNKNOWN):
        rows = generation.generate_texts(
            None, BYTES, ["ab", ""], GenerateConfig(), generation.GREEDY, start
        )
        assert [row["text"] for row in rows] == ["a", "a"]
    assert asked == [[BEGIN, 97, 98], [BEGIN], [97, 98], [BEGIN]]


def harness(start):
    asked = []

    def score(prefixes, continuations):
        asked.extend(
            (p.tolist(), [c.tolist() for c in cs])
            for p, cs in zip(prefixes, continuations, strict=True)
        )
        return [
            [Continuation(np.ones(len(c)), np.ones(len(c))) for c in cs] for cs in continuations
        ]

    model = harness_model.CheckpointLM(Model(0), BYTES, 512, start)
    model._scorers = {0: score}
    return model, asked


def test_the_harness_begins_contexts_with_it_and_says_what_it_leaves_out() -> None:
    model, asked = harness(STORED)
    assert model.loglikelihood_rolling(requests(("abc",)), disable_tqdm=True) == [-3]
    model.loglikelihood(requests(("a", "b"), ("", "b")), disable_tqdm=True)
    assert sorted(asked) == [
        ([BEGIN], [[97, 98, 99]]),
        ([BEGIN], [[98]]),
        ([BEGIN, 97], [[98]]),
    ]
    assert model.notes() == []

    model, asked = harness(JOINED)
    assert model.loglikelihood_rolling(requests(("abc",)), disable_tqdm=True) == [-3]
    model.loglikelihood(requests(("a", "b")), disable_tqdm=True)
    assert asked == [([BEGIN], [[97, 98, 99]]), ([97], [[98]])]
    assert model.notes() == []

    model, asked = harness(UNKNOWN)
    assert model.loglikelihood_rolling(requests(("abc",), ("a",), ("",)), disable_tqdm=True) == [
        -2,
        0,
        0,
    ]
    model.loglikelihood(requests(("", "b")), disable_tqdm=True)
    assert asked == [([97], [[98, 99]]), ([BEGIN], [[98]])]
    left_out, without = model.notes()[::-1]
    assert without.startswith("2 texts of rolling scores are scored without their first token")
    assert left_out.startswith("1 texts without a context stand behind an end of text")
    assert all(note.endswith(UNTRAINED) for note in (left_out, without))
