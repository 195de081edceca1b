"""Parquet and ArrayRecord files: the same documents as JSON lines; what is said of broken ones."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from array_record.python.array_record_module import ArrayRecordWriter
from pyarrow import parquet

from lengthwise.common.errors import UserError
from lengthwise.data.sources import files, make_source
from lengthwise.data.sources.source import Skipped
from tests.data.settings import read_all, source_config

Records = list[dict[str, Any]]


def write_parquet(path: Path, records: Records) -> None:
    table = pyarrow.Table.from_pylist(records)
    parquet.write_table(table, path, row_group_size=20, write_page_checksum=True)


def write_array_record(path: Path, records: list[bytes] | Records) -> None:
    writer = ArrayRecordWriter(str(path), "group_size:1")
    for record in records:
        writer.write(record if isinstance(record, bytes) else json.dumps(record).encode())
    writer.close()


WRITE: dict[str, Callable[[Path, Any], None]] = {
    "parquet": write_parquet,
    "array_record": write_array_record,
}
KINDS = pytest.mark.parametrize("kind", WRITE)


def read(kind: str, path: Path, ids: bool = False, **changes: object) -> tuple[dict, Skipped]:
    config = source_config(source=kind, path=str(path), **changes)
    return read_all(make_source([config], ids))


@KINDS
def test_file_glob_and_folder(tmp_path: Path, kind: str) -> None:
    (tmp_path / "sub").mkdir()
    WRITE[kind](tmp_path / f"a.{kind}", [{"text": "eins ä", "n": 1}, {"text": "zwei", "n": 2}])
    WRITE[kind](tmp_path / "sub" / f"b.{kind}", [{"text": "drei", "n": 3}])
    first = {f"a.{kind}:0": "eins ä", f"a.{kind}:1": "zwei"}
    second = {f"sub/b.{kind}:0": "drei"}
    assert read(kind, tmp_path) == (first | second, {})
    assert read(kind, tmp_path / f"a.{kind}") == (first, {})
    assert read(kind, tmp_path / "*" / f"b.{kind}") == (second, {})


def test_shards_of_array_records_are_found(tmp_path: Path) -> None:
    for i in range(2):
        write_array_record(tmp_path / f"x.array_record-0000{i}-of-00002", [b"text %d" % i])
    documents, _ = read("array_record", tmp_path, field="")
    assert list(documents.values()) == ["text 0", "text 1"]


@KINDS
def test_a_large_file_is_read_in_ranges(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MIN_UNIT_BYTES", 1_000)
    path = tmp_path / f"x.{kind}"
    texts = [np.random.default_rng(i).bytes(100).hex() for i in range(300)]
    records = [{"text": text, "site": f"s{i // 7}"} for i, text in enumerate(texts)]
    WRITE[kind](path, records)
    source = make_source([source_config(source=kind, path=str(path), group_field="site")], False)
    units = source.units()
    assert len(units) > 5
    assert sum(unit.num_bytes for unit in units) == path.stat().st_size
    documents = [d for unit in units for d in source.documents(unit, Skipped())]
    assert [(d.name, d.content, d.group) for d in documents] == [
        (f"x.{kind}:{i}", text, f"s{i // 7}") for i, text in enumerate(texts)
    ]
    records[222]["text"] = ""
    WRITE[kind](path, records)
    with pytest.raises(UserError, match=rf"x\.{kind}: (row|record) 222: a document with no tok"):
        read_all(source)


@KINDS
@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"body": "a"}, "no field 'text' .data.field.; there is body"),
        ({"text": 3}, "field 'text' is a int, not a string"),
        ({"text": None}, "field 'text' is a NoneType, not a string"),
        ({"text": ["a"]}, "field 'text' is a list, not a string"),
        ({"text": ""}, "a document with no tokens"),
    ],
)
def test_a_wrong_record_is_named(tmp_path: Path, kind: str, record: dict, message: str) -> None:
    WRITE[kind](tmp_path / f"x.{kind}", [record, record])
    # What columns there are, a Parquet file says once.
    where = "" if kind == "parquet" and "body" in record else " (row|record) 0:"
    with pytest.raises(UserError, match=rf"x\.{kind}:{where} {message}"):
        read(kind, tmp_path)


@KINDS
def test_token_ids(tmp_path: Path, kind: str) -> None:
    WRITE[kind](tmp_path / f"x.{kind}", [{"ids": [3, 0, 70_000]}, {"ids": [5]}])
    documents, _ = read(kind, tmp_path, field="ids", ids=True)
    assert [ids.tolist() for ids in documents.values()] == [[3, 0, 70_000], [5]]
    assert {ids.dtype for ids in documents.values()} == {np.dtype(np.int64)}
    for wrong in ([0.5], "text", None, [None, 1]):
        WRITE[kind](tmp_path / f"x.{kind}", [{"ids": wrong}])
        with pytest.raises(UserError, match=r"(row|record) 0: field 'ids' (is a|has)"):
            read(kind, tmp_path, field="ids", ids=True)


@pytest.mark.parametrize(
    ("type_", "message"),
    [
        (pyarrow.large_string(), None),
        (pyarrow.binary(), None),
        (pyarrow.dictionary(pyarrow.int8(), pyarrow.string()), None),
        (pyarrow.string_view(), None),
    ],
)
def test_columns_of_other_string_types(tmp_path: Path, type_: Any, message: str | None) -> None:
    values = pyarrow.array(["ä", "b"]).cast(pyarrow.binary() if type_ == "binary" else type_)
    parquet.write_table(pyarrow.table({"text": values}), tmp_path / "x.parquet")
    assert list(read("parquet", tmp_path)[0].values()) == ["ä", "b"]


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    values = pyarrow.array([b"fine", b"abc\xff"])
    parquet.write_table(pyarrow.table({"text": values}), tmp_path / "x.parquet")
    with pytest.raises(UserError, match=r"x\.parquet: row 1: field 'text' is not UTF-8 at byte 3"):
        read("parquet", tmp_path)
    write_array_record(tmp_path / "x.array_record", [b"fine", b"abc\xff"])
    with pytest.raises(UserError, match=r"x\.array_record: record 1: .*not UTF-8 at byte 3"):
        read("array_record", tmp_path, field="")


def test_records_that_are_no_json_say_what_else_they_may_be(tmp_path: Path) -> None:
    write_array_record(tmp_path / "x.array_record", [b"plain text"])
    with pytest.raises(UserError, match=r"record 0: broken JSON.*texts: data\.field=''"):
        read("array_record", tmp_path)


@KINDS
@pytest.mark.parametrize("damage", ["cut", "junk", "flipped"])
def test_a_damaged_file_is_named(tmp_path: Path, kind: str, damage: str) -> None:
    path = tmp_path / f"x.{kind}"
    texts = [np.random.default_rng(i).bytes(200).hex() for i in range(100)]
    WRITE[kind](path, [{"text": text} for text in texts])
    data = bytearray(path.read_bytes())
    if damage == "cut":
        data = data[:-300]
    elif damage == "junk":
        data = bytearray(b"junk" * 9_000)
    else:
        data[2_000:6_000] = bytes(4_000)
    path.write_bytes(data)
    for empty_documents in ("error", "skip"):  # it is not an empty file
        with pytest.raises(UserError, match=rf"cannot read .*x\.{kind}"):
            read(kind, path, empty_documents=empty_documents)


@KINDS
def test_a_file_without_documents(tmp_path: Path, kind: str) -> None:
    (tmp_path / f"a.{kind}").write_bytes(b"")
    parquet_schema = pyarrow.schema([("text", pyarrow.string())])
    if kind == "parquet":
        parquet.write_table(parquet_schema.empty_table(), tmp_path / "b.parquet")
    else:
        write_array_record(tmp_path / "b.array_record", [])
    for name in (f"a.{kind}", f"b.{kind}"):
        with pytest.raises(UserError, match=rf"{name}: a file with no documents; remove it or"):
            read(kind, tmp_path / name)
    assert read(kind, tmp_path, empty_documents="skip") == ({}, {"empty file": 2})


@KINDS
def test_a_file_that_vanishes_is_named(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"x.{kind}"
    WRITE[kind](path, [{"text": "a"}])
    source = make_source([source_config(source=kind, path=str(path))], ids=False)
    (unit,) = source.units()
    path.unlink()
    with pytest.raises(UserError, match=rf"cannot read .*x\.{kind}: No such file"):
        list(source.documents(unit, Skipped()))
