"""The token store: reads against plain files, damage named, settings of the machine respected."""

import concurrent.futures
import json
import os
import resource
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lengthwise.common.errors import UserError
from lengthwise.data.config import DataConfig
from lengthwise.data.prepare.prepare import prepare
from lengthwise.data.store import token_store
from lengthwise.data.store.document_tables import TABLES, NameTable, encode_names
from lengthwise.data.store.splits import Split
from lengthwise.data.store.token_store import TokenStore, token_dtype
from tests.data.settings import NO_CHECK, source_config


@pytest.fixture
def store_path(tmp_path: Path) -> Path:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    rng = np.random.default_rng(0)
    for i in range(40):
        text = "".join(map(chr, rng.integers(32, 300, rng.integers(1, 400))))
        (corpus / f"{i:02d}.txt").write_text(text, encoding="utf-8", newline="")
    config = DataConfig(
        **vars(source_config(path=str(corpus))),
        tokenizer="bytes",
        end_of_text_token="",
        shard_tokens=1_000,
        workers=1,
        selection_share=0.1,
        report_share=0.1,
        split_seed=0,
        near_duplicate_threshold=0.35,
        duplicates="keep",
        contamination=NO_CHECK,
        verify=False,
    )
    prepare(config, tmp_path / "store")
    return tmp_path / "store"


def expected_tokens(store_path: Path) -> list[list[int]]:
    files = sorted((store_path.parent / "corpus").iterdir())
    return [[*file.read_bytes(), 256] for file in files]


def test_documents_are_the_files(store_path: Path) -> None:
    store = TokenStore.open(store_path, verify=True)
    expected = expected_tokens(store_path)
    assert len(store.manifest.shards) > 5, "the test is of several shards"
    assert list(store.document_names) == [f"{i:02d}.txt" for i in range(40)]
    assert store.document_names[-1] == "39.txt"
    assert store.document_bytes.tolist() == [len(tokens) - 1 for tokens in expected]
    assert store.document_offsets.tolist() == [0, *np.cumsum([len(t) for t in expected])]
    for i, tokens in enumerate(expected):
        start, end = store.document_offsets[i : i + 2]
        assert store.read(int(start), int(end - start)).tolist() == tokens
    assert store.manifest.num_tokens == sum(map(len, expected))
    assert store.tokenizer().decode(store.read(0, len(expected[0]))) == (
        store_path.parent / "corpus" / "00.txt"
    ).read_bytes().decode("utf-8")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_range_of_a_document(store_path: Path, data: st.DataObject) -> None:
    store = TokenStore.open(store_path, verify=False)
    tokens = expected_tokens(store_path)
    i = data.draw(st.integers(0, len(tokens) - 1))
    begin = data.draw(st.integers(0, len(tokens[i]) - 1))
    end = data.draw(st.integers(begin, len(tokens[i])))
    read = store.read(int(store.document_offsets[i]) + begin, end - begin)
    assert read.tolist() == tokens[i][begin:end]
    assert read.dtype == np.uint16


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_many_ranges_at_once_are_the_single_reads(store_path: Path, data: st.DataObject) -> None:
    store = TokenStore.open(store_path, verify=False)
    tokens = np.diff(store.document_offsets)
    count = data.draw(st.integers(0, 8))
    length = data.draw(st.integers(1, 40))
    documents = np.flatnonzero(tokens >= length)
    chosen = np.array([data.draw(st.sampled_from(documents.tolist())) for _ in range(count)], int)
    starts = store.document_offsets[chosen] + tokens[chosen] - length
    rows = store.shards.read_rows(starts, length)
    assert rows.shape == (count, length)
    assert rows.dtype == np.uint16
    for row, start in zip(rows, starts.tolist(), strict=True):
        assert row.tolist() == store.read(start, length).tolist()
    sizes = np.array([data.draw(st.integers(0, length)) for _ in chosen], np.int32)
    pieces = (
        np.split(store.shards.read_pieces(starts, sizes), np.cumsum(sizes)[:-1]) if count else []
    )
    for piece, start, size in zip(pieces, starts.tolist(), sizes.tolist(), strict=True):
        assert piece.tolist() == store.read(start, size).tolist()


def test_splits_part_the_documents(store_path: Path) -> None:
    store = TokenStore.open(store_path, verify=False)
    ids = np.concatenate([store.documents(split) for split in Split])
    assert sorted(ids.tolist()) == list(range(40))
    for split in Split:
        assert (store.document_splits[store.documents(split)] == split).all()
        assert store.documents(split).size


def test_ranges_outside_a_shard_are_refused(store_path: Path) -> None:
    store = TokenStore.open(store_path, verify=False)
    first = store.manifest.shards[0].tokens
    assert store.read(first - 1, 1).tolist() == [256]
    for start, length in ((first - 1, 2), (-1, 1), (store.manifest.num_tokens, 1), (5, -1)):
        with pytest.raises(IndexError, match="not in one shard"):
            store.read(start, length)
        with pytest.raises(IndexError, match=rf"\[{start}, {start + length}\) are not in one sh"):
            store.shards.read_pieces(np.array([0, start]), np.array([1, length]))


def test_threads_read_the_same(store_path: Path) -> None:
    store = TokenStore.open(store_path, verify=False)
    tokens = expected_tokens(store_path)

    def check(i: int) -> bool:
        start, end = store.document_offsets[i % 40 : i % 40 + 2]
        return store.read(int(start), int(end - start)).tolist() == tokens[i % 40]

    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        assert all(threads.map(check, range(2_000)))


def test_a_shard_cut_while_open_is_named(store_path: Path) -> None:
    store = TokenStore.open(store_path, verify=False)
    name = store.manifest.shards[2].name
    os.truncate(store_path / name, 100)
    start = sum(shard.tokens for shard in store.manifest.shards[:2])
    assert store.read(start, 50).size == 50
    with pytest.raises(UserError, match=rf"{name} gave 98 of 100 bytes at 2"):
        store.read(start + 1, 50)
    with pytest.raises(UserError, match=rf"{name} gave 98 of 100 bytes at 2"):
        store.shards.read_rows(np.array([start, start + 1]), 50)


def test_a_shard_that_cannot_be_read_any_more_is_named(store_path: Path) -> None:
    store = TokenStore.open(store_path, verify=False)
    start = sum(shard.tokens for shard in store.manifest.shards[:2])
    # A directory opens like a file, and fails when it is read, as a mount that went away does.
    folder = os.open(store_path, os.O_RDONLY)
    os.dup2(folder, store.shards._files[2])
    os.close(folder)
    name = store.manifest.shards[2].name
    for read in (
        lambda: store.read(start, 5),
        lambda: store.shards.read_rows(np.array([0, start]), 5),
        lambda: store.in_memory,
    ):
        with pytest.raises(UserError, match=rf"cannot read .*{name}: Is a directory; check the di"):
            read()


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda store: os.truncate(store / "shards/00000-001.bin", 10), r"00000-001\.bin.*10 byt"),
        (lambda store: (store / "shards/00000-001.bin").unlink(), r"00000-001\.bin.*No such"),
        (lambda store: os.truncate(store / "documents/splits.bin", 9), r"splits\.bin.*9 bytes"),
        (lambda store: (store / "documents/names.bin").unlink(), r"names\.bin.*No such"),
        (lambda store: os.truncate(store / "manifest.json", 30), r"manifest\.json is damaged"),
        (lambda store: (store / "manifest.json").unlink(), "no finished token store.*--mode=prep"),
        (lambda store: (store / "manifest.json").write_text("[]"), r"manifest\.json is damaged"),
    ],
)
def test_damage_is_found_at_opening(
    store_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    damage(store_path)
    with pytest.raises(UserError, match=message):
        TokenStore.open(store_path, verify=False)


@pytest.mark.parametrize(
    ("name", "value"),
    [("dtype", "<q9"), ("dtype", None), ("num_tokens", "many"), ("end_of_text", 7), ("more", 1)],
)
def test_a_changed_manifest_is_one_line(store_path: Path, name: str, value: object) -> None:
    path = store_path / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))
    with pytest.raises(UserError, match=r"manifest\.json is damaged \(wrong checksum\); copy it"):
        TokenStore.open(store_path, verify=False)


def test_a_flipped_bit_is_found_when_verifying(store_path: Path) -> None:
    flip(store_path / "shards/00000-003.bin")
    TokenStore.open(store_path, verify=False)
    with pytest.raises(UserError, match=r"shards/00000-003\.bin is damaged \(wrong checksum\)"):
        TokenStore.open(store_path, verify=True)


@pytest.mark.parametrize("table", sorted(TABLES))
def test_a_flipped_bit_of_a_table_is_found_at_first_use(store_path: Path, table: str) -> None:
    flip(store_path / f"documents/{table}.bin")
    store = TokenStore.open(store_path, verify=False)
    message = rf"documents/{table}\.bin is damaged \(wrong checksum\)"
    attribute = "names" if table == "name_offsets" else table
    with pytest.raises(UserError, match=message):
        getattr(store, f"document_{attribute}")
    with pytest.raises(UserError, match=message):
        TokenStore.open(store_path, verify=True)


def test_opening_reads_no_table(store_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*arguments: object) -> None:
        raise AssertionError(f"read {arguments}")

    monkeypatch.setattr(token_store, "read_table", forbidden)
    monkeypatch.setattr(token_store, "read_file", forbidden)
    store = TokenStore.open(store_path, verify=False)
    assert store.manifest.num_documents == 40
    assert store.read(0, 5).size == 5


def test_names_that_are_not_utf8() -> None:
    names = ["plain", "", "caf\u00e9", "bad\udcff", "\U0001f600"]
    text, sizes = encode_names(names)
    table = NameTable(np.concatenate([[0], np.cumsum(sizes)]), text)
    assert list(table) == names == [table[i] for i in range(-5, 0)]
    assert table[1:4] == names[1:4]
    with pytest.raises(IndexError):
        table[5]


def test_a_later_format_is_refused(store_path: Path) -> None:
    manifest = json.loads((store_path / "manifest.json").read_text())
    manifest["format_version"] = 99
    (store_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="has format 99"):
        TokenStore.open(store_path, verify=False)


def test_files_are_closed_with_the_store(store_path: Path) -> None:
    store = TokenStore.open(store_path, verify=False)
    files = list(store.shards._files)
    del store
    for file in files:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(file)


def test_more_shards_than_open_files(store_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda which: (100, 5_000))
    monkeypatch.setattr(resource, "setrlimit", lambda which, limit: limits.append(limit))
    store = TokenStore.open(store_path, verify=False)
    (limit,) = limits
    assert len(store.manifest.shards) < limit[0] <= 5_000
    assert limit[1] == 5_000
    monkeypatch.setattr(resource, "getrlimit", lambda which: (100, 100))
    with pytest.raises(UserError, match=r"may open only 100 files.*shard_tokens"):
        TokenStore.open(store_path, verify=False)


def test_token_types() -> None:
    sizes = {256: "|u1", 257: "<u2", 65_536: "<u2", 65_537: "<u4"}
    assert {size: token_dtype(size).str for size in sizes} == sizes
