import itertools
import json

import numpy as np
import pytest

from lengthwise.common.errors import UserError
from lengthwise.data.store.splits import Split
from lengthwise.eval.inference.scorer import Method, Setting
from lengthwise.eval.losses.context_gain import choose_multiplier, same_target_rows, score_targets
from lengthwise.eval.losses.evaluate import SelectionProbe, evaluate
from lengthwise.eval.losses.results import (
    GAIN,
    POSITION_NLL,
    SAME_TARGET_NLL,
    ResultRow,
    Results,
    RunIdentity,
    load_results,
    save_results,
)
from lengthwise.eval.losses.targets import choose_targets
from lengthwise.eval.statistics.verdicts import Verdict, useful_by_verdicts
from lengthwise.model.attention.masks import Mask
from lengthwise.model.positions.rope_scaling import RopeScaling
from tests.eval.planted import (
    VOCAB,
    CountingScorer,
    eval_config,
    skewed_documents,
    uniform_scorer,
)

L_TRAIN = 32
IDENTITY = RunIdentity("corpus-1", 500, L_TRAIN, "rope")


def planted_method(name, scorer):
    return Method(name, lambda c: Setting(), lambda setting: scorer)


def gains(scorer, contexts, documents=None, **changes):
    config = eval_config(**changes)
    source = documents or skewed_documents(64, 400)
    targets = choose_targets(source, Split.REPORT, max(contexts), config)
    methods = [planted_method("plain", scorer)]
    scored = score_targets(methods, contexts, targets, L_TRAIN, config)
    rows = same_target_rows(
        scored,
        methods,
        contexts,
        truncation="plain",
        identity=IDENTITY,
        config=config,
        role="result",
    )
    return {r.context: r for r in rows if r.metric == GAIN}, scored


@pytest.mark.parametrize("memory", [32, 64, 128, 256])
def test_a_model_that_forgets_beyond_w_tokens_gains_up_to_w_and_nothing_beyond(memory):
    """L_train is 32 throughout: contexts of W and more beat truncation by the same amount."""
    contexts = [16, 32, 64, 128, 256]
    by_context, scored = gains(CountingScorer(memory), contexts)
    assert by_context[16].high < 0  # less context than truncation
    for shorter, longer in itertools.pairwise(contexts[1:]):
        gained = scored.per_document("plain", shorter) - scored.per_document("plain", longer)
        if shorter - 15 >= memory or memory == L_TRAIN:  # targets have context-15 and more
            np.testing.assert_array_equal(gained, 0)
        elif longer <= memory:
            assert by_context[longer].verdict == Verdict.USEFUL
            assert gained.sum() > 0
    verdicts = {c: Verdict(r.verdict) for c, r in by_context.items() if r.verdict}
    reached = useful_by_verdicts(verdicts, L_TRAIN).tokens
    assert reached == (L_TRAIN if memory == L_TRAIN else 256)  # those all beat truncation
    if memory == L_TRAIN:
        for context in contexts[2:]:
            row = by_context[context]
            assert (row.value, row.low, row.high) == (0, 0, 0)
            assert row.verdict == Verdict.NO_DIFFERENCE


def test_many_targets_a_row_at_l_train_would_make_a_forgetful_model_look_useful():
    """Why targets_per_row is small: the shortfall of context is truncation's alone."""
    fair, _ = gains(CountingScorer(32), [32, 64], targets_per_row=1)
    unfair, _ = gains(CountingScorer(32), [32, 64], targets_per_row=16)
    assert fair[64].verdict == Verdict.NO_DIFFERENCE
    assert unfair[64].verdict == Verdict.USEFUL


def test_a_model_that_breaks_out_of_range_is_worse_than_truncation():
    by_context, _ = gains(CountingScorer(memory=32, penalty=0.5), [16, 32, 64, 128])
    assert by_context[64].verdict == by_context[128].verdict == Verdict.WORSE
    assert by_context[128].value == pytest.approx(-0.5, abs=0.05)
    assert by_context[16].verdict is by_context[32].verdict is None  # in range: no claim
    assert (by_context[32].value, by_context[32].low, by_context[32].high) == (0, 0, 0)


def test_target_nats_are_those_of_the_last_targets_in_the_row():
    """Against a loop over single rows that reads the documents itself."""
    config = eval_config(tokens_per_call=100)  # several calls with a ragged last one
    source = skewed_documents(64, 300)
    targets = choose_targets(source, Split.REPORT, 128, config)
    scorer = CountingScorer(128)
    scored = score_targets([planted_method("plain", scorer)], [64, 128], targets, L_TRAIN, config)
    for context in (64, 128):
        for block, end in enumerate(targets.block_end_R):
            row = source.tokens[end - context : end + 1]
            alone = scorer(row[None])[0, -config.targets_per_block :]
            np.testing.assert_allclose(scored.nats["plain", context][block], alone, rtol=1e-6)
    sums = scored.per_document("plain", 64)
    assert sums.sum() == pytest.approx(scored.nats["plain", 64].sum())
    assert scored.counts_N.sum() == scored.nats["plain", 64].size


def test_uniform_model_scores_log_v_and_equal_scorers_run_once():
    scorer = CountingScorer(64)
    config = eval_config(tokens_per_call=10**6)
    targets = choose_targets(skewed_documents(64, 300), Split.REPORT, 64, config)
    both = [planted_method("a", scorer), planted_method("b", scorer)]
    scored = score_targets(
        [*both, planted_method("uniform", uniform_scorer)], [32, 64], targets, L_TRAIN, config
    )
    np.testing.assert_allclose(scored.nats["uniform", 64], np.log(VOCAB), rtol=1e-6)
    assert [shape[1] - 1 for shape in scorer.calls] == [32, 64]
    with pytest.raises(ValueError, match="room"):
        score_targets(both, [128], targets, L_TRAIN, config)


def test_bad_scorers_are_refused():
    config = eval_config()
    targets = choose_targets(skewed_documents(64, 300), Split.REPORT, 64, config)
    broken = planted_method("broken", lambda tokens: np.full((len(tokens), 64), np.nan))
    with pytest.raises(FloatingPointError, match="non-finite"):
        score_targets([broken], [64], targets, L_TRAIN, config)
    short = planted_method("short", lambda tokens: np.zeros((len(tokens), 63)))
    with pytest.raises(ValueError, match="shape"):
        score_targets([short], [64], targets, L_TRAIN, config)


def test_multiplier_with_the_lowest_score_wins():
    config = eval_config()
    targets = choose_targets(skewed_documents(64, 300), Split.SELECTION, 64, config)
    candidates = {
        1.0: planted_method("x1", CountingScorer(64, penalty=0)),
        2.0: planted_method("x2", CountingScorer(32)),
        4.0: planted_method("x4", CountingScorer(8)),
    }
    scored = score_targets(list(candidates.values()), [64], targets, L_TRAIN, config)
    assert choose_multiplier(candidates, scored, 64) == 1.0
    flipped = {4.0: candidates[1.0], 2.0: candidates[2.0], 1.0: candidates[4.0]}
    assert choose_multiplier(flipped, scored, 64) == 4.0


class PlantedFactory:
    """Plain breaks beyond L_train; scaling with factor 2 c / L_train repairs it; the Lambda mask
    forgets but does not break; shuffled positions cost half a nat."""

    def __init__(self):
        self.scorers = {}

    def __call__(self, setting):
        if setting not in self.scorers:
            self.scorers[setting] = self.make(setting)
        return self.scorers[setting]

    def make(self, setting):
        if setting.shuffled:
            return lambda tokens: CountingScorer(L_TRAIN)(tokens) + 0.5
        if setting.mask.window is not None:
            return CountingScorer(setting.mask.window + setting.mask.sinks)
        if setting.scaling.kind == "ntk":
            return lambda tokens: (
                CountingScorer(10_000)(tokens)
                + 0.1 * abs(setting.scaling.factor - 2 * (tokens.shape[1] - 1) / L_TRAIN)
            )
        return CountingScorer(L_TRAIN, penalty=1.0)


@pytest.fixture(scope="module")
def evaluated():
    factory = PlantedFactory()
    source = skewed_documents(64, 400)
    return evaluate(
        source, factory, IDENTITY, eval_config(), ("all",), None, reads_positions=True
    ), factory


def test_evaluate_finds_what_was_planted(evaluated):
    results, factory = evaluated
    assert results.multipliers["ntk"] == 2.0
    said = {
        (r.method, r.context): r.verdict
        for r in results.select(metric=GAIN, role="result")
        if r.verdict
    }
    assert {c for _, c in said} == {64, 128}
    assert {said["plain", c] for c in (64, 128)} == {Verdict.WORSE}
    assert {said["ntk", c] for c in (64, 128)} == {Verdict.USEFUL}
    assert {said["lambda", c] for c in (64, 128)} == {Verdict.NO_DIFFERENCE}
    (control,) = results.select(metric=GAIN, role="control")
    assert control.high < 0
    assert control.value == pytest.approx(-0.5, abs=1e-3)
    assert Setting(RopeScaling("ntk", 8.0)) in factory.scorers  # 2 * 128 / 32
    assert Setting(mask=Mask(window=L_TRAIN - 4, sinks=4)) in factory.scorers


def test_rows_say_what_they_are(evaluated):
    results, _ = evaluated
    for row in results.rows:
        assert row.unit == "nats/token"
        assert row.low <= row.value <= row.high
        assert (row.corpus_fingerprint, row.checkpoint_step) == ("corpus-1", 500)
        assert row.ratio == row.context / L_TRAIN
        assert row.split == ("selection" if row.role == "selection" else "report")
        assert (row.factor == 1.0) == (row.scaling == "none")
        if row.role == "selection":
            assert row.context <= 2 * L_TRAIN
    (row,) = results.select(metric=SAME_TARGET_NLL, role="result", method="ntk", context=128)
    assert (row.scaling, row.factor, row.mask, row.context_from) == ("ntk", 8.0, "causal", 113)
    assert row.n_targets == row.n_documents * 2 * 16
    (row,) = results.select(metric=SAME_TARGET_NLL, role="result", method="ntk", context=32)
    assert (row.scaling, row.factor) == ("none", 1.0)
    (row,) = results.select(metric=GAIN, role="result", method="lambda", context=64)
    assert row.mask == "window 28 + 4 sinks"
    for row in results.select(metric=POSITION_NLL, method="ntk"):
        assert (row.factor, row.pass_length) == (8.0, 128)


def test_results_survive_json_exactly_and_nan_is_left_out_by_name(evaluated, tmp_path):
    results, _ = evaluated
    path = tmp_path / "eval" / "results.json"
    save_results(results, path)
    assert load_results(path) == results
    before = path.read_bytes()
    fields = {**json.loads(before)["rows"][0], "value": float("nan")}
    save_results(Results((ResultRow(**fields),), {}), path)
    written = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert written["rows"] == [fields | {"value": None}]
    assert written["left_out"] == ["rows[0].value is nan, not a finite number"]
    path.write_text(before.decode()[:-30])
    with pytest.raises(UserError, match="not valid JSON"):
        load_results(path)
    path.write_text(json.dumps({"format_version": 0}))
    with pytest.raises(UserError, match="format version"):
        load_results(path)


def test_rows_of_different_corpora_never_meet(evaluated):
    results, _ = evaluated
    row = results.rows[0]
    other = ResultRow(**{**row.__dict__, "corpus_fingerprint": "corpus-2"})
    with pytest.raises(ValueError, match="2 evaluations"):
        Results((row, other), {})


def test_selection_probe_scores_the_selection_split_within_twice_l_train():
    source = skewed_documents(64, 400)
    probe = SelectionProbe(source, L_TRAIN, eval_config())
    rows = probe.rows(PlantedFactory(), IDENTITY)
    assert {(r.split, r.context) for r in rows} == {("selection", 32), ("selection", 64)}
    record = SelectionProbe.record(rows)
    for prefix, metric, context in (
        ("score", SAME_TARGET_NLL, 64),
        ("in_range_score", SAME_TARGET_NLL, 32),
        ("gain", GAIN, 64),
    ):
        (row,) = (r for r in rows if r.metric == metric and r.context == context)
        values = (record[prefix], record[f"{prefix}_low"], record[f"{prefix}_high"])
        assert values == (row.value, row.low, row.high)
    assert (record["score_context"], record["in_range_score_context"]) == (64, 32)
    assert set(source.document_splits[probe.targets.documents_N]) == {Split.SELECTION}


def test_a_model_that_reads_no_positions_has_no_control_and_says_so():
    source, config = skewed_documents(64, 400), eval_config()
    results = evaluate(
        source, PlantedFactory(), IDENTITY, config, ("all",), None, reads_positions=False
    )
    assert not results.select(role="control")
    assert any("shuffled positions" in reason for reason in results.left_out)


def test_sinks_must_leave_a_window():
    source, config = skewed_documents(64, 400), eval_config(sinks=32)
    with pytest.raises(UserError, match=r"eval\.sinks"):
        evaluate(source, PlantedFactory(), IDENTITY, config, ("all",), None, reads_positions=True)
