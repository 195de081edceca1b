"""JSON lines: plain, compressed, in ranges of bytes; what is said of broken ones."""

import gzip
import itertools
import json
import os
from pathlib import Path

import pytest
import zstandard
from hypothesis import assume, given
from hypothesis import strategies as st

from lengthwise.common.errors import UserError
from lengthwise.data.sources import files, json_lines
from lengthwise.data.sources.json_lines import JsonlSource
from lengthwise.data.sources.records import RecordFields
from lengthwise.data.sources.source import FilePart, Skipped
from tests.data.settings import read_all

TEXT = RecordFields("text", "", ids=False)


def write_lines(path: Path, lines: list[bytes]) -> None:
    data = b"\n".join(lines)
    compress = {".gz": gzip.compress, ".zst": zstandard.ZstdCompressor().compress}
    path.write_bytes(compress.get(path.suffix, bytes)(data))


def test_jsonl_file_glob_and_folder(tmp_path: Path) -> None:
    one = [json.dumps({"text": "a\nb", "id": 1}).encode(), b"", '{"text": "ü"}'.encode()]
    two = [b'{"text": "c"}', b""]
    write_lines(tmp_path / "one.jsonl", one)
    write_lines(tmp_path / "two.jsonl.gz", two)
    first = {"one.jsonl:1": "a\nb", "one.jsonl:3": "ü"}
    second = {"two.jsonl.gz:1": "c"}
    assert read_all(JsonlSource(str(tmp_path), TEXT, False)) == (first | second, {"blank line": 1})
    assert read_all(JsonlSource(str(tmp_path / "one.jsonl"), TEXT, False))[0] == first
    assert read_all(JsonlSource(str(tmp_path / "t*.gz"), TEXT, False))[0] == second


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".jsonl.zst"])
@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"text": "a"', r"broken JSON at column 13"),
        (b'["a"]', "a list, not a JSON object"),
        (b'{"body": "a"}', r"no field 'text' \(data\.field\); there is body"),
        (b'{"text": 3}', "field 'text' is a int, not a string"),
        (b'{"text": "\xff"}', "not UTF-8 at byte 10 of the line"),
        (b'{"text": "ab\\ud800"}', "half a surrogate pair at character 2"),
        (b'{"text": ""}', "a document with no tokens"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"text": "a", "id": ' + b"1" * 5000 + b"}", "broken JSON: Exceeds the limit"),
    ],
)
def test_broken_line_names_file_and_line(
    tmp_path: Path, suffix: str, line: bytes, message: str
) -> None:
    path = tmp_path / f"x{suffix}"
    write_lines(path, [b'{"text": "fine"}', b"", line, b'{"text": "fine"}'])
    with pytest.raises(UserError, match=rf"x{suffix}:3: .*{message}"):
        read_all(JsonlSource(str(path), TEXT, skip_empty=False))


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
@pytest.mark.parametrize("cut", [100, 1])
def test_damaged_file_is_named(tmp_path: Path, suffix: str, cut: int) -> None:
    path = tmp_path / f"x.jsonl{suffix}"
    write_lines(path, [json.dumps({"text": os.urandom(50).hex()}).encode() for _ in range(500)])
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    damaged = rf"x\.jsonl{suffix}: damaged \{suffix} file after line"
    with pytest.raises(UserError, match=rf"{damaged} \d+"):
        read_all(JsonlSource(str(path), TEXT, skip_empty=False))
    path.write_bytes(b"not compressed" + whole)
    with pytest.raises(UserError, match=f"{damaged} 0"):
        read_all(JsonlSource(str(path), TEXT, skip_empty=False))


def test_zstd_frames_and_long_windows(tmp_path: Path) -> None:
    """Dumps are often several frames, made with --long=31."""
    parameters = zstandard.ZstdCompressionParameters(window_log=31, enable_ldm=True)
    frames = [
        zstandard.ZstdCompressor(compression_params=parameters).compressobj(),
        zstandard.ZstdCompressor().compressobj(),
    ]
    lines = [json.dumps({"text": os.urandom(99).hex()}) + "\n" for _ in range(5_000)]
    halves = "".join(lines[:2_000]), "".join(lines[2_000:])
    data = b""
    for frame, half in zip(frames, halves, strict=True):
        data += frame.compress(half.encode()) + frame.flush()
    (tmp_path / "x.jsonl.zst").write_bytes(data)
    documents, _ = read_all(JsonlSource(str(tmp_path), TEXT, skip_empty=False))
    assert list(documents.values()) == [json.loads(line)["text"] for line in lines]


LINES = st.lists(st.sampled_from(["", "a", "ü\n", "long " * 9]), min_size=1, max_size=12)


@given(LINES, st.integers(1, 40), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_ranges_of_a_file_hold_its_lines_once(
    tmp_path_factory: pytest.TempPathFactory,
    texts: list[str],
    range_bytes: int,
    newline: str,
    ends: bool,
) -> None:
    path = tmp_path_factory.mktemp("ranges") / "x.jsonl"
    lines = [json.dumps({"text": text}, ensure_ascii=False) if text else "" for text in texts]
    data = (newline.join(lines) + newline * ends).encode()
    assume(data)
    path.write_bytes(data)
    status = path.stat()
    ranges = json_lines._byte_ranges(path, len(data), range_bytes)
    places = []
    for start, stop, _ in ranges:
        part = FilePart("x.jsonl", str(path), status.st_size, status.st_mtime_ns, start, stop)
        places += list(json_lines._lines(part))
    assert [line for _, line in places] == data.splitlines(keepends=True)
    assert [str(place) for place, _ in places] == [f"{path}:{i + 1}" for i in range(len(places))]
    names = [place.name for place, _ in places]
    offsets = itertools.accumulate((len(line) for _, line in places), initial=0)
    assert names == [f"x.jsonl@{o}" for o, _ in zip(offsets, places, strict=False)]


def test_a_large_file_is_read_in_ranges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MIN_UNIT_BYTES", 1_000)
    texts = [f"{i} " * (i % 50 + 1) for i in range(300)]
    write_lines(tmp_path / "x.jsonl", [json.dumps({"text": text}).encode() for text in texts])
    source = JsonlSource(str(tmp_path), TEXT, skip_empty=False)
    units = source.units()
    assert len(units) > 15
    documents = [d for unit in units for d in source.documents(unit, Skipped())]
    assert [document.content for document in documents] == texts
    data = (tmp_path / "x.jsonl").read_bytes()
    position = int(documents[200].name.removeprefix("x.jsonl@"))
    assert json.loads(data[position:].split(b"\n")[0])["text"] == texts[200]
    write_lines(
        tmp_path / "x.jsonl",
        [json.dumps({"text": text} if i != 222 else {}).encode() for i, text in enumerate(texts)],
    )
    with pytest.raises(UserError, match=r"x\.jsonl:223: no field 'text'"):
        read_all(source)


def test_a_file_without_documents(tmp_path: Path) -> None:
    for name, lines in (("a.jsonl", []), ("b.jsonl.gz", []), ("c.jsonl.zst", [b" ", b""])):
        write_lines(tmp_path / name, lines)
        with pytest.raises(UserError, match=rf"{name}: a file with no documents; remove it or"):
            read_all(JsonlSource(str(tmp_path / name), TEXT, skip_empty=False))
    documents, skipped = read_all(JsonlSource(str(tmp_path), TEXT, skip_empty=True))
    assert not documents
    assert skipped == {"empty file": 3, "blank line": 1}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("[1, 2.0]", "field 'ids' has 2.0 at position 1, not a token id"),
        ("[true]", "field 'ids' has True at position 0"),
        ("[[1]]", r"field 'ids' has \[1\] at position 0"),
        ('"text"', "field 'ids' is a str, not a list of token ids"),
        ("null", "field 'ids' is a NoneType, not a list"),
        ("[99999999999999999999]", "field 'ids' has a number beyond 64 bits"),
        ("[]", "a document with no tokens"),
    ],
)
def test_token_ids(tmp_path: Path, value: str, message: str) -> None:
    fields = RecordFields("ids", "", ids=True)
    (tmp_path / "x.jsonl").write_text('{"ids": [3, 0, 70000]}')
    documents, _ = read_all(JsonlSource(str(tmp_path), fields, skip_empty=False))
    assert documents["x.jsonl:1"].tolist() == [3, 0, 70_000]
    assert documents["x.jsonl:1"].dtype == "int64"
    (tmp_path / "x.jsonl").write_text(f'{{"ids": [3]}}\n{{"ids": {value}}}')
    with pytest.raises(UserError, match=rf"x\.jsonl:2: {message}"):
        read_all(JsonlSource(str(tmp_path), fields, skip_empty=False))
