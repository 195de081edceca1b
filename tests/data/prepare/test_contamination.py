"""The overlap of evaluation sets with the training text, against sets of words."""

import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lengthwise.common.errors import UserError
from lengthwise.data.config import ContaminationConfig, DataConfig
from lengthwise.data.prepare import contamination
from lengthwise.data.prepare.prepare import prepare
from lengthwise.data.store.splits import Split
from lengthwise.data.store.token_store import TokenStore
from tests.data.settings import source_config

N = 5


def ngrams(text: str) -> set[tuple[str, ...]]:
    words = text.split()
    return {tuple(words[i : i + N]) for i in range(len(words) - N + 1)}


def exact_share(text: str, training: list[str]) -> float:
    words = text.split()
    own = [tuple(words[i : i + N]) for i in range(len(words) - N + 1)]
    held = set().union(*map(ngrams, training))
    return float(np.mean([ngram in held for ngram in own]))


@pytest.fixture
def checked(config: DataConfig, tmp_path: Path) -> DataConfig:
    """A corpus and a test set: question 0 is new, 1 stands in a document, 2 does so in part.

    Question 3 is too short to be compared.
    """
    rng = random.Random(5)
    questions = [" ".join(f"q{rng.randrange(10**6)}" for _ in range(20)) for _ in range(3)]
    corpus = tmp_path / "corpus"
    for name, question in (("07", questions[1]), ("08", " ".join(questions[2].split()[:12]))):
        (corpus / f"{name}.txt").write_text((corpus / f"{name}.txt").read_text() + " " + question)
    lines = [json.dumps({"text": text}) + "\n" for text in [*questions, "too short"]]
    (tmp_path / "exam.jsonl").write_text("".join(lines))
    exam = source_config(source="jsonl", domain="exam", path=str(tmp_path / "exam.jsonl"))
    check = ContaminationConfig(ngram=N, share=0.8, drop="none", sources=(exam,))
    # A split seed by which both are trained on.
    return replace(config, contamination=check, split_seed=5)


def listed(store: TokenStore) -> dict[str, float]:
    content = json.loads((store.directory / contamination.LIST).read_text())
    return {item["name"]: item["share"] for item in content["documents"]}


def test_an_evaluation_set(checked: DataConfig, tmp_path: Path) -> None:
    store = prepare(checked, tmp_path / "store")
    splits = dict(zip(store.document_names, store.document_splits.tolist(), strict=True))
    assert splits["07.txt"] == splits["08.txt"] == Split.TRAIN, "the test is of training text"
    exam = store.manifest.contamination["exam"]
    assert exam["documents"] == 4
    assert exam["too_short"] == 1
    assert exam["contaminated"] == 1
    assert exam["ngrams"] == 3 * (20 - N + 1)
    assert exam["found"] == pytest.approx((20 - N + 1 + 12 - N + 1) / (3 * (20 - N + 1)))
    shares = listed(store)
    assert shares == {
        "exam.jsonl:2": 1.0,
        "exam.jsonl:3": pytest.approx((12 - N + 1) / (20 - N + 1), abs=1e-6),
    }
    assert list(shares) == ["exam.jsonl:2", "exam.jsonl:3"], "the worst first"


@pytest.mark.parametrize("part", [1 << 25, 50])
def test_held_out_splits_against_sets_of_words(
    config: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: int
) -> None:
    monkeypatch.setattr(contamination, "_PART", part)
    rng = random.Random(0)
    corpus = tmp_path / "corpus"
    phrases = [" ".join(f"p{rng.randrange(10**6)}" for _ in range(12)) for _ in range(6)]
    for i in range(30):
        text = f"{rng.choice(phrases)} {(corpus / f'{i:02d}.txt').read_text()}"
        (corpus / f"{i:02d}.txt").write_text(text)
    check = ContaminationConfig(ngram=N, share=0.05, drop="none", sources=())
    store = prepare(replace(config, contamination=check), tmp_path / "store")
    texts = [(corpus / name).read_text() for name in store.document_names]
    training = [texts[i] for i in store.documents(Split.TRAIN)]
    expected = {}
    for split in (Split.SELECTION, Split.REPORT):
        shares = {
            store.document_names[i]: exact_share(texts[i], training)
            for i in store.documents(split).tolist()
        }
        expected |= {name: share for name, share in shares.items() if share}
        overlap = store.manifest.contamination[split.name.lower()]
        assert overlap["documents"] == len(shares)
        assert overlap["contaminated"] == sum(share >= 0.05 for share in shares.values())
    assert expected
    assert listed(store) == {name: pytest.approx(s, abs=1e-6) for name, s in expected.items()}


def test_dropping_training_documents(checked: DataConfig, tmp_path: Path) -> None:
    """Of a contaminated question's source alone; not what has a part of another one."""
    check = replace(checked.contamination, drop="training")
    store = prepare(replace(checked, contamination=check), tmp_path / "store")
    assert store.manifest.skipped == {"contaminated": 1}
    assert "07.txt" not in store.document_names
    assert "08.txt" in store.document_names
    content = json.loads((store.directory / contamination.LIST).read_text())
    assert content["dropped_training_documents"] == ["07.txt"]
    kept = prepare(checked, tmp_path / "kept").manifest
    assert kept.skipped == {}
    assert kept.corpus_fingerprint != store.manifest.corpus_fingerprint


def test_common_phrases_drop_nothing(checked: DataConfig, tmp_path: Path) -> None:
    """A phrase in many training documents says nothing; copies of one document count once."""
    corpus = tmp_path / "corpus"
    question = json.loads((tmp_path / "exam.jsonl").read_text().splitlines()[1])["text"]
    for i in range(15):
        (corpus / f"copy{i}.txt").write_text((corpus / "07.txt").read_text())
    check = replace(checked.contamination, drop="training")
    config = replace(checked, contamination=check, selection_share=0.0, report_share=0.0)
    assert prepare(config, tmp_path / "copies").manifest.skipped == {"contaminated": 16}
    for i in range(9, 25):
        (corpus / f"{i:02d}.txt").write_text((corpus / f"{i:02d}.txt").read_text() + " " + question)
    assert prepare(config, tmp_path / "common").manifest.skipped == {}


def test_dropping_held_out_documents(config: DataConfig, tmp_path: Path) -> None:
    config = replace(config, near_duplicate_threshold=0.0)
    for i in range(30):
        text = (tmp_path / "corpus" / f"{i:02d}.txt").read_text()
        (tmp_path / "corpus" / f"near{i:02d}.txt").write_text("copied " + text)
    check = ContaminationConfig(ngram=N, share=0.8, drop="held_out", sources=())
    before = prepare(config, tmp_path / "before")
    store = prepare(replace(config, contamination=check), tmp_path / "store")
    held_out = before.manifest.num_documents - before.documents(Split.TRAIN).size
    dropped = store.manifest.skipped["contaminated"]
    assert held_out / 2 < dropped <= held_out
    assert store.documents(Split.TRAIN).size == before.documents(Split.TRAIN).size
    assert store.manifest.num_documents == before.manifest.num_documents - dropped
    # What is left of the held-out documents stands in no training document.
    again = json.loads((tmp_path / "store" / contamination.LIST).read_text())
    bad = {item["name"] for item in again["documents"] if item["share"] >= 0.8}
    assert bad
    assert not bad & set(store.document_names)


def test_an_evaluation_set_is_not_called_as_a_split_is(checked: DataConfig, tmp_path: Path) -> None:
    (exam,) = checked.contamination.sources
    own = replace(checked.contamination, sources=(replace(exam, domain="report"),))
    with pytest.raises(UserError, match=r"a domain called 'report', as a split.* rename it"):
        prepare(replace(checked, contamination=own), tmp_path / "store")


def test_a_missing_evaluation_set_costs_no_scan(checked: DataConfig, tmp_path: Path) -> None:
    (tmp_path / "exam.jsonl").unlink()
    with pytest.raises(UserError, match=r"exam\.jsonl"):
        prepare(checked, tmp_path / "store")
    assert not list((tmp_path / "store").rglob("scan-*"))


@pytest.mark.parametrize("change", [{"field": "question"}, {"path": "nowhere"}, {"source": "csv"}])
def test_an_evaluation_set_that_cannot_be_read_is_named(
    checked: DataConfig, tmp_path: Path, change: dict[str, str]
) -> None:
    (exam,) = checked.contamination.sources
    check = replace(checked.contamination, sources=(replace(exam, **change),))
    (value,) = change.values()
    with pytest.raises(
        UserError,
        match=rf"data\.contamination\.sources, item 'exam': .*{value}.*set it in the item",
    ):
        prepare(replace(checked, contamination=check), tmp_path / "store")


def test_the_list_is_checked_like_any_file_of_the_store(
    checked: DataConfig, tmp_path: Path
) -> None:
    prepare(checked, tmp_path / "store")
    (tmp_path / "store" / contamination.LIST).write_text("{}")
    with pytest.raises(UserError, match=r"contamination\.json is damaged"):
        prepare(checked, tmp_path / "store")
