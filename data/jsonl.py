"""JSON lines, plain or gzipped, with errors that name file and line."""

import gzip
import json
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from errors import UserError


def read_json_lines(path: Path, field: str, skipped: Counter[str]) -> Iterator[tuple[int, str]]:
    """Yields `(line number from 1, value of field)`; counts blank lines in `skipped`.

    Raises:
      UserError: unreadable or damaged file, a line that is no JSON object in UTF-8, a missing
        field, a value that is no string or cannot be written as UTF-8. Names file and line.
    """
    number = 0
    try:
        with gzip.open(path, "rb") if path.name.endswith(".gz") else open(path, "rb") as lines:
            for number, line in enumerate(lines, start=1):
                if line.isspace():
                    skipped["blank line"] += 1
                else:
                    yield number, _parse(line, field, f"{path}:{number}")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path}: damaged gzip file after line {number}: {error}") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error


def _parse(line: bytes, field: str, where: str) -> str:
    try:
        record = json.loads(line.rstrip(b"\r\n").decode("utf-8"))
    except UnicodeDecodeError as error:
        raise UserError(f"{where}: not UTF-8 at byte {error.start} of the line") from error
    except json.JSONDecodeError as error:
        raise UserError(f"{where}: broken JSON at column {error.colno}: {error.msg}") from error
    except RecursionError as error:
        raise UserError(f"{where}: JSON nested too deeply") from error
    if not isinstance(record, dict):
        raise UserError(f"{where}: a {type(record).__name__}, not a JSON object")
    if field not in record:
        raise UserError(
            f"{where}: no field {field!r} (data.field); the line has {', '.join(record) or 'none'}"
        )
    text = record[field]
    if not isinstance(text, str):
        raise UserError(f"{where}: field {field!r} is a {type(text).__name__}, not a string")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UserError(
            f"{where}: field {field!r} has half a surrogate pair at character {error.start}"
        ) from error
    return text
