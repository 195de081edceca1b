"""Sources: what is a document, in which order, and what is said of broken input."""

import gzip
import json
import os
import sysconfig
import tokenize
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data import corpora
from data.corpora import JsonlSource, Source, StdlibSource, TextSource, make_source
from errors import UserError


def read_all(source: Source) -> tuple[dict[str, str], Counter]:
    skipped: Counter[str] = Counter()
    documents = [d for unit in source.units() for d in source.documents(unit, skipped)]
    names = [document.name for document in documents]
    assert len(set(names)) == len(names)
    return {document.name: document.text for document in documents}, skipped


def test_stdlib_is_what_the_interpreter_reads(tmp_path: Path) -> None:
    files = {
        "b.py": "x = 'ä'\n".encode(),
        "a/latin.py": b"# -*- coding: latin-1 -*-\ny = '\xe4'\n",
        "a/bom.py": b"\xef\xbb\xbfz = 1\n",
        "a/crlf.py": b"z = 1\r\nw = 2\r\n",
        "empty.py": b"",
        "bad_name.py": b"# coding: uft-8\n",
        "bad_bytes.py": b"s = '\xff'\n",
        "site-packages/other.py": b"1\n",
        "sub/dist-packages/other.py": b"1\n",
        "notes.txt": b"no",
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    documents, skipped = read_all(StdlibSource(tmp_path))
    assert list(documents) == ["a/bom.py", "a/crlf.py", "a/latin.py", "b.py"]
    assert skipped == {"empty": 1, "undecodable": 2}
    assert documents["a/crlf.py"] == "z = 1\r\nw = 2\r\n"
    for name in ("a/bom.py", "a/latin.py", "b.py"):
        with tokenize.open(tmp_path / name) as file:
            assert documents[name] == file.read()


def test_stdlib_of_this_interpreter() -> None:
    source = make_source("stdlib", "", "", "", "error")
    root = Path(sysconfig.get_path("stdlib"))
    expected = []
    for folder, folders, files in os.walk(root):
        folders[:] = [f for f in folders if f not in ("site-packages", "dist-packages")]
        expected += [
            (Path(folder) / f).relative_to(root).as_posix() for f in files if f.endswith(".py")
        ]
    units = source.units()
    assert [name for unit in units for name, _ in unit.files] == sorted(expected)
    assert len(expected) > 300
    skipped: Counter[str] = Counter()
    first = list(source.documents(units[0], skipped))
    assert len(first) + skipped.total() == len(units[0].files)


def test_text_folder(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "one.txt").write_text("eins ä", encoding="utf-8")
    (tmp_path / "z.txt").write_text("zwei")
    (tmp_path / "no.md").write_text("drei")
    for pattern in ("*.txt", "**/*.txt", "**/**/*.txt"):
        documents, _ = read_all(TextSource(tmp_path, pattern, skip_empty=False))
        assert documents == {"b/one.txt": "eins ä", "z.txt": "zwei"}


def test_text_that_is_not_utf8_names_file_and_byte(tmp_path: Path) -> None:
    (tmp_path / "bad.txt").write_bytes(b"abcd\xffgh")
    with pytest.raises(UserError, match=r"bad\.txt is not UTF-8 at byte 4"):
        read_all(TextSource(tmp_path, "*.txt", skip_empty=False))


def test_unreadable_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "gone.txt"
    path.write_text("text")
    source = TextSource(tmp_path, "*.txt", skip_empty=False)
    units = source.units()
    path.unlink()
    with pytest.raises(UserError, match=r"cannot read .*gone\.txt"):
        list(source.documents(units[0], Counter()))


def write_lines(path: Path, lines: list[bytes]) -> None:
    data = b"\n".join(lines)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def test_jsonl_file_glob_and_folder(tmp_path: Path) -> None:
    one = [json.dumps({"text": "a\nb", "id": 1}).encode(), b"", '{"text": "ü"}'.encode()]
    two = [b'{"text": "c"}', b""]
    write_lines(tmp_path / "one.jsonl", one)
    write_lines(tmp_path / "two.jsonl.gz", two)
    first = {"one.jsonl:1": "a\nb", "one.jsonl:3": "ü"}
    second = {"two.jsonl.gz:1": "c"}
    assert read_all(JsonlSource(tmp_path, "text", False)) == (first | second, {"blank line": 1})
    assert read_all(JsonlSource(tmp_path / "one.jsonl", "text", False))[0] == first
    assert read_all(JsonlSource(tmp_path / "t*.gz", "text", False))[0] == second


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz"])
@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"text": "a"', r"broken JSON at column 13"),
        (b'["a"]', "a list, not a JSON object"),
        (b'{"body": "a"}', r"no field 'text' .*; the line has body"),
        (b'{"text": 3}', "field 'text' is a int, not a string"),
        (b'{"text": "\xff"}', "not UTF-8 at byte 10 of the line"),
        (b'{"text": "ab\\ud800"}', "half a surrogate pair at character 2"),
        (b'{"text": ""}', "a document with no tokens"),
        (b"[" * 200_000, "nested too deeply"),
    ],
)
def test_broken_line_names_file_and_line(
    tmp_path: Path, suffix: str, line: bytes, message: str
) -> None:
    path = tmp_path / f"x{suffix}"
    write_lines(path, [b'{"text": "fine"}', b"", line, b'{"text": "fine"}'])
    with pytest.raises(UserError, match=rf"x{suffix}:3: .*{message}"):
        read_all(JsonlSource(path, "text", skip_empty=False))


def test_damaged_gzip_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl.gz"
    write_lines(path, [json.dumps({"text": os.urandom(50).hex()}).encode() for _ in range(500)])
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"x\.jsonl\.gz: damaged gzip file after line \d+"):
        read_all(JsonlSource(path, "text", skip_empty=False))


def test_empty_documents_are_skipped_and_counted_when_asked(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("")
    (tmp_path / "b.txt").write_text("b")
    write_lines(tmp_path / "c.jsonl", [b'{"text": ""}', b'{"text": "c"}'])
    with pytest.raises(UserError, match=r"a\.txt: a document with no tokens"):
        read_all(make_source("text", str(tmp_path), "*.txt", "", "error"))
    text = make_source("text", str(tmp_path), "*.txt", "", "skip")
    assert read_all(text) == ({"b.txt": "b"}, {"empty": 1})
    lines = make_source("jsonl", str(tmp_path / "c.jsonl"), "", "text", "skip")
    assert read_all(lines) == ({"c.jsonl:2": "c"}, {"empty": 1})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("web", "x", "*", "text", "error"), "stdlib, text, jsonl"),
        (("text", "", "*", "", "error"), "needs data.path"),
        (("stdlib", "x", "*", "", "error"), "takes no path"),
        (("text", "x", "*", "", "drop"), "data.empty_documents='drop' must be one of error, skip"),
    ],
)
def test_impossible_settings(arguments: tuple[str, str, str, str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_source(*arguments)


@pytest.mark.parametrize("kind", ["text", "jsonl"])
def test_missing_corpus(tmp_path: Path, kind: str) -> None:
    with pytest.raises(UserError, match=r"is not a folder|no \.jsonl or"):
        make_source(kind, str(tmp_path / "absent"), "*.txt", "text", "error").units()
    with pytest.raises(UserError, match=r"matches data\.pattern='\*\.txt'|no \.jsonl or"):
        make_source(kind, str(tmp_path), "*.txt", "text", "error").units()


@given(st.lists(st.integers(0, 3_000_000), min_size=1, max_size=60))
def test_units_hold_every_file_once_in_order_and_are_bounded(sizes: list[int]) -> None:
    class File:
        st_mtime_ns = 0

        def __init__(self, name: str, size: int) -> None:
            self.name, self.st_size = name, size

        def stat(self) -> "File":
            return self

        def __str__(self) -> str:
            return self.name

    files = [File(f"{i:03d}", size) for i, size in enumerate(sizes)]
    units = corpora._group(((file.name, file) for file in reversed(files)), "")  # type: ignore[misc]
    assert [name for unit in units for name, _ in unit.files] == [file.name for file in files]
    assert [unit.index for unit in units] == list(range(len(units)))
    assert sum(unit.num_bytes for unit in units) == sum(sizes)
    assert len(units) <= 64 + 1
    for unit in units:
        last = sizes[int(unit.files[-1][0])]
        assert unit.num_bytes - last < max(sum(sizes) // 64, 1 << 20)


def test_unit_key_knows_files_and_options(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a", "body": "b"}\n')
    os.utime(path, ns=(1, 1))
    keys = [JsonlSource(path, "text", False).units()[0].key]
    assert JsonlSource(path, "text", False).units()[0].key == keys[0]
    keys.append(JsonlSource(path, "body", False).units()[0].key)
    keys.append(JsonlSource(path, "text", True).units()[0].key)
    os.utime(path, ns=(2, 2))
    keys.append(JsonlSource(path, "text", False).units()[0].key)
    assert len(set(keys)) == len(keys)
