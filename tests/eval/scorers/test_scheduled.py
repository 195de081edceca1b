"""Scorers on a schedule: other text and prompts than the report's, and a score to stop by."""

from itertools import pairwise

import numpy as np
import pytest

from lengthwise.common.errors import UserError
from lengthwise.data.store.splits import Split
from lengthwise.data.store.tokenizers import IdsTokenizer
from lengthwise.eval.inference.dry_run import stand_in
from lengthwise.eval.inference.scorer import Setting, TargetScores
from lengthwise.eval.registry import SCORERS
from lengthwise.eval.scoring.bench import Bench
from lengthwise.eval.scoring.scheduled import ScheduledScorers
from lengthwise.model.positions.rope_scaling import RopeScaling
from lengthwise.train.rules.score import stopping_score
from lengthwise.train.rules.stopping import StoppingConfig
from tests.eval.planted import (
    VOCAB,
    CountingScorer,
    Documents,
    eval_config,
    skewed_documents,
)
from tests.eval.readers import BYTES, Guesser, Reader

L_TRAIN = 64


def scheduled(*names, tokenizer=BYTES, source=None, l_train=L_TRAIN, **changes):
    config = eval_config(during=names, prompts=8, **changes)
    bench = Bench(source, tokenizer, config, l_train, (l_train, 4 * l_train), "corpus-1", "")
    return ScheduledScorers(bench)


def stopping(name, scores):
    """The stopping score of a name, over the figures of `scores`."""
    chosen = stopping_score(StoppingConfig(name))
    chosen.check(scores.names)
    return chosen


def test_figures_are_of_the_plain_prompts_at_the_training_length_and_twice_that():
    scores = scheduled("passkey", l_train=512)
    found = scores.figures(lambda setting: Reader("passkey"))
    assert {name: figure["value"] for name, figure in found.items()} == {
        "passkey@512": 1.0,
        "passkey@1024": 1.0,
    }
    assert all(figure["higher_is_better"] for figure in found.values())
    # That all eight are right doesn't say that the next one will be.
    assert found["passkey@512"]["low"] < 0.95
    lost = scores.figures(lambda setting: Reader("passkey", 512))
    assert lost["passkey@512"]["value"] == 1.0
    assert lost["passkey@1024"]["value"] < 1.0


def test_they_are_run_by_a_method_beyond_the_training_length():
    settings = []
    scores = scheduled("passkey", l_train=512, during_method="self_extend:window=128+log_n")
    scores.figures(lambda setting: settings.append(setting) or Reader("passkey"))
    scaling = RopeScaling("none", near=128, grouped=3, log_n=512)  # 1023 // 3 + 128 - 42 < 512
    assert set(settings) == {Setting(), Setting(scaling)}
    for wrong in ("yarm", "yarn:factor"):
        with pytest.raises(UserError, match=r"eval\.during_method"):
            scheduled("passkey", l_train=512, during_method=wrong)


@pytest.mark.parametrize("name", SCORERS.names())
def test_every_scorer_can_be_run_dry(name):
    """What the dry run scores is the like of what a model does: no scorer fails at it."""
    falling = Falling()
    long, short = skewed_documents(48, 700), skewed_documents(48, 40)
    source = Documents(
        [each.tokens[a:b] for each in (long, short) for a, b in pairwise(each.document_offsets)],
        [split for each in (long, short) for split in each.document_splits],
        list(range(96)),
    )
    tokenizer = BYTES if name.startswith("needle") else IdsTokenizer(VOCAB + 1, VOCAB)
    length = 512 if name.startswith("needle") else L_TRAIN
    scores = scheduled(name, tokenizer=tokenizer, source=source, l_train=length)
    assert scores.figures(lambda setting: falling)


@pytest.mark.parametrize("longest", [L_TRAIN, 2 * L_TRAIN])
def test_losses_in_training_stand_at_lengths_of_ones_own(longest):
    """A model that remembers 32 tokens gains from 16 to 32 and nothing beyond."""
    ids = IdsTokenizer(VOCAB + 1, VOCAB)
    settings = SCORERS.settings({"target_nll": {"lengths": (16, longest, 32)}}, "eval")
    source = skewed_documents(48, 700)
    scores = scheduled(
        "target_nll", tokenizer=ids, source=source, scorer_settings=settings, targets_per_block=4
    )
    found = scores.figures(lambda setting: CountingScorer(memory=32))
    assert list(found) == ["target_nll@16", "target_nll@32", f"target_nll@{longest}"]
    nats = [figure["value"] for figure in found.values()]
    assert nats[0] - nats[1] > 0.02
    assert nats[2] == pytest.approx(nats[1], abs=0.02)


class Falling:
    """Scores as those of `eval.inference.dry_run.dry_model`, with no programs behind them."""

    def __call__(self, tokens):
        return self.targets(tokens).nats

    def targets(self, tokens, positions=None):
        shape = np.subtract(tokens.shape, (0, 1))
        return TargetScores(*(stand_in(np.empty(shape, x)) for x in (np.float32, bool)))


class Recorder(CountingScorer):
    """Keeps the rows that it scores."""

    def __call__(self, tokens):
        self.rows = [*getattr(self, "rows", []), *map(bytes, tokens.astype("u2"))]
        return super().__call__(tokens)


def test_the_text_is_that_of_the_selection_split():
    source = skewed_documents(24, 300)
    ids = IdsTokenizer(VOCAB + 1, VOCAB)
    scorer = Recorder(memory=64)
    scheduled("sliding_window", tokenizer=ids, source=source).figures(lambda setting: scorer)
    texts = {
        split: [
            source.tokens[source.document_offsets[d] : source.document_offsets[d + 1]]
            .astype("u2")
            .tobytes()
            for d in source.documents(split)
        ]
        for split in (Split.SELECTION, Split.REPORT)
    }
    long = [row for row in scorer.rows if len(row) > 2 * 32]
    assert long
    for row in long:
        part = row[: 2 * 32]  # behind its tokens a row may be padded
        assert any(part in text for text in texts[Split.SELECTION])
        assert not any(part in text for text in texts[Split.REPORT])


def test_the_score_to_stop_by_is_lower_for_a_better_model():
    scores = scheduled("passkey", l_train=512)
    good = {"score": 3.0, "scores": scores.figures(lambda setting: Reader("passkey"))}
    bad = {"score": 1.0, "scores": scores.figures(lambda setting: Guesser())}
    by_passkey = stopping("passkey@1024", scores)
    assert by_passkey.of(good) < by_passkey.of(bad)
    assert stopping("nll", scores).of(good) == 3.0


def test_tasks_go_by_rulers_names_as_in_the_report(tmp_path):
    scores = scheduled("niah_single_1", l_train=512)
    stopping("single_key@1024", scores)
    found = scores.figures(lambda setting: Reader("single_key"))
    assert found["single_key@1024"]["value"] == 1.0
    (tmp_path / "prose.txt").write_text("Some prose. ")
    with pytest.raises(UserError, match=r"stopping\.score='cwe@1'.* several_keys@4096.* tracing@"):
        stopping("cwe@1", scheduled("ruler", l_train=4096, haystack=str(tmp_path / "prose.txt")))
    with pytest.raises(UserError, match=r"eval.during holds 'vtt'.*forgetting.*tracing.*ruler"):
        scheduled("vtt")


def test_unknown_names_are_told():
    with pytest.raises(UserError, match=r"eval.during holds 'passky'.*passkey"):
        scheduled("passky")
    with pytest.raises(UserError, match=r"stopping.score='passkey@4096'.*nll, passkey@512"):
        stopping("passkey@4096", scheduled("passkey", l_train=512))
    with pytest.raises(UserError, match=r"no score of eval\.during"):
        stopping("passkey@512", scheduled(l_train=512))
