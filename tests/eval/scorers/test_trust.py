"""Every scorer on models whose score is known: an oracle, one that guesses or finds all alike, one
that copies, one that forgets beyond W tokens. A scorer without such a check fails the first test.
"""

import dataclasses
import functools
import re

import numpy as np
import pytest

from lengthwise.data.store.splits import Split
from lengthwise.data.store.tokenizers import IdsTokenizer
from lengthwise.eval.card.diagnosis import findings
from lengthwise.eval.card.lengths import ABSOLUTE, absolute_length, crossing
from lengthwise.eval.inference.scorer import Method, Setting
from lengthwise.eval.losses.context_gain import same_target_curves, score_targets
from lengthwise.eval.losses.position_nll import position_curves, score_positions
from lengthwise.eval.losses.targets import choose_targets
from lengthwise.eval.prompts.assemble import PromptMaker
from lengthwise.eval.prompts.prompt import Control, PromptTask
from lengthwise.eval.prompts.registry import TASKS
from lengthwise.eval.registry import SCORERS
from lengthwise.eval.scoring.bench import Bench
from lengthwise.eval.scoring.factory import make_scorers
from lengthwise.eval.scoring.prompts import PromptScorer
from lengthwise.eval.statistics.resampling import chance_corrected, resample
from tests.eval.planted import VOCAB, CountingScorer, eval_config, skewed_documents
from tests.eval.readers import AGGREGATES, BYTES, SURE, UNSURE, Copier, Guesser, Reader, Uniform

PROSE = [f"Sentence {i} of a book that says nothing. " for i in range(300)]
LENGTHS, W = (1024, 2048, 4096), 2048
IDS = IdsTokenizer(VOCAB + 1, VOCAB)


def methods(scorer):
    return [Method("plain", lambda context: Setting(), lambda setting: scorer)]


def bench(tokenizer, lengths, l_train, source=None, **changes):
    config = eval_config(**{"prompts": 44, **changes})
    return Bench(source, tokenizer, config, l_train, lengths, "corpus-1", "")


def prompts(name, scorer, lengths=LENGTHS, task=None, **changes):
    """(metric, control) -> curve."""
    held = bench(BYTES, lengths, lengths[0], **changes)
    maker = PromptMaker(BYTES, lengths[0], lambda: PROSE)
    scored = PromptScorer(task or TASKS[name], held, maker)(methods(scorer))
    return {(curve.metric, curve.control): curve for curve in scored.curves}


def scores(curve):
    return curve.sums_NK.sum(axis=0) / curve.counts_NK.sum(axis=0)


def corrected(curve):
    drawn = resample([curve], samples=400, confidence=0.95, seed=0)
    return chance_corrected(curve, drawn)


def reached(curve):
    """L_eff in tokens, by lower bounds, after its interval by a fit was found to agree."""
    found, fitted = corrected(curve), crossing(curve.lengths, corrected(curve), ABSOLUTE)
    effective = absolute_length(curve.lengths, found)
    if not effective.censored:
        # The next tested length fails: the fitted length lies between.
        after = curve.lengths[curve.lengths.index(effective.tokens) + 1]
        assert effective.tokens <= fitted.low.tokens <= fitted.value.tokens <= after
        assert fitted.high.censored == "above" or fitted.high.tokens >= fitted.value.tokens
    return effective.tokens, bool(effective.censored)


class PlainAlone(PromptTask):
    """A task without its controls."""

    controls = (Control.PLAIN,)


def check_task(name):
    oracle = prompts(name, Reader(name), (1024, 2048), prompts=12, generate=True)
    assert scores(oracle["written", "plain"]).tolist() == [1.0, 1.0]
    for metric in ("accuracy", "greedy"):
        for control in ("plain", "distance_0", "easy_filler", "far_positions"):
            if (metric, control) in oracle:
                assert scores(oracle[metric, control]).tolist() == [1.0, 1.0]
        assert scores(oracle[metric, "no_context"]).tolist() == [0.0, 0.0]  # a tie is not right
    if name not in AGGREGATES:
        assert scores(oracle["accuracy", "truncated"])[1] < 1

    plain = PlainAlone(**vars(TASKS[name]))
    guessed = prompts(name, Guesser(), (1024,), plain, prompts=100)
    (estimate,) = corrected(guessed["accuracy", "plain"]).estimates()
    assert estimate.low < 0.1
    assert estimate.high > -0.1
    assert not scores(guessed["greedy", "plain"]).any()

    forgetful = prompts(name, Reader(name, W), task=plain, generate=True)
    assert reached(forgetful["accuracy", "plain"]) == (W, False)
    assert scores(forgetful["greedy", "plain"])[:2].tolist() == [1.0, 1.0]
    far = scores(forgetful["written", "plain"])
    assert far[:2].tolist() == [1.0, 1.0]
    assert far[2] < 1


@functools.cache
def documents():
    return skewed_documents(48, 700)


def language(name, scorer, lengths=(32, 64, 128, 256), l_train=32):
    held = bench(IDS, lengths, l_train, documents(), documents=24, scorers=(name,))
    scored = make_scorers(held)[0](methods(scorer))
    return {(curve.metric, curve.control): curve for curve in scored.curves}, scored


def check_forgetting():
    copied, _ = language("forgetting", Copier(6))
    # Where the same six tokens stand twice, one of them goes on otherwise.
    assert scores(copied["token_accuracy", "plain"]) == pytest.approx(1.0, abs=0.01)
    assert scores(copied["token_accuracy", "no_copy"]).max() < 0.2
    curve = copied["copy_minus_alone", "plain"]
    assert corrected(curve).value_K == pytest.approx(1.0, abs=0.1)
    alike, _ = language("forgetting", Uniform(VOCAB))
    assert not scores(alike["copy_minus_alone", "plain"]).any()
    # What is copied stands half the row back.
    forgetful, _ = language("forgetting", Copier(6, memory=64))
    assert scores(forgetful["token_accuracy", "plain"])[:3] == pytest.approx(1.0, abs=0.01)
    assert reached(forgetful["copy_minus_alone", "plain"]) == (128, False)


def check_sliding_window():
    alike, _ = language("sliding_window", Uniform(VOCAB))
    for control in ("plain", "truncated", "no_context"):
        assert scores(alike["nll", control]) == pytest.approx(np.log(VOCAB), rel=1e-6)
    memory = 64
    found, _ = language("sliding_window", CountingScorer(memory), (32, 64, 128, 256))
    plain = scores(found["nll", "plain"])
    assert scores(found["nll", "no_context"]) == pytest.approx(
        [scores(found["nll", "no_context"])[0]] * 4
    )
    assert scores(found["nll", "truncated"]) == pytest.approx([plain[0]] * 4)
    assert plain[0] > plain[1] > plain[2]
    # A window of 128 and a stride of 64 leave each target at least 65 tokens, all that it uses.
    source = documents()
    chosen = list(source.documents(Split.REPORT))
    whole = [source.read(int(source.document_offsets[d]), 513)[None] for d in chosen]
    nats = np.concatenate([CountingScorer(memory)(text)[0] for text in whole]).mean()
    assert plain[2:] == pytest.approx([nats, nats], rel=1e-6)


def check_short_documents():
    source = skewed_documents(48, 20)
    held = bench(IDS, (32,), 32, source, documents=24, scorers=("short_documents",))

    def nll(scorer):
        (curve,) = make_scorers(held)[0](methods(scorer)).curves
        return scores(curve)

    assert nll(Uniform(VOCAB)) == pytest.approx([np.log(VOCAB)], rel=1e-6)
    texts = [source.read(20 * int(d), 20)[None] for d in source.documents(Split.REPORT)]
    nats = np.concatenate([CountingScorer(64)(text)[0] for text in texts]).mean()
    padded = CountingScorer(64)  # knows no padding, which stands behind all that counts
    assert nll(lambda tokens: padded(np.minimum(tokens, VOCAB - 1))) == pytest.approx(
        [nats], rel=1e-6
    )


def check_target_nll():
    alike, _ = language("target_nll", Uniform(VOCAB))
    assert scores(alike["nll", "plain"]) == pytest.approx(np.log(VOCAB), rel=1e-6)
    found, _ = language("target_nll", CountingScorer(64))
    plain = scores(found["nll", "plain"])
    assert plain[0] > plain[1] + 0.01
    assert plain[2:] == pytest.approx([plain[3]] * 2, rel=1e-6)  # no use of what is further back


class PowerLawModel:
    """3 x^-0.4 + 1 nats at x preceding tokens, with noise of each token's own, up to `memory`;
    from there on as at `memory`."""

    def __init__(self, memory):
        self.memory = memory

    def __call__(self, tokens):
        x = np.minimum(np.arange(1, tokens.shape[1]), self.memory)
        own = np.random.default_rng(int(tokens.sum())).normal(0, 0.05, tokens[:, 1:].shape)
        return (3 * x**-0.4 + 1 + own).astype(np.float32)


def check_power_law():
    lengths = (64, 128, 256, 512)
    good, scored = language("power_law", PowerLawModel(10**9), lengths, 64)
    exponent = float(re.search(r"x\^(\S+)", scored.sentences[0])[1])
    assert exponent == pytest.approx(-0.4, abs=0.01)
    for estimate in resample(
        [good["excess_nll", "plain"]], samples=400, confidence=0.95, seed=0
    ).estimates():
        assert estimate.low < 0.002
        assert estimate.high > -0.002
        assert abs(estimate.value) < 0.01
    forgetful, _ = language("power_law", PowerLawModel(64), lengths, 64)
    curve = forgetful["excess_nll", "plain"]
    assert curve.lengths == (128, 256, 512)
    for value, most in zip(scores(curve), curve.lengths, strict=True):
        x = np.arange(most // 2 + 1, most + 1)
        assert value == pytest.approx((3 * 64**-0.4 - 3 * x**-0.4).mean(), abs=0.006)
    alike, scored = language("power_law", Uniform(VOCAB), lengths, 64)
    assert scores(alike["excess_nll", "plain"]) == pytest.approx(0, abs=1e-5)
    assert "no falling power law" in scored.sentences[1]


def grid(name, scorer, **settings):
    lengths = (256, 512, 1024)
    changed = SCORERS.settings({name: {"trials": 30, **settings}}, "eval")
    held = bench(BYTES, lengths, 256, scorers=(name,), scorer_settings=changed)
    scored = make_scorers(held)[0](methods(scorer))
    assert [grid.metric for grid in scored.grids] == ["accuracy", "margin"]
    (curve,) = scored.curves
    return curve, scored.grids[0]


# The needle itself and the question stand between a distance and the answer.
OVERHEAD = len("12345. ") + len("\nThe code of babababa is") + 1


def check_needle_depth():
    _, found = grid("needle_depth", Reader("single_key"), depths=3)
    assert found.places == (0.0, 0.5, 1.0)
    assert (found.scores_NDK == 1).all()
    _, found = grid("needle_depth", Copier(11, 400), depths=3)
    # Of 1,024 tokens the last 400 are read: not the beginning and not the middle.
    assert found.scores_NDK.mean(axis=0).tolist() == [[1, 0, 0], [1, 1, 0], [1, 1, 1]]
    curve, found = grid("needle_depth", Guesser(), depths=3)
    assert np.abs(corrected(curve).value_K).max() < 0.15


def check_needle_distance():
    curve, found = grid("needle_distance", Copier(11, 128 + OVERHEAD))
    assert found.places == (128.0, 256.0, 512.0)
    seen = found.scores_NDK.mean(axis=0)
    assert seen[0].tolist() == [1, 1, 1]
    assert np.isnan(seen[1:, 0]).tolist() == [True, True]  # as far as the input is long
    assert seen[1, 1:].tolist() == [0, 0]
    assert reached(curve) == (128, False)
    curve, _ = grid("needle_distance", Reader("single_key"))
    assert reached(curve) == (512, True)


def target_curves(scorer):
    config = eval_config()
    targets = choose_targets(documents(), Split.REPORT, 256, config)
    contexts = [16, 32, 64, 128, 256]
    scored = score_targets(methods(scorer), contexts, targets, 32, config)
    (same,) = same_target_curves(scored, methods(scorer), contexts, 0.0)
    (position,) = position_curves(
        score_positions(methods(scorer), targets, config), methods(scorer), 0.0
    )
    return scores(same), scores(position)


def check_same_target():
    same, _ = target_curves(CountingScorer(64))
    assert same[1] - same[2] > 0.005
    assert same[3] == same[4]  # nothing beyond 64 tokens is used
    alike, _ = target_curves(Uniform(VOCAB))
    assert alike == pytest.approx(np.log(VOCAB), rel=1e-6)


def check_position():
    _, alike = target_curves(Uniform(VOCAB))
    assert alike == pytest.approx(np.log(VOCAB), rel=1e-6)
    _, forgetful = target_curves(CountingScorer(64))
    _, remembers = target_curves(CountingScorer(256))
    assert forgetful[:7] == pytest.approx(remembers[:7])  # up to 64 preceding tokens
    assert (forgetful[7:] > remembers[7:] + 0.005).all()


TRUST = {
    "same_target_nll": check_same_target,
    "position_nll": check_position,
    "forgetting": check_forgetting,
    "power_law": check_power_law,
    "sliding_window": check_sliding_window,
    "short_documents": check_short_documents,
    "target_nll": check_target_nll,
    "needle_depth": check_needle_depth,
    "needle_distance": check_needle_distance,
    **{name: functools.partial(check_task, name) for name in TASKS.names()},
}


def test_every_scorer_has_a_check():
    assert set(TRUST) == {"same_target_nll", "position_nll", *SCORERS.names(), *TASKS.names()}


@pytest.mark.parametrize("name", TRUST)
def test_models_with_known_answers_score_what_they_should(name):
    TRUST[name]()


# What the context shows of a candidate without being read; the lowest is taken for the answer.
SHORTCUTS = {
    "first": lambda context, text: context.find(text) if text in context else len(context),
    "last": lambda context, text: -context.rfind(text),
    "most frequent": lambda context, text: -context.count(text),
    "rarest": lambda context, text: context.count(text),
}
ALONE = 1.0  # the fact stands among text that has no value but the answer: finding it is the task
NEAR = 0.09  # over chance; of 300 prompts a guess among four exceeds it once in 5,000 times
# Share that a shortcut may get right where that is not chance.
SOLVED_BY = {
    **dict.fromkeys(("passkey", "single_key", "key_in_prose", "code_in_prose"), ALONE),
    # Whoever counts is right, and what stands there oftener stands there earlier and later.
    **dict.fromkeys(("common_word", "frequent_word", "survey"), ALONE),
}


@pytest.mark.parametrize("name", TASKS.names())
def test_no_shortcut_solves_a_task(name):
    maker, rng = PromptMaker(BYTES, 2048, lambda: PROSE), np.random.default_rng(0)
    prompts = maker.prompts(TASKS[name], 2048, 300, 7)
    right = {shortcut: [] for shortcut in SHORTCUTS}
    for prompt in prompts:
        context = BYTES.decode(prompt.tokens[: prompt.question_at])
        for part in prompt.parts:
            texts = [BYTES.decode(candidate) for candidate in part.candidates]
            for shortcut, of in SHORTCUTS.items():
                seen = np.array([of(context, text) for text in texts])
                # Among several that look alike it guesses.
                right[shortcut].append(rng.permutation(np.flatnonzero(seen == seen.min()))[0] == 0)
    bound = SOLVED_BY.get(name, prompts[0].chance + NEAR)
    found = {shortcut: float(np.mean(hits)) for shortcut, hits in right.items()}
    assert all(share <= bound for share in found.values()), found
    if name in SOLVED_BY:  # else the exception is no longer one
        assert max(found.values()) > 0.9


class Nearsighted(Reader):
    """Finds what stands within its memory, unless position ids lie far apart."""

    def targets(self, tokens, positions=None):
        apart = positions is not None and (np.diff(positions, axis=1) > 1).any()
        return (Uniform(257) if apart else super()).targets(tokens)


def test_the_card_says_that_positions_are_what_a_model_fails_by():
    found = prompts("passkey", Nearsighted("passkey", 300), (256, 2048), prompts=40)
    assert scores(found["accuracy", "far_positions"]).tolist() == [1.0, 0.0]
    by_control = {
        control: corrected(curve)
        for (metric, control), curve in found.items()
        if metric == "accuracy"
    }
    within, beyond = findings((256, 2048), by_control, 256)
    assert within.words == "above chance; the last L_train tokens are enough for that"
    assert beyond.words.endswith("positions: a short prompt fails with far position ids")


LOOKUPS = ("passkey", "single_key", "key_in_prose", "code_in_prose", "several_keys", "only_keys")


@pytest.mark.parametrize("name", LOOKUPS)
def test_induction_alone_solves_what_stands_there_word_for_word(name):
    found = prompts(name, Copier(11), (512, 1024), prompts=8)
    assert scores(found["accuracy", "plain"]).tolist() == [1.0, 1.0]
    size = 37 if name == "code_in_prose" else 6
    assert scores(found["margin", "plain"])[0] <= size * (UNSURE - SURE)


def test_a_prompting_that_helps_is_said_to():
    class Shown:
        """Answers where a solved example stands before, or steps behind the question."""

        def targets(self, tokens, positions=None):
            helped = np.array([BYTES.decode(row).count("The code of") > 3 for row in tokens])
            sure = Reader("single_key").targets(tokens)
            unsure = Uniform(257).targets(tokens)
            return dataclasses.replace(
                sure,
                nats=np.where(helped[:, None], sure.nats, unsure.nats),
                greedy=sure.greedy & helped[:, None],
            )

    held = bench(BYTES, (512, 1024), 512, prompts=12, prompting=("few_shot", "scratchpad"))
    maker = PromptMaker(BYTES, 512, lambda: PROSE)
    scored = PromptScorer(TASKS["single_key"], held, maker)(methods(Shown()))
    assert len(scored.sentences) == 4
    # Twelve of twelve, and none of twelve, are not certain.
    found = re.search(
        r"few_shot: \+100% \[\+(\d+)%, \+100%\] right answers, helps$", scored.sentences[0]
    )
    assert 30 < int(found[1]) < 85
    same = re.search(
        r": \+0% \[-(\d+)%, \+(\d+)%\] right answers, inconclusive$", scored.sentences[-1]
    )
    assert all(10 <= int(bound) <= 40 for bound in same.groups())
    controls = {curve.control for curve in scored.curves}
    assert {"few_shot", "scratchpad", "far_positions"} <= controls
