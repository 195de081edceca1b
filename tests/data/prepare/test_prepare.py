"""Preparing a store: what is in it, the same bytes however it was made, clear errors."""

import fcntl
import json
import os
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tokenizers

from lengthwise.common.errors import UserError
from lengthwise.data.config import DataConfig
from lengthwise.data.layouts import SplitDocuments
from lengthwise.data.prepare import store_builder, token_shards
from lengthwise.data.prepare.prepare import prepare
from lengthwise.data.store import file_tokenizer, token_store
from lengthwise.data.store import tokenizers as tokenizers_module
from lengthwise.data.store.splits import Split
from lengthwise.data.store.token_store import summary
from tests.data.settings import NO_CHECK, change_source, of_sources, source_config

END = "<|endoftext|>"


def contents(directory: Path) -> dict[str, bytes]:
    files = [path for path in directory.rglob("*") if path.is_file()]
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in files}


def test_every_document_ends_once(config: DataConfig, tmp_path: Path) -> None:
    (tmp_path / "corpus" / "99.txt").write_text(f"spelled {END} out")
    for i, tokenizer in enumerate(("bytes", "train:bpe:400")):
        store = prepare(replace(config, tokenizer=tokenizer), tmp_path / str(i))
        own = store.tokenizer()
        for document in range(store.manifest.num_documents):
            start, end = store.document_offsets[document : document + 2].tolist()
            ids = store.read(start, end - start)
            assert np.flatnonzero(ids == store.manifest.end_of_text).tolist() == [ids.size - 1]
            path = tmp_path / "corpus" / store.document_names[document]
            assert own.decode(ids) == path.read_text()


def test_number_of_workers_leaves_no_trace(config: DataConfig, tmp_path: Path) -> None:
    prepare(config, tmp_path / "one")
    prepare(replace(config, workers=2), tmp_path / "two")
    assert len(list((tmp_path / "one" / "shards").iterdir())) > 5
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_an_index_knows_domains_and_groups(config: DataConfig, tmp_path: Path) -> None:
    """They decide rows, but are no part of the corpus: neither texts nor their order."""
    path = tmp_path / "x.jsonl"
    lines = [json.dumps({"text": f"text {i}", "site": f"s{i % 3}"}) for i in range(9)]
    path.write_text("\n".join(lines))
    config = change_source(config, source="jsonl", path=str(path))
    alone = prepare(config, tmp_path / "alone")
    grouped = prepare(change_source(config, group_field="site"), tmp_path / "grouped")
    assert alone.manifest.fingerprint == grouped.manifest.fingerprint
    first, second = (SplitDocuments(store, Split.TRAIN) for store in (alone, grouped))
    assert first.fingerprint != second.fingerprint


def test_what_the_fingerprints_know(config: DataConfig, tmp_path: Path) -> None:
    manifests = []

    def make(config: DataConfig = config, **changes: object) -> tuple[str, str]:
        changed = replace(config, **changes)  # type: ignore[arg-type]
        store = prepare(changed, tmp_path / f"store{len(manifests)}")
        manifests.append(store.manifest)
        return store.manifest.corpus_fingerprint, store.manifest.fingerprint

    corpus, whole = make()
    assert make(shard_tokens=100_000) == (corpus, whole)
    assert make(tokenizer="train:bpe:300")[0] == corpus
    assert make(tokenizer="train:bpe:300")[1] != whole
    for change in (
        {"split_seed": 1},
        {"selection_share": 0.2},
        {"report_share": 0.2},
        {"near_duplicate_threshold": 0.5},
    ):
        assert make(**change)[0] != corpus
    os.rename(tmp_path / "corpus" / "00.txt", tmp_path / "corpus" / "98.txt")
    assert make()[0] != corpus, "the order of texts counts"
    os.rename(tmp_path / "corpus" / "98.txt", tmp_path / "corpus" / "00.txt")
    # The same texts from another kind of source, in other units.
    lines = [
        json.dumps({"body": path.read_text()}) for path in sorted((tmp_path / "corpus").iterdir())
    ]
    (tmp_path / "all.jsonl").write_text("\n".join(lines))
    path = str(tmp_path / "all.jsonl")
    lines_config = change_source(config, source="jsonl", path=path, field="body")
    assert make(lines_config) == (corpus, whole)


def test_the_corpus_fingerprint_knows_the_domains(config: DataConfig, tmp_path: Path) -> None:
    """Scores by domain of other domains are of another corpus, whose texts may be the same."""
    (first, second) = (tmp_path / "a", tmp_path / "b")
    paths = sorted((tmp_path / "corpus").iterdir())
    found = []
    for border, names in ((10, "ab"), (20, "ab"), (20, "ac")):
        for directory in (first, second):
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir()
        for i, path in enumerate(paths):
            shutil.copy(path, first if i < border else second)
        sources = tuple(
            replace(config.sources[0], path=str(directory), domain=name)
            for directory, name in zip((first, second), names, strict=True)
        )
        store = prepare(of_sources(config, *sources), tmp_path / f"store{len(found)}")
        found.append(store.manifest.corpus_fingerprint)
    assert len(set(found)) == 3


def test_near_duplicates_stay_together(config: DataConfig, tmp_path: Path) -> None:
    for i in range(30):
        text = (tmp_path / "corpus" / f"{i:02d}.txt").read_text()
        (tmp_path / "corpus" / f"copy{i:02d}.txt").write_text("copied " + text)
    store = prepare(config, tmp_path / "store")
    side = dict(zip(store.document_names, store.document_splits.tolist(), strict=True))
    cluster = dict(zip(store.document_names, store.document_clusters.tolist(), strict=True))
    assert set(side.values()) == set(Split)
    for i in range(30):
        assert cluster[f"{i:02d}.txt"] == cluster[f"copy{i:02d}.txt"]
        assert side[f"{i:02d}.txt"] == side[f"copy{i:02d}.txt"]


def with_copies(folder: Path) -> None:
    """Every document again, and a third time with a word before it."""
    for i in range(30):
        text = (folder / f"{i:02d}.txt").read_text()
        (folder / f"{i:02d}-copy.txt").write_text(text)
        (folder / f"{i:02d}-near.txt").write_text("copied " + text)


@pytest.mark.parametrize(
    ("duplicates", "kept", "skipped"),
    [
        ("keep", {"", "-copy", "-near"}, {}),
        ("drop_exact", {"-copy", "-near"}, {"exact copies": 30}),
        ("drop_near", {"-copy"}, {"exact copies": 30, "near-duplicates": 30}),
    ],
)
def test_duplicates(
    config: DataConfig, tmp_path: Path, duplicates: str, kept: set[str], skipped: dict[str, int]
) -> None:
    """The first of a set of copies is kept: NN-copy comes before NN-near and NN."""
    with_copies(tmp_path / "corpus")
    store = prepare(replace(config, duplicates=duplicates), tmp_path / "store")
    names = {f"{i:02d}{suffix}.txt" for i in range(30) for suffix in kept}
    assert set(store.document_names) == names
    assert store.manifest.skipped == skipped
    assert len(set(store.document_clusters.tolist())) == 30
    assert set(store.document_splits.tolist()) == set(Split)
    for i in range(store.manifest.num_documents):
        start, end = store.document_offsets[i : i + 2].tolist()
        text = (tmp_path / "corpus" / store.document_names[i]).read_text()
        assert store.tokenizer().decode(store.read(start, end - start)) == text


def test_without_looking_for_near_duplicates(config: DataConfig, tmp_path: Path) -> None:
    with_copies(tmp_path / "corpus")
    store = prepare(replace(config, near_duplicate_threshold=0.0), tmp_path / "store")
    cluster = dict(zip(store.document_names, store.document_clusters.tolist(), strict=True))
    assert cluster["07.txt"] == cluster["07-copy.txt"] != cluster["07-near.txt"]


def test_one_reading_and_two_make_the_same(
    config: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(config, tmp_path / "one")
    monkeypatch.setattr(store_builder.StoreBuilder, "_reads_once", lambda self: False)
    prepare(config, tmp_path / "two")
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_domains_and_groups(config: DataConfig, tmp_path: Path) -> None:
    for part in ("a", "b"):
        (tmp_path / "more" / part).mkdir(parents=True)
        for i in range(2):
            (tmp_path / "more" / part / f"{i}.txt").write_text(f"another text, {part} {i}")
    sources = [
        source_config(domain="prose", path=str(tmp_path / "corpus")),
        source_config(domain="more", path=str(tmp_path / "more"), pattern="**/*.txt"),
    ]
    store = prepare(of_sources(config, *sources), tmp_path / "store")
    assert store.manifest.domains == ("prose", "more")
    assert store.document_domains.tolist() == [0] * 30 + [1] * 4
    prose, a, b = store.document_groups[[0, 30, 32]].tolist()
    assert store.document_groups.tolist() == [prose] * 30 + [a] * 2 + [b] * 2
    assert len({prose, a, b}) == 3


def ids_config(config: DataConfig, tmp_path: Path, documents: list[list[int]]) -> DataConfig:
    path = tmp_path / "ids.jsonl"
    path.write_text("".join(json.dumps({"ids": ids}) + "\n" for ids in documents))
    source = source_config(source="jsonl", path=str(path), field="ids")
    return replace(of_sources(config, source), tokenizer="ids:50257:50256")


def test_documents_that_are_token_ids(config: DataConfig, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    documents = [rng.integers(0, 50256, n).tolist() for n in rng.integers(1, 200, 30)]
    # An end of text at the end is the document's own.
    given = [ids + [50256] * (i % 2) for i, ids in enumerate(documents)]
    store = prepare(ids_config(config, tmp_path, given), tmp_path / "store")
    assert store.manifest.dtype == "<u2"
    assert store.document_bytes.tolist() == [4 * len(ids) for ids in given]
    for i, ids in enumerate(documents):
        start, end = store.document_offsets[i : i + 2].tolist()
        assert store.read(start, end - start).tolist() == [*ids, 50256]
    assert store.tokenizer().describe() == "ids:50257:50256"
    assert store.tokenizer().decode([5, 7, 50256]) == "5 7"


@pytest.mark.parametrize("bad", [-1, 50257, 2**40])
def test_ids_outside_the_vocabulary_are_named(config: DataConfig, tmp_path: Path, bad: int) -> None:
    config = ids_config(config, tmp_path, [[1, 2], [3, 4, 5, bad, 6, bad], [7]])
    message = rf"ids\.jsonl:2: id {bad} at position 3 is outside the vocabulary of 50257"
    with pytest.raises(UserError, match=message):
        prepare(config, tmp_path / "store")


def test_an_end_of_text_inside_ids_is_named(config: DataConfig, tmp_path: Path) -> None:
    config = ids_config(config, tmp_path, [[1, 2], [3, 50256, 4], [7]])
    with pytest.raises(
        UserError, match=r"ids\.jsonl:2: id 50256, the end of text .* position 1, "
    ) as at:
        prepare(config, tmp_path / "store")
    assert "cut the document there or correct data.tokenizer" in str(at.value)
    assert "unknown words" not in str(at.value)


def test_documents_that_are_too_long(
    config: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_shards, "MAX_TOKENS", 3_000)
    (tmp_path / "corpus" / "11.txt").write_text("x" * 2_999)
    prepare(config, tmp_path / "fits")
    (tmp_path / "corpus" / "11.txt").write_text("x" * 3_000)
    with pytest.raises(UserError, match=r"11\.txt: a document of 3,001 tokens, but 3,000 is the m"):
        prepare(config, tmp_path / "store")


def test_tokenizer_is_trained_on_the_train_split_alone(
    config: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    train_bpe = file_tokenizer.train_bpe

    def spy(texts: object, vocab_size: int, end: str) -> bytes:
        seen.extend(texts)  # type: ignore[call-overload]
        return train_bpe(seen, vocab_size, end)

    monkeypatch.setattr(file_tokenizer, "train_bpe", spy)
    store = prepare(replace(config, tokenizer="train:bpe:300"), tmp_path / "store")
    names = [store.document_names[i] for i in store.documents(Split.TRAIN)]
    assert len(names) < store.manifest.num_documents
    assert seen == [(tmp_path / "corpus" / name).read_text() for name in names]
    given = tmp_path / "store" / "tokenizer.json"
    same = prepare(replace(config, tokenizer=str(given)), tmp_path / "given")
    assert same.manifest.fingerprint == store.manifest.fingerprint


def test_documents_without_tokens(config: DataConfig, tmp_path: Path) -> None:
    """A tokenizer may leave nothing of a text that is not empty."""
    prepare(replace(config, tokenizer="train:bpe:300"), tmp_path / "trained")
    tokenizer = json.loads((tmp_path / "trained" / "tokenizer.json").read_text())
    tokenizer["normalizer"] = {"type": "Strip", "strip_left": True, "strip_right": True}
    (tmp_path / "strip.json").write_text(json.dumps(tokenizer))
    (tmp_path / "corpus" / "05.txt").write_text(" \n ")
    config = replace(config, tokenizer=str(tmp_path / "strip.json"))
    with pytest.raises(UserError, match=r"05\.txt: a document with no tokens"):
        prepare(config, tmp_path / "store")
    store = prepare(change_source(config, empty_documents="skip"), tmp_path / "store")
    assert store.manifest.skipped == {"no tokens": 1}
    assert "05.txt" not in store.document_names
    assert store.manifest.num_documents == len(store.document_names) == 29
    assert store.document_offsets[-1] == store.manifest.num_tokens
    start, end = store.document_offsets[5:7].tolist()
    text = (tmp_path / "corpus" / "06.txt").read_text()
    assert store.tokenizer().decode(store.read(start, end - start)) == text


def test_a_tokenizer_that_ends_texts_in_the_middle(config: DataConfig, tmp_path: Path) -> None:
    model = tokenizers.models.WordLevel({END: 0, "w1": 1, "w2": 2}, unk_token=END)
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "words.json"))
    name = str(tmp_path / "words.json")
    config = replace(config, tokenizer=name, unknown_text="allow")
    with pytest.raises(UserError, match=r"00\.txt: end-of-text tokens inside"):
        prepare(config, tmp_path / "store")


def test_a_finished_store_needs_neither_source_nor_write_access(
    config: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = prepare(config, tmp_path / "store").manifest
    for path in (tmp_path / "corpus").iterdir():
        path.unlink()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "store").rglob("*")}
    monkeypatch.setattr(fcntl, "flock", None)
    assert prepare(config, tmp_path / "store").manifest == made
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "store").rglob("*")} == before


def test_a_summary_counts_domains_splits_and_near_duplicates(
    config: DataConfig, tmp_path: Path
) -> None:
    with_copies(tmp_path / "corpus")
    (source,) = config.sources
    second = replace(source, domain="second", pattern="1*.txt")
    store = prepare(of_sources(config, source, second), tmp_path / "store")
    lines = summary(store)
    manifest = store.manifest
    offsets = store.document_offsets
    number = int(np.flatnonzero(store.document_domains)[0])
    wanted = manifest.num_documents - number
    assert lines[1].startswith(f"domain second: {wanted:,} documents, ")
    assert lines[1].endswith(f" {manifest.num_tokens - offsets[number]:,} tokens")
    splits = [line for line in lines if line.startswith("split ")]
    assert [line.split(":")[0] for line in splits] == [
        "split train", "split selection", "split report"
    ]  # fmt: skip
    assert splits[0].split()[2] == str(store.documents(Split.TRAIN).size)
    clusters = Counter(store.document_clusters.tolist())
    several = [count for count in clusters.values() if count > 1]
    assert several
    assert lines[-2] == (
        f"near-duplicates: {len(several)} clusters of {sum(several)} documents together"
    )
    assert lines[-1] == f"store: {tmp_path / 'store'}"


def test_a_store_of_other_settings_is_refused(config: DataConfig, tmp_path: Path) -> None:
    prepare(config, tmp_path / "store")
    prepare(replace(config, workers=2, verify=False), tmp_path / "store")
    changes = {"split_seed": 3, "shard_tokens": 7, "tokenizer": "train:bpe:300"}
    for field, value in (changes | {"duplicates": "drop_exact"}).items():
        other = replace(config, **{field: value})
        with pytest.raises(UserError, match=rf"data\.{field}=.*not {value!r}; choose another"):
            prepare(other, tmp_path / "store")


def test_a_store_of_a_mixture_and_one_of_a_single_source_are_told_apart(
    config: DataConfig, tmp_path: Path
) -> None:
    (source,) = config.sources
    pair = tuple(replace(source, domain=name) for name in ("prose", "verse"))
    mixture = of_sources(config, *pair)
    prepare(mixture, tmp_path / "mixture")
    with pytest.raises(
        UserError, match=r"from data\.mixture \(domains: prose, verse\).* has one s"
    ):
        prepare(config, tmp_path / "mixture")
    prepare(config, tmp_path / "one")
    with pytest.raises(
        UserError, match=r"from one source .*domains: all\).* has data\.mixture; ch"
    ):
        prepare(mixture, tmp_path / "one")


def test_another_tokenizer_under_the_same_name_is_refused(
    config: DataConfig, tmp_path: Path
) -> None:
    for size in (300, 310):
        trained = replace(config, tokenizer=f"train:bpe:{size}")
        prepare(trained, tmp_path / str(size))
    given = tmp_path / "tokenizer.json"
    given.write_bytes((tmp_path / "300" / "tokenizer.json").read_bytes())
    config = replace(config, tokenizer=str(given))
    store = prepare(config, tmp_path / "store")
    given.write_bytes((tmp_path / "310" / "tokenizer.json").read_bytes())
    with pytest.raises(UserError, match=r"tokenizer\.json is now"):
        prepare(config, tmp_path / "store")
    given.unlink()
    assert prepare(config, tmp_path / "store").tokenizer().vocab_size == store.manifest.vocab_size


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shard_tokens": 0}, "shard_tokens is 0, but must lie in"),
        ({"workers": -1}, "workers is -1, but must lie in"),
        (
            {"near_duplicate_threshold": -0.5},
            r"near_duplicate_threshold is -0.5, but must lie in \[0, 1\]",
        ),
        (
            {"near_duplicate_threshold": 1.5},
            r"near_duplicate_threshold is 1.5, but must lie in \[0, 1\]",
        ),
        (
            {"duplicates": "drop"},
            "duplicates='drop' is unknown; choose one of keep, drop_exact, drop_near",
        ),
        (
            {"duplicates": "drop_near", "near_duplicate_threshold": 0.0},
            "drop_near' needs data.near_duplicate_threshold above 0",
        ),
        (
            {"contamination": replace(NO_CHECK, drop="all")},
            "drop='all' is unknown; choose one of none, training, held_",
        ),
        (
            {"contamination": replace(NO_CHECK, share=1.5)},
            r"share is 1.5, but must lie in \(0, 1\]",
        ),
        ({"contamination": replace(NO_CHECK, drop="training")}, "ngram above 0, for example 13"),
        ({"tokenizer": "ids:300"}, "wants a vocabulary size and the id of the end of text"),
        ({"tokenizer": "ids:300:300"}, "wants a vocabulary size and the id of the end of text"),
        ({"tokenizer": "ids:300:7"}, "source='text' has texts, but data.tokenizer='ids:...'"),
        ({"selection_share": 0.6, "report_share": 0.5}, "leave nothing to train on"),
        ({"tokenizer": "train:bpe:3"}, "at least 257"),
        ({"tokenizer": "absent.json"}, "cannot read data.tokenizer='absent.json'"),
    ],
)
def test_impossible_settings(
    config: DataConfig, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        prepare(replace(config, **changes), tmp_path / "store")  # type: ignore[arg-type]


def test_a_corpus_without_documents(config: DataConfig, tmp_path: Path) -> None:
    for path in (tmp_path / "corpus").iterdir():
        path.write_text("")
    with pytest.raises(UserError, match="the corpus is empty"):
        prepare(change_source(config, empty_documents="skip"), tmp_path / "store")


def test_errors_come_back_from_workers(config: DataConfig, tmp_path: Path) -> None:
    (tmp_path / "corpus" / "17.txt").write_bytes(b"ok \xfe")
    with pytest.raises(UserError, match=r"17\.txt: not UTF-8 at byte 3"):
        prepare(replace(config, workers=2), tmp_path / "store")


def test_a_tokenizer_of_the_hub_is_looked_up_once(
    config: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in worker processes, nor by a later start."""
    prepare(replace(config, tokenizer="train:bpe:300"), tmp_path / "trained")
    path = tmp_path / "trained" / token_store.TOKENIZER
    expected = prepare(replace(config, tokenizer=str(path)), tmp_path / "by_path")
    names = []

    def hub_file(name: str, file: str, field: str) -> Path:
        names.append((name, file, field))
        return path

    monkeypatch.setattr(tokenizers_module, "hub_file", hub_file)
    named = replace(config, tokenizer="hf:owner/name")
    for _ in range(2):
        store = prepare(named, tmp_path / "by_name")
    assert names == [("hf:owner/name", "tokenizer.json", "data.tokenizer")]
    assert store.manifest.corpus_fingerprint == expected.manifest.corpus_fingerprint
    assert store.manifest.config["tokenizer"] == "hf:owner/name"
    path.unlink()
    assert store.tokenizer().decode(store.read(0, 5)) == expected.tokenizer().decode(
        expected.read(0, 5)
    )
