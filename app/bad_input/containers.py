"""Files of records as sources read them, made of lists of texts or of records."""

import bz2
import gzip
import json
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import zstandard
from array_record.python.array_record_module import ArrayRecordWriter
from pyarrow import parquet

PACK: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".zst": zstandard.ZstdCompressor(write_checksum=True).compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}


def write_array_record(path: Path, records: list[bytes]) -> None:
    """Writes one group a record."""
    writer = ArrayRecordWriter(str(path), "group_size:1")
    for record in records:
        writer.write(record)
    writer.close()


def write_parquet(path: Path, columns: dict[str, Any]) -> None:
    """Writes columns (lists or Arrow arrays) in groups of four rows, with checksums of pages."""
    table = pyarrow.table(columns)
    parquet.write_table(table, path, row_group_size=4, write_page_checksum=True)


def write_texts(folder: Path, form: str, texts: list[str]) -> tuple[Path, dict[str, object]]:
    """A file of a source of these texts; returns it and the settings that read it.

    form: parquet, array_record, jsonl, or txt and a suffix of `PACK`, which holds the first text.
    """
    path = folder / f"x.{form}"
    lines = [json.dumps({"text": text}).encode() for text in texts]
    if form == "parquet":
        write_parquet(path, {"text": texts})
    elif form == "array_record":
        write_array_record(path, lines)
    else:
        kind, dot, suffix = form.partition(".")
        content = b"\n".join(lines) if kind == "jsonl" else texts[0].encode()
        path.write_bytes(PACK[dot + suffix](content))
    kind = form.partition(".")[0].replace("txt", "text")
    return path, {"source": kind, "path": str(path)}


FORMS = (
    *("parquet", "array_record"),
    *(f"{kind}{suffix}" for kind in ("jsonl", "txt") for suffix in PACK),
)
CHECKED = tuple(form for form in FORMS if form not in ("jsonl", "txt"))  # that notice a flipped bit
