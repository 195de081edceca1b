"""The token before each document: in the store, an input of every layout, in the fingerprint."""

import itertools
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lengthwise.common.errors import UserError
from lengthwise.data.batches.assemble import assemble
from lengthwise.data.config import DataConfig, check
from lengthwise.data.layouts import SplitDocuments
from lengthwise.data.layouts.build import build_layout
from lengthwise.data.layouts.config import LayoutConfig
from lengthwise.data.prepare.prepare import prepare
from lengthwise.data.store.splits import Split
from tests.data.layouts import layout_cases
from tests.data.settings import change_source
from tests.data.store import tokenizer_files as files


def documents(store) -> list[list[int]]:
    offsets = store.document_offsets
    return [store.read(a, b - a).tolist() for a, b in itertools.pairwise(offsets)]


@pytest.fixture
def sentencepiece(config: DataConfig, tmp_path: Path) -> DataConfig:
    files.save(files.sentencepiece_bpe(), tmp_path)
    path = str(tmp_path / "tokenizer.json")
    return replace(config, tokenizer=path, end_of_text_token=files.END)


def test_each_document_begins_with_it(sentencepiece: DataConfig, tmp_path: Path) -> None:
    plain = prepare(sentencepiece, tmp_path / "plain")
    assert plain.manifest.begin_of_text is None
    fingerprints = {plain.manifest.fingerprint}
    for name in ("<s>", "end_of_text"):
        store = prepare(replace(sentencepiece, begin_with=name), tmp_path / name.strip("<>"))
        begin = {"<s>": 1, "end_of_text": 2}[name]
        assert store.manifest.begin_of_text == begin
        assert documents(store) == [[begin, *each] for each in documents(plain)]
        assert store.tokenizer().decode(documents(store)[0]) == plain.tokenizer().decode(
            documents(plain)[0]
        )
        assert store.manifest.corpus_fingerprint == plain.manifest.corpus_fingerprint
        fingerprints.add(store.manifest.fingerprint)
    assert len(fingerprints) == 3
    with pytest.raises(UserError, match=r"data\.begin_with='none', not 'end_of_text'"):
        prepare(replace(sentencepiece, begin_with="end_of_text"), tmp_path / "plain")


@pytest.mark.parametrize(
    ("layout_config", "dropped"),
    [
        (layout_cases.DECOMPOSE, 0),
        (layout_cases.PACK, 0),
        (layout_cases.PAD, 0),
        (layout_cases.changed(name="concat_and_chunk", largest_bucket=16), 1),
        (layout_cases.changed(name="window", largest_bucket=16, window_start=4), 1),
    ],
)
def test_the_first_token_of_a_text_is_trained_behind_it(
    config: DataConfig, tmp_path: Path, layout_config: LayoutConfig, dropped: int
) -> None:
    store = prepare(replace(config, begin_with="end_of_text"), tmp_path / "store")
    layout = build_layout(layout_config, SplitDocuments(store, Split.TRAIN), seed=0)
    behind: Counter[int] = Counter()
    for length, bucket in layout.buckets.items():
        rows = np.arange(bucket.rows)
        arrays = assemble(store.in_memory, layout, length, rows, slice(0, length))
        begins = (arrays["inputs"] == store.manifest.begin_of_text) & (arrays["segment_ids"] > 0)
        behind.update(arrays["targets"][begins].tolist())
    texts = documents(store)
    first = Counter(texts[i][1] for i in store.documents(Split.TRAIN).tolist())
    assert behind <= first
    assert (first - behind).total() <= dropped  # of an incomplete last row


def test_documents_that_are_ids_may_begin_with_it_already(
    config: DataConfig, tmp_path: Path
) -> None:
    path = tmp_path / "ids.jsonl"
    path.write_text("\n".join(f'{{"text": [{i % 2}, 3, {4 + i}]}}' for i in range(20)))
    config = change_source(config, source="jsonl", path=str(path))
    config = replace(config, tokenizer="ids:30:29", begin_with="1", near_duplicate_threshold=0.0)
    store = prepare(config, tmp_path / "store")
    assert documents(store)[:2] == [[1, 0, 3, 4, 29], [1, 3, 5, 29]]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"begin_with": "<bos>"}, "has no special token of that name; choose among none, end_of"),
        ({"begin_with": "hello"}, "choose among none, end_of_text, </s>, <s>, <unk>"),
        ({"begin_with": "<s>", "tokenizer": "bytes"}, "one special token, its end of text"),
        ({"begin_with": "<s>", "tokenizer": "train:bpe:300"}, "one special token"),
        ({"begin_with": "30", "tokenizer": "ids:30:29"}, "no special token of that name"),
    ],
)
def test_a_token_that_there_is_none_of_is_refused_with_advice_that_works(
    sentencepiece: DataConfig, tmp_path: Path, changes: dict, words: str
) -> None:
    config = replace(sentencepiece, **changes)
    if config.ids:
        path = tmp_path / "ids.jsonl"
        path.write_text("\n".join(f'{{"text": [3, {i}]}}' for i in range(20)))
        config = change_source(config, source="jsonl", path=str(path))
    with pytest.raises(UserError) as error:
        prepare(config, tmp_path / "store")
    said = str(error.value)
    assert said.startswith(f"data.begin_with={config.begin_with!r}")
    assert words in said
    followed = {name.removeprefix("data."): value for name, value in error.value.advice.items()}
    prepare(replace(config, **followed), tmp_path / "store")


def test_tasks_have_a_form_of_their_own() -> None:
    config = DataConfig(source="task", begin_with="end_of_text")
    with pytest.raises(UserError, match="'task' has samples of a form of their own") as error:
        check(config)
    assert error.value.advice == {"data.begin_with": "none"}
