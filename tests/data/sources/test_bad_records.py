"""data.bad_records: what can't be a document is named, or counted and kept by place."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pytest
from array_record.python.array_record_module import ArrayRecordWriter
from pyarrow import parquet

from lengthwise.common.errors import UserError
from lengthwise.data.config import DataConfig
from lengthwise.data.prepare.prepare import prepare
from lengthwise.data.sources import files, make_source
from lengthwise.data.sources.source import PLACES
from tests.data.settings import change_source, read_all, source_config

GOOD = [json.dumps({"text": text}).encode() for text in ("eins", "zwei", "drei")]
BAD = (
    b'{"text": null}',
    b"{",
    b'{"text": "\xff"}',
    b'{"body": "x"}',
    b"[]",
    b'{"text": "\\ud800"}',
)
LINES = [GOOD[0], *BAD, GOOD[1], b'{"text": 3}', GOOD[2]]


def write_jsonl(folder: Path) -> None:
    (folder / "x.jsonl").write_bytes(b"\xef\xbb\xbf" + b"\n".join(LINES))


def write_array_record(folder: Path) -> None:
    writer = ArrayRecordWriter(str(folder / "x.array_record"), "group_size:1")
    for line in LINES:
        writer.write(line)
    writer.close()


def write_parquet(folder: Path) -> None:
    texts = [b"eins", None, b"\xff", b"zwei", b"drei"]
    parquet.write_table(pyarrow.table({"text": pyarrow.array(texts)}), folder / "x.parquet")


def write_text(folder: Path) -> None:
    for name, content in zip("abcd", (b"eins", b"\xff", b"zwei", b"drei"), strict=True):
        (folder / f"{name}.txt").write_bytes(content)


@pytest.mark.parametrize(
    ("kind", "write", "bad", "first"),
    [
        ("jsonl", write_jsonl, 7, "x.jsonl:2: field 'text' is a NoneType, not a string"),
        ("array_record", write_array_record, 7, "x.array_record: record 1: field 'text' is a"),
        ("parquet", write_parquet, 2, "x.parquet: row 1: field 'text' is a NoneType"),
        ("text", write_text, 1, "b.txt: not UTF-8 at byte 0"),
    ],
)
def test_bad_records_are_named_or_skipped(
    tmp_path: Path, kind: str, write: Callable[[Path], None], bad: int, first: str
) -> None:
    write(tmp_path)
    config = source_config(source=kind, path=str(tmp_path))
    with pytest.raises(UserError, match=r"; correct it or set data\.bad_records='skip'$") as error:
        read_all(make_source([config], ids=False))
    assert str(error.value).startswith(f"{tmp_path}/{first}")
    config = dataclasses.replace(config, **{"bad_records": "skip"})
    assert error.value.advice == {"data.bad_records": "skip"}
    documents, skipped = read_all(make_source([config], ids=False))
    assert list(documents.values()) == ["eins", "zwei", "drei"]
    assert skipped == {"bad records": bad}
    assert len(skipped.bad_records) == min(bad, PLACES)
    assert skipped.bad_records[0].startswith(f"{tmp_path}/{first}")


def test_a_damaged_file_is_no_bad_record(tmp_path: Path) -> None:
    write_parquet(tmp_path)
    data = (tmp_path / "x.parquet").read_bytes()
    (tmp_path / "x.parquet").write_bytes(data[:-9])
    config = source_config(source="parquet", path=str(tmp_path), bad_records="skip")
    with pytest.raises(UserError, match=r"cannot read .*x\.parquet"):
        read_all(make_source([config], ids=False))


def test_lines_are_counted_for_the_first_bad_ones_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lengthwise.data.sources import json_lines

    monkeypatch.setattr(files, "MIN_UNIT_BYTES", 1_000)
    (tmp_path / "x.jsonl").write_text("{}\n" * 2_000)
    counted = []
    newlines = json_lines._newlines
    monkeypatch.setattr(
        json_lines, "_newlines", lambda *where: counted.append(where) or newlines(*where)
    )
    config = source_config(source="jsonl", path=str(tmp_path), bad_records="skip")
    source = make_source([config], ids=False)
    units = len(source.units())
    assert units > 3
    _, skipped = read_all(source)
    assert skipped == {"bad records": 2_000}
    assert len(counted) <= PLACES * units


@pytest.mark.parametrize("duplicates", ["keep", "drop_exact"])  # read once, read twice
def test_a_store_keeps_the_count_and_the_first_places(
    config: DataConfig, tmp_path: Path, duplicates: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "corpus"
    for number in range(9):
        (folder / f"bad{number}.txt").write_bytes(b"ab\xff")
    (folder / "._00.txt").write_bytes(b"\xff")
    config = dataclasses.replace(config, duplicates=duplicates)
    with pytest.raises(UserError, match=r"bad\d\.txt: not UTF-8 at byte 2; correct it or"):
        prepare(config, tmp_path / "store")
    store = prepare(change_source(config, bad_records="skip"), tmp_path / "store")
    assert store.manifest.num_documents == 30
    assert store.manifest.skipped == {"bad records": 9, "hidden files": 1}
    assert store.manifest.bad_records == tuple(
        f"{folder}/bad{i}.txt: not UTF-8 at byte 2" for i in range(PLACES)
    )


def test_a_corpus_of_bad_records_is_empty_and_says_why(config: DataConfig, tmp_path: Path) -> None:
    for path in (tmp_path / "corpus").iterdir():
        path.write_bytes(b"\xff")
    with pytest.raises(UserError, match=r"the corpus is empty: .*bad records: .*00\.txt: not"):
        prepare(change_source(config, bad_records="skip"), tmp_path / "store")
