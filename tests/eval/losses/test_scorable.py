"""How far held-out text reaches: what is left out, and that following the advice leads on."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from lengthwise.common.errors import UserError
from lengthwise.data.config import DataConfig
from lengthwise.data.prepare.prepare import prepare
from lengthwise.data.store.splits import Split
from lengthwise.eval.config import EvalConfig
from lengthwise.eval.losses.evaluate import SelectionProbe, evaluate
from lengthwise.eval.losses.results import GAIN, SAME_TARGET_NLL
from lengthwise.eval.losses.scorable import Scorable, scorable
from tests.data.settings import change_source, source_config
from tests.eval.losses.test_context_gain import IDENTITY, L_TRAIN, PlantedFactory
from tests.eval.planted import Documents, eval_config


def documents(report: list[int], selection: list[int]) -> Documents:
    """Documents of these lengths in tokens, of different clusters."""
    rng, lengths = np.random.default_rng(0), [*report, *selection]
    splits = [Split.REPORT] * len(report) + [Split.SELECTION] * len(selection)
    texts = [rng.integers(0, 8, length) for length in lengths]
    return Documents(texts, splits, list(range(len(lengths))))


CONFIG = eval_config(min_documents=4, during=("passkey",), scorers=("forgetting",))


def reach(report: list[int], selection: list[int]) -> Scorable:
    return scorable(documents(report, selection), CONFIG, L_TRAIN)


def test_all_of_it_where_there_is_text() -> None:
    whole = reach([400] * 4, [400] * 4)
    assert (whole.config, whole.left_out) == (CONFIG, ())
    assert whole.selection == (L_TRAIN, 2 * L_TRAIN)


def test_contexts_end_where_documents_do() -> None:
    block, row = CONFIG.targets_per_block, CONFIG.targets_per_row
    # Beyond L_train a block lies in one row; up to it in several.
    long_enough = 2 * L_TRAIN + 1
    assert reach([long_enough] * 4, [400] * 4).contexts[-1] == 2 * L_TRAIN
    assert reach([long_enough - 1] * 4, [400] * 4).contexts[-1] == L_TRAIN
    in_range = L_TRAIN + block - row + 1
    assert reach([in_range] * 4, [in_range] * 4).contexts[-1] == L_TRAIN
    assert reach([in_range - 1] * 4, [400] * 4).contexts[-1] < L_TRAIN
    assert reach([400] * 4, [in_range] * 4).selection == (L_TRAIN,)
    assert reach([400] * 4, [in_range - 1] * 4).selection == ()
    assert reach([400] * 3, [400] * 4).contexts == ()


def test_what_is_left_out_is_named_with_what_would_help() -> None:
    short = reach([400] * 3 + [2 * L_TRAIN + 1] * 9, [400] * 2)
    contexts, probe, during = short.left_out
    assert "contexts of 128 tokens: the report split has 3 independent documents of" in str(
        contexts
    )
    assert str(contexts).endswith("; --config.eval.min_documents=3 would help")
    assert "scores during training: the selection split has 2 independent" in str(probe)
    assert probe.advice == {"eval.min_documents": 2}
    assert during.what == "eval.during"
    assert (short.config.during, short.config.scorers) == ((), ("forgetting",))
    assert reach([L_TRAIN + 20] * 9, [400] * 9).config.scorers == ()


def test_evaluation_within_the_training_length() -> None:
    source = documents([L_TRAIN + 20] * 20, [L_TRAIN + 20] * 20)
    config = eval_config(methods=("ntk", "lambda"))
    results = evaluate(
        source, PlantedFactory(), IDENTITY, config, ("all",), None, reads_positions=True
    )
    rows = results.select(metric=SAME_TARGET_NLL, role="result")
    assert {(row.method, row.context) for row in rows} == {
        ("plain", context) for context in scorable(source, config, L_TRAIN).contexts
    }
    assert max(row.context for row in rows) == L_TRAIN
    record = SelectionProbe.record(
        SelectionProbe(source, L_TRAIN, config).rows(PlantedFactory(), IDENTITY)
    )
    assert record["score"] == record["in_range_score"]
    assert record["score_context"] == L_TRAIN
    assert "gain" not in record
    shorter = documents([L_TRAIN + 4] * 20, [])
    results = evaluate(
        shorter, PlantedFactory(), IDENTITY, config, ("all",), None, reads_positions=True
    )
    assert not results.select(metric=GAIN)
    assert all(row.context < L_TRAIN for row in results.rows)
    with pytest.raises(UserError, match="the report split has 0 independent documents of at least"):
        evaluate(
            documents([9], []),
            PlantedFactory(),
            IDENTITY,
            config,
            ("all",),
            None,
            reads_positions=True,
        )


WORDS = [f"word{i}" for i in range(5_000)]
LONG = " ".join(np.random.default_rng(1).choice(WORDS, 30_000))
CORPORA = {
    "one long file": [LONG],
    "two files": [LONG[:90_000], LONG[90_000:]],
    "ten files": [LONG[i * 25_000 :][:25_000] for i in range(10)],
    "no document of twice the length": [LONG[i * 300 :][:270] for i in range(400)],
    "copies": ["the same text, again. " * 40] * 60,
    "one short file": ["short"],
}


@pytest.mark.parametrize("corpus", CORPORA)
@pytest.mark.parametrize("shares", [0.1, 0.0])
def test_every_advice_can_be_followed_and_helps(tmp_path: Path, corpus: str, shares: float) -> None:
    (tmp_path / "corpus").mkdir()
    for number, text in enumerate(CORPORA[corpus]):
        (tmp_path / "corpus" / f"{number}.txt").write_text(text)
    data = DataConfig(**vars(source_config(path=str(tmp_path / "corpus"))))
    data = dataclasses.replace(data, selection_share=shares, report_share=shares, workers=1)
    config, followed = EvalConfig(methods=("ntk",)), set[tuple[str, object]]()
    for turn in range(6):
        found = scorable(prepare(data, tmp_path / f"store{turn}"), config, 128)
        advice = {item for each in found.left_out for item in each.advice.items()}
        assert not advice & followed
        for name, value in sorted(advice):
            section, _, field = name.partition(".")
            if section == "eval":
                config = dataclasses.replace(config, **{field: value})
            elif field.endswith("share"):
                data = dataclasses.replace(data, **{field: value})
            else:
                data = change_source(data, **{field: value})
        followed |= advice
        if not advice:
            break
    assert not advice
    # Only text that isn't there can't be scored.
    whole = len(found.contexts) == len(config.ratios) and len(found.selection) == 2
    assert whole == (corpus in ("one long file", "two files", "ten files"))


def test_impossible_contexts_are_refused_whatever_text_there_is() -> None:
    with pytest.raises(UserError, match=r"eval\.ratios .* must hold 1"):
        scorable(documents([9], [9]), eval_config(ratios=(0.5, 2.0)), L_TRAIN)
