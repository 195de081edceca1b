"""Files that are either whole or absent, whatever kills the writer."""

import json
import math
import os
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lengthwise.common.errors import UserError, reason

TEMPORARY = ".tmp"  # suffix of files being written; leftovers of a killed writer carry it


def atomic_write(path: Path, chunks: Iterable[Any]) -> None:
    """Writes `chunks` (bytes-like objects) to `path`: temporary file, fsync, rename.

    Readers see the old file or the new one. Missing folders are made. The temporary name is
    random, so that two writers never share one, be they on two machines.

    Raises:
      UserError: the file cannot be written (full disk, no permission); nothing is left behind.
    """
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}{TEMPORARY}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, "wb") as file:
                for chunk in chunks:
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UserError(
            f"{path} could not be written ({error.strerror or error}); make room or choose another "
            "directory, then start again (what is finished is kept)"
        ) from error


def write_figures(path: Path, content: Mapping[str, Any]) -> None:
    """Writes results as strict JSON: a number that is not finite is left out, as null.

    The one way of results, card and scores into their files. Which numbers, and that they are not
    finite, stands in the list `left_out` of the file, and is printed.

    Raises:
      UserError: as `atomic_write`.
    """
    missing: list[str] = []
    kept = finite(content, missing)
    for each in missing:
        print(f"note: left out of {path}: {each}")
    if missing:
        kept["left_out"] = [*kept.get("left_out", ()), *missing]
    write_json(path, kept)


def finite(value: Any, missing: list[str], where: str = "") -> Any:
    """A tree of JSON with None for each number that is not finite; names them in `missing`."""
    if isinstance(value, Mapping):
        return {
            name: finite(each, missing, f"{where}.{name}" if where else str(name))
            for name, each in value.items()
        }
    if isinstance(value, list | tuple):
        return [finite(each, missing, f"{where}[{i}]") for i, each in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        missing.append(f"{where} is {value}, not a finite number")
        return None
    return value


def write_json(path: Path, value: object) -> None:
    """Writes strict JSON (no NaN or infinity) as `atomic_write` does.

    Raises:
      UserError: as `atomic_write`.
      ValueError: a number is not finite.
    """
    atomic_write(path, [(json.dumps(value, indent=1, allow_nan=False) + "\n").encode("ascii")])


def read_json_object(path: Path) -> dict[str, Any]:
    """A JSON object. Raises UserError: it can't be read, or is none."""
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"cannot read {path}: {reason(error)}") from error
    except ValueError as error:
        raise UserError(f"{path} is no JSON; copy or download it again") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} is no JSON object; copy or download it again")
    return content
