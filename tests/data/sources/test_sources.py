"""Sources: what is a document, in which order, and what is said of broken input."""

import dataclasses
import json
import os
import re
import subprocess
import sys
import sysconfig
import tokenize
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lengthwise.common.errors import UserError
from lengthwise.data.sources import files, json_lines, make_source
from lengthwise.data.sources.source import Skipped
from lengthwise.data.sources.text_files import StdlibSource, TextSource
from tests.data.settings import read_all, source_config

PATH_KINDS = ("text", "jsonl", "parquet", "array_record")


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
    source = make_source([source_config(source="stdlib")], ids=False)
    root = Path(sysconfig.get_path("stdlib"))
    expected = []
    for folder, folders, names in os.walk(root):
        folders[:] = [f for f in folders if f not in ("site-packages", "dist-packages")]
        expected += [
            (Path(folder) / f).relative_to(root).as_posix() for f in names if f.endswith(".py")
        ]
    units = source.units()
    assert [part.name for unit in units for part in unit.parts] == sorted(expected)
    assert len(expected) > 300
    skipped = Skipped()
    first = list(source.documents(units[0], skipped))
    assert len(first) + skipped.total() == len(units[0].parts)


def test_text_folder(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "one.txt").write_text("eins ä", encoding="utf-8")
    (tmp_path / "z.txt").write_text("zwei")
    (tmp_path / "no.md").write_text("drei")
    for pattern in ("*.txt", "**/*.txt", "**/**/*.txt"):
        documents, _ = read_all(TextSource(str(tmp_path), pattern, skip_empty=False))
        assert documents == {"b/one.txt": "eins ä", "z.txt": "zwei"}


def test_text_that_is_not_utf8_names_file_and_byte(tmp_path: Path) -> None:
    (tmp_path / "bad.txt").write_bytes(b"abcd\xffgh")
    with pytest.raises(UserError, match=r"bad\.txt: not UTF-8 at byte 4"):
        read_all(TextSource(str(tmp_path), "*.txt", skip_empty=False))


def test_unreadable_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "gone.txt"
    path.write_text("text")
    source = TextSource(str(tmp_path), "*.txt", skip_empty=False)
    units = source.units()
    path.unlink()
    with pytest.raises(UserError, match=r"cannot read .*gone\.txt"):
        list(source.documents(units[0], Skipped()))


def test_empty_documents_are_skipped_and_counted_when_asked(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("")
    (tmp_path / "b.txt").write_text("b")
    (tmp_path / "c.jsonl").write_text('{"text": ""}\n{"text": "c"}')
    text = source_config(path=str(tmp_path))
    with pytest.raises(UserError, match=r"a\.txt: a document with no tokens"):
        read_all(make_source([text], ids=False))
    text = dataclasses.replace(text, empty_documents="skip")
    assert read_all(make_source([text], ids=False)) == ({"b.txt": "b"}, {"empty": 1})
    lines = dataclasses.replace(text, source="jsonl", path=str(tmp_path / "c.jsonl"))
    assert read_all(make_source([lines], ids=False)) == ({"c.jsonl:2": "c"}, {"empty": 1})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"source": "web"},
            "data.source='web' is unknown; choose one of array_record, aws_docs, jsonl",
        ),
        ({"path": ""}, "needs data.path"),
        ({"source": "stdlib"}, "takes no path"),
        (
            {"empty_documents": "drop"},
            "empty_documents='drop' is unknown; choose one of error, skip",
        ),
        ({"domain": ""}, "data.domain is empty"),
        ({"source": "aws_docs"}, "takes no path"),
        ({"source": "tfds"}, "needs data.tfds_name, such as"),
        ({"source": "parquet", "field": ""}, "needs data.field"),
        ({"source": "array_record", "field": "", "group_field": "site"}, "without ids and group"),
    ],
)
def test_impossible_settings(changes: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_source([dataclasses.replace(source_config(path="x"), **changes)], ids=False)


def test_token_ids_need_a_source_with_fields() -> None:
    with pytest.raises(UserError, match=r"data\.source='text' has texts.*such as jsonl, parq"):
        make_source([source_config(path="x")], ids=True)


def test_what_is_not_used_is_not_imported() -> None:
    code = """
import sys
from lengthwise.data.sources import SourceConfig, make_source
make_source([SourceConfig("all", "stdlib", *[""] * 6, "error")], False).units()
late = {"pyarrow", "tensorflow_datasets", "array_record", "zstandard", "jax"} & set(sys.modules)
assert not late, late
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("path", "command", "inside"),
    [
        ("gs://corpora/c4/*.jsonl", "gcsfuse --implicit-dirs corpora /mnt/corpora", "c4/*.jsonl"),
        ("s3://corpora", "mount-s3 corpora /mnt/corpora", ""),
        ("hf://datasets/c4", "copy them here", None),
    ],
)
@pytest.mark.parametrize("kind", PATH_KINDS)
def test_a_bucket_must_be_mounted(kind: str, path: str, command: str, inside: str | None) -> None:
    with pytest.raises(UserError, match=re.escape(command)) as caught:
        make_source([source_config(source=kind, path=path)], ids=False)
    if inside is not None:
        assert f"set data.path='/mnt/corpora/{inside}'" in str(caught.value)


@pytest.mark.parametrize("kind", PATH_KINDS)
def test_missing_corpus(tmp_path: Path, kind: str) -> None:
    def units_at(path: Path) -> None:
        make_source([source_config(source=kind, path=str(path))], ids=False).units()

    with pytest.raises(UserError, match=r"absent' is not a folder, nor a file or a glob"):
        units_at(tmp_path / "absent")
    for path in (tmp_path, tmp_path / "*.any"):
        with pytest.raises(UserError, match=rf"{re.escape(str(path))}': no .*file.* there"):
            units_at(path)


@given(st.lists(st.integers(0, 3_000_000), min_size=1, max_size=60), st.booleans())
def test_units_hold_every_byte_once_in_order_and_are_bounded(sizes: list[int], cut: bool) -> None:
    class File:
        st_mtime_ns = 0
        suffix = ".jsonl"

        def __init__(self, name: str, size: int) -> None:
            self.name, self.st_size = name, size

        def stat(self) -> "File":
            return self

        def __str__(self) -> str:
            return self.name

    given_files = [(f"{i:03d}", File(f"{i:03d}", size)) for i, size in enumerate(sizes)]
    units = files.make_units(given_files[::-1], "", json_lines._byte_ranges if cut else None)  # type: ignore[arg-type]
    assert [unit.index for unit in units] == list(range(len(units)))
    assert sum(unit.num_bytes for unit in units) == sum(sizes)
    assert len(units) <= 64 + 1
    parts = [part for unit in units for part in unit.parts]
    assert list(dict.fromkeys(part.name for part in parts)) == [name for name, _ in given_files]
    most = max(sum(sizes) // 64, 1 << 20)
    for name, file in given_files:
        own = [(part.start, part.stop) for part in parts if part.name == name]
        starts = [start for start, _ in own]
        ends = [file.st_size if stop is None else stop for _, stop in own]
        assert starts == [0, *ends[:-1]]
        assert ends[-1] == file.st_size
        assert not cut or max(np.subtract(ends, starts)) <= most
    for unit in units:
        last = unit.parts[-1]
        size = (last.size if last.stop is None else last.stop) - last.start
        assert unit.num_bytes - size < most


def test_unit_key_knows_files_and_options(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a", "body": "b"}\n')
    os.utime(path, ns=(1, 1))

    def key(**changes: object) -> str:
        config = source_config(source="jsonl", path=str(path), **changes)
        return make_source([config], ids=False).units()[0].key

    keys = [key()]
    assert key() == keys[0]
    for changes in ({"field": "body"}, {"empty_documents": "skip"}, {"group_field": "body"}):
        keys.append(key(**changes))
    os.utime(path, ns=(2, 2))
    keys.append(key())
    assert len(set(keys)) == len(keys)


def test_groups_are_folders_and_fields(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "x.txt").write_text("x")
    (tmp_path / "y.txt").write_text("y")
    lines = [{"text": "t", "site": site} for site in ("s", 7, None)]
    (tmp_path / "l.jsonl").write_text("\n".join(map(json.dumps, lines)))

    def groups(**changes: str) -> list[str]:
        source = make_source([source_config(path=str(tmp_path), **changes)], ids=False)
        return [d.group for u in source.units() for d in source.documents(u, Skipped())]

    assert groups() == ["a/b", ""]
    assert groups(source="jsonl", group_field="site") == ["s", "7", ""]
    assert groups(source="jsonl") == ["", "", ""]
    with pytest.raises(UserError, match=r"l\.jsonl:1: no field 'host' \(data\.group_field\)"):
        groups(source="jsonl", group_field="host")


def test_a_mixture_reads_its_sources_one_after_another(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    (tmp_path / "a.jsonl").write_text('{"text": "line"}')
    configs = [
        source_config(domain="lines", source="jsonl", path=str(tmp_path)),
        source_config(domain="files", path=str(tmp_path)),
    ]
    source = make_source(configs, ids=False)
    assert source.domains == ("lines", "files")
    units = source.units()
    assert [(unit.index, unit.domain) for unit in units] == [(0, 0), (1, 1)]
    documents = [d for unit in units for d in source.documents(unit, Skipped())]
    assert [(d.name, d.content, d.domain) for d in documents] == [
        ("lines/a.jsonl:1", "line", 0),
        ("files/a.txt", "text", 1),
    ]
    renamed = make_source([dataclasses.replace(c, domain=c.domain + "2") for c in configs], False)
    assert not {unit.key for unit in renamed.units()} & {unit.key for unit in units}


def test_what_is_wrong_with_a_mixture_is_named(tmp_path: Path) -> None:
    absent = source_config(domain="b", path=str(tmp_path / "absent"))
    with pytest.raises(UserError, match=r"data\.mixture has 2 domains called 'b'; rename them"):
        make_source([absent, source_config(domain="a", path="x"), absent], ids=False)
    (tmp_path / "a.txt").write_text("a")
    source = make_source([source_config(domain="a", path=str(tmp_path)), absent], ids=False)
    with pytest.raises(UserError, match=r"domain 'b': data.path=.*absent' is not a folder"):
        source.units()


def test_a_file_that_changes_is_named(tmp_path: Path) -> None:
    for name, content in (("a.txt", "a"), ("a.jsonl", '{"text": "a"}')):
        path = tmp_path / name
        path.write_text(content)
        source = make_source(
            [source_config(source=path.suffix[1:].replace("txt", "text"), path=str(path))], False
        )
        (unit,) = source.units()
        path.write_text(content + "\n")
        with pytest.raises(UserError, match=rf"a{path.suffix} changed during preparation; run"):
            list(source.documents(unit, Skipped()))
        path.unlink()
        with pytest.raises(UserError, match=rf"cannot read .*a{path.suffix}: No such file"):
            list(source.documents(unit, Skipped()))


def test_a_file_that_changes_while_it_is_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a"}\n{"text": "b"}\n')
    source = make_source([source_config(source="jsonl", path=str(path))], False)
    (unit,) = source.units()
    documents = source.documents(unit, Skipped())
    next(documents)
    with path.open("a") as file:
        file.write('{"text": "c"}\n')
    with pytest.raises(UserError, match=r"a\.jsonl changed during preparation; run"):
        list(documents)


@pytest.mark.parametrize("pattern", ["/etc/*.txt", "../*.txt", "**x", ""])
def test_a_pattern_that_is_none_is_named(tmp_path: Path, pattern: str) -> None:
    source = make_source([source_config(path=str(tmp_path), pattern=pattern)], False)
    with pytest.raises(UserError, match=re.escape(f"data.pattern={pattern!r} is no pattern")):
        source.units()
