"""The files of a source when its preparation began, and what changed since."""

import json
from collections.abc import Sequence
from pathlib import Path

from lengthwise.common.files import atomic_write
from lengthwise.data.prepare.unit_records import BUILDING
from lengthwise.data.sources import Source, SourceConfig, Unit

_LISTING = "source.json"  # below the folder of unfinished work
_MAX_NAMES = 3  # files named in a line


def source_changes(
    directory: Path, configs: Sequence[SourceConfig], source: Source, units: Sequence[Unit]
) -> str:
    """Line on files that came or went since preparation at `directory` began, or "".

    The first call for these settings notes the names of the files.
    """
    several = len(source.domains) > 1
    names = {
        f"{source.domains[unit.domain]}/{part.name}" if several else part.name
        for unit in units
        for part in unit.parts
    }
    path, settings = directory / BUILDING / _LISTING, repr(tuple(configs))
    if path.exists():
        then = json.loads(path.read_bytes())
        if then["settings"] == settings:
            return _wording(set(then["files"]), names)
    content = json.dumps({"settings": settings, "files": sorted(names)})
    atomic_write(path, [content.encode("ascii")])
    return ""


def _wording(then: set[str], now: set[str]) -> str:
    changes = [
        f"{_some(names)} {verb}"
        for names, verb in ((then - now, "gone"), (now - then, "new"))
        if names
    ]
    if not changes:
        return ""
    return (
        f"the source held {len(then):,} files when preparing began, now {len(now):,}: "
        f"{'; '.join(changes)}; the store is made of those that are there now"
    )


def _some(names: set[str]) -> str:
    # A name that is no UTF-8 can't be printed as it is.
    first = [n.encode("utf-8", "backslashreplace").decode() for n in sorted(names)[:_MAX_NAMES]]
    more = len(names) - len(first)
    return ", ".join(first) + (f" and {more:,} more" if more else "")
