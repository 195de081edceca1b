"""Text files, one document a file: the interpreter's own library, or texts below a folder."""

import io
import os
import platform
import sysconfig
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from lengthwise.common.errors import UserError
from lengthwise.common.texts import NotUtf8, decode_text
from lengthwise.data.sources.files import folder_of, make_units, read_file
from lengthwise.data.sources.listing import find_files
from lengthwise.data.sources.source import (
    SOURCES,
    BadRecord,
    Document,
    NamedSource,
    Skipped,
    SourceConfig,
    Unit,
    note_bad,
    note_empty,
)


@SOURCES.register("stdlib")
@dataclass(frozen=True)
class StdlibSource(NamedSource):
    """The `.py` files of the interpreter's own library, decoded as PEP 263 says.

    Files that do not decode (the library tests its own error messages with some) and empty files
    (most `__init__.py`) are no documents; both are counted.
    """

    takes_path: ClassVar[bool] = False

    root: Path
    domains: tuple[str, ...] = ("all",)

    @classmethod
    def of(cls, config: SourceConfig, ids: bool) -> "StdlibSource":
        return cls(Path(sysconfig.get_path("stdlib")), (config.domain,))

    def describe(self) -> str:
        return f"standard library of {platform.python_implementation()} {platform.python_version()}"

    def units(self) -> list[Unit]:
        files = list(self.files())
        if not files:
            raise UserError(
                f"the interpreter's library at {self.root} has no .py files; "
                "use data.source='text' or 'jsonl' with a corpus of your own"
            )
        return make_units(files, "stdlib")

    def files(self) -> Iterator[tuple[str, Path]]:
        """Name within the library and path of each module, in no order."""
        for folder, inside, names in os.walk(self.root):
            # What is installed beside the library may be many times as much.
            inside[:] = [name for name in inside if name not in ("site-packages", "dist-packages")]
            path = Path(folder)
            above = path.relative_to(self.root).as_posix() + "/" if path != self.root else ""
            for name in names:
                if name.endswith(".py") and (path / name).is_file():
                    yield above + name, path / name

    def documents(self, unit: Unit, skipped: Skipped) -> Iterator[Document]:
        for part in unit.parts:
            raw = read_file(part)
            try:
                encoding, _ = tokenize.detect_encoding(io.BytesIO(raw).readline)
                text = raw.decode(encoding)
            except (SyntaxError, UnicodeDecodeError):
                skipped["undecodable"] += 1
                continue
            if text:
                yield Document(part.name, text, 0, folder_of(part.name))
            else:
                skipped["empty"] += 1


@SOURCES.register("text")
@dataclass(frozen=True)
class TextSource(NamedSource):
    """UTF-8 files: one, a glob, or those below a folder that match the glob `pattern`."""

    path: str
    pattern: str
    skip_empty: bool
    domains: tuple[str, ...] = ("all",)
    skip_bad: bool = False

    @classmethod
    def of(cls, config: SourceConfig, ids: bool) -> "TextSource":
        return cls(
            config.path, config.pattern, config.skip_empty, (config.domain,), config.skip_bad
        )

    def describe(self) -> str:
        return f"text files {self.pattern} in {self.path}"

    def units(self) -> list[Unit]:
        files = find_files(
            self.path, (self.pattern,), f"file that matches data.pattern={self.pattern!r}"
        )
        return make_units(files, f"text {self.skip_empty} {self.skip_bad}")

    def documents(self, unit: Unit, skipped: Skipped) -> Iterator[Document]:
        for part in unit.parts:
            try:
                text = decode_text(read_file(part))
            except NotUtf8 as error:
                note_bad(BadRecord(part.path, str(error)), self.skip_bad, skipped)
                continue
            if text:
                yield Document(part.name, text, 0, folder_of(part.name))
            else:
                note_empty(part.path, self.skip_empty, skipped)
