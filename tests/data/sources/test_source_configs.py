"""Each example config prepares a store from files of its kind, made on the spot."""

import gzip
import importlib
import itertools
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pytest
import zstandard
from array_record.python.array_record_module import ArrayRecordWriter
from pyarrow import parquet

from lengthwise.configs.resolve import load
from lengthwise.data import sources
from lengthwise.data.prepare.prepare import prepare
from lengthwise.data.sources import aws_docs, text_files
from lengthwise.data.sources import tfds as stdlib_tfds
from lengthwise.data.sources.text_files import StdlibSource

TEXTS = [f"document {i}: {'ä text of words ' * (i % 9 + 1)}" for i in range(40)]
FOLDER = Path(sources.__file__).parents[2] / "configs" / "sources"


def write_lines(path: Path, field: str, texts: list[str]) -> None:
    lines = [json.dumps({field: text, "site": f"s{i % 3}"}) for i, text in enumerate(texts)]
    data = "\n".join(lines).encode()
    compress = {".gz": gzip.compress, ".zst": zstandard.ZstdCompressor().compress}
    path.write_bytes(compress.get(path.suffix, bytes)(data))


def write_text(patched: pytest.MonkeyPatch) -> list[str]:
    for i, text in enumerate(TEXTS):
        path = Path(f"corpora/notes/{i // 10}/{i:02}.md")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return TEXTS


def write_jsonl(patched: pytest.MonkeyPatch) -> list[str]:
    write_lines(Path("corpora/dump-0.jsonl"), "text", TEXTS[:10])
    write_lines(Path("corpora/dump-1.jsonl.gz"), "text", TEXTS[10:20])
    write_lines(Path("corpora/dump-2.jsonl.zst"), "text", TEXTS[20:])
    return TEXTS


def write_parquet(patched: pytest.MonkeyPatch) -> list[str]:
    Path("corpora/hub/data").mkdir(parents=True)
    for i in range(2):
        table = pyarrow.table({"content": ["", *TEXTS[i * 20 : i * 20 + 20]]})
        parquet.write_table(table, f"corpora/hub/data/train-{i:05}-of-00002.parquet")
    return TEXTS


def write_array_record(patched: pytest.MonkeyPatch) -> list[str]:
    for i in range(2):
        path = f"corpora/pages.array_record-{i:05}-of-00002"
        writer = ArrayRecordWriter(path, "group_size:1")
        for text in TEXTS[i * 20 : i * 20 + 20]:
            writer.write(text.encode())
        writer.close()
    return TEXTS


def write_library(patched: pytest.MonkeyPatch) -> Path:
    Path("library").mkdir()
    for i, text in enumerate(TEXTS):
        Path(f"library/{i:02}.py").write_text(f"# {text}")
    return Path("library").resolve()


def write_tfds(patched: pytest.MonkeyPatch) -> list[str]:
    library = StdlibSource(write_library(patched))
    patched.setattr(stdlib_tfds, "_source", lambda: library)
    stdlib_tfds.build("corpora/tfds")
    return [f"# {text}" for text in TEXTS]


def write_aws_docs(patched: pytest.MonkeyPatch) -> list[str]:
    models = aws_docs._models()
    Path("models").mkdir()
    Path("models/sqs").symlink_to(models / "sqs")
    patched.setattr(aws_docs, "_models", lambda: Path("models"))
    source = aws_docs.AwsDocsSource()
    return [d.content for unit in source.units() for d in source.documents(unit, {})]


def write_token_ids(patched: pytest.MonkeyPatch) -> list[list[int]]:
    ids = [[(7 * i + j) % 50_303 + 1 for j in range(i * 3 + 1)] for i in range(40)]
    Path("corpora/ids").mkdir()
    parquet.write_table(pyarrow.table({"input_ids": ids}), "corpora/ids/x.parquet")
    return ids


def write_mixture(patched: pytest.MonkeyPatch) -> list[str]:
    library = write_library(patched)
    patched.setattr(text_files.sysconfig, "get_path", lambda name: str(library))
    write_lines(Path("corpora/prose.jsonl.gz"), "text", TEXTS[:20])
    write_lines(Path("corpora/pages.jsonl.zst"), "html", TEXTS[20:])
    return [*(f"# {text}" for text in TEXTS), *TEXTS]


EXAMPLES: dict[str, Callable[[pytest.MonkeyPatch], list]] = {
    "text": write_text,
    "jsonl": write_jsonl,
    "parquet": write_parquet,
    "array_record": write_array_record,
    "tfds": write_tfds,
    "aws_docs": write_aws_docs,
    "token_ids": write_token_ids,
    "mixture": write_mixture,
}


def test_every_kind_has_an_example() -> None:
    assert {path.stem for path in FOLDER.glob("[a-z]*.py")} == EXAMPLES.keys()
    elsewhere = {"stdlib", "task"}  # configs/quickstart.py, configs/task.py
    assert {*sources.SOURCES.names(), "token_ids", "mixture"} == {*elsewhere, *EXAMPLES}


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_store_holds_the_documents(
    example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("corpora").mkdir()
    texts = EXAMPLES[example](monkeypatch)
    config = importlib.import_module(f"lengthwise.configs.sources.{example}").get_config()
    assert config.is_locked
    store = prepare(load(config, None).data, Path("store"))
    starts = store.document_offsets.tolist()
    found = [store.read(start, stop - start)[:-1] for start, stop in itertools.pairwise(starts)]
    if example == "token_ids":
        assert [ids.tolist() for ids in found] == texts
    else:
        assert [store.tokenizer().decode(ids) for ids in found] == texts
