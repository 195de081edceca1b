"""Records that no document can be made of, or only just, in whole files."""

import datetime
import decimal
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow

from lengthwise.app.bad_input.case import KINDS, Case
from lengthwise.app.bad_input.containers import PACK, write_array_record, write_parquet
from lengthwise.app.bad_input.corpus import check_count, prepared

LINES = (
    *(b'{"text": null}', b'{"text": 3}', b'{"text": ["a"]}', b'{"text": {}}', b'{"text": true}'),
    *(b'{"text": ""}', b'{"text": " "}', b'{"text": "\\u0000"}', b'{"text": "\\ud800"}', b"{}"),
    *(b"{", b"}", b"[]", b"null", b'"text"', b'{"text": "a"} {"text": "b"}', b'{"text": "a",}'),
    *(b'{"text": NaN}', b'{"text": 1e999}', b'{"text": ' + b"9" * 5000 + b"}", b"[" * 3000),
    *(b'{"text": "\xff"}', b"\xef\xbb\xbf" + b'{"text": "marked"}', b"\xff\xfe{\x00}\x00", b"\0"),
    *(b'{"text": "a", "text": "b"}', b'{"Text": "a"}', b'{"text": "' + b"w " * 5000 + b'"}'),
    *(b'{"text": "\\ud83d\\ude00"}', '{"text": "é\u2028x"}'.encode(), b'{"text": "\\q"}', b"\x1a"),
)
COLUMNS: tuple[Any, ...] = (
    *(["a", None, ""], [b"a", b"\xff", None], [1, 2], [1.5, None], [True], [None, None]),
    *([["a"], None], [{"a": 1}], [[1, 2], [3]], [datetime.datetime(1, 1, 1)], [datetime.date.max]),
    *([decimal.Decimal("1.5")], [datetime.timedelta(days=9)], ["a", "\0"]),
    pyarrow.array(["a", "b", "a"]).dictionary_encode(),
    pyarrow.array([b"ab", b"\xff\xfe"], pyarrow.binary(2)),
    pyarrow.array(["a", "b"], pyarrow.large_string()),
    pyarrow.array([2**62, -(2**62)], pyarrow.timestamp("us", "Asia/Tokyo")),
    pyarrow.array([[1, 2], [2**63]], pyarrow.list_(pyarrow.uint64())),
    pyarrow.nulls(3),
)


@KINDS.register("records")
def records(seed: int, folder: Path) -> Case:
    """Odd records among good ones; what is left out must be counted."""
    rng = np.random.default_rng(seed)
    skips = {
        "empty_documents": str(rng.choice(["error", "skip"])),
        "bad_records": str(rng.choice(["error", "skip", "skip"])),
    }
    ids = rng.random() < 0.2
    settings: dict[str, object] = {**skips, "tokenizer": "ids:300:299" if ids else "bytes"}
    kind = str(rng.choice(["jsonl", "parquet", "array_record"]))
    if kind == "parquet":
        column = COLUMNS[int(rng.integers(len(COLUMNS)))]
        name = "text" if rng.random() < 0.9 else "Text"
        write_parquet(folder / "x.parquet", {name: column})
        count, what = len(column), f"{name}: {column!s:.60}"
    else:
        good = [json.dumps({"text": [1, 2] if ids else f"good {i}"}).encode() for i in range(3)]
        odd = [LINES[int(i)] for i in rng.integers(len(LINES), size=int(rng.integers(1, 4)))]
        lines = [each for _, each in sorted(enumerate([*good, *odd]), key=lambda _: rng.random())]
        count, what = len(lines), " ".join(repr(line[:30]) for line in odd)
        if kind == "jsonl":
            suffix, newline = str(rng.choice(list(PACK))), (b"\n", b"\r\n")[int(rng.integers(2))]
            mark, last = b"\xef\xbb\xbf" * int(rng.integers(2)), newline * int(rng.integers(2))
            content = mark + newline.join(lines) + last
            (folder / f"x.jsonl{suffix}").write_bytes(PACK[suffix](content))
        else:
            write_array_record(folder / "x.array_record", lines)

    def run() -> None:
        check_count(prepared(folder, source=kind, path=str(folder), **settings), count)

    return Case(f"{kind} {settings}: {what}", run)
