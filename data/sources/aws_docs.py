"""The API reference of AWS: a public corpus of web-like lengths that is the same everywhere.

The documents are the pages of the reference, one an operation of a service: what it does, and its
parameters and results with theirs, two levels deep. Their text comes from the service models in a
pinned wheel of botocore (Apache License 2.0), HTML tags removed.

Under the byte-level BPE of configs/sources/aws_docs.py documents have 566 tokens on average (those
of RefinedWeb: 598), 304 in the median, 1,895 at the 95th and 4,631 at the 99th percentile, 21,491
at most. The logarithm of the length has a standard deviation of 1.11 and a skew of 0.09: it is
close to log-normal. Six documents in ten have a near-duplicate, as services repeat themselves.
"""

import html
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar

from lengthwise.common.errors import UserError
from lengthwise.data.sources.files import make_units, read_file
from lengthwise.data.sources.source import (
    SOURCES,
    Document,
    NamedSource,
    Skipped,
    SourceConfig,
    Unit,
)

PACKAGE, VERSION = "botocore", "1.44.5"  # as in requirements-corpora.txt
_DEPTH = 2  # levels of members below the parameters of an operation
_BREAK = re.compile(r"</(?:p|li|ul|ol|dd|dt|dl|note|important)>|<br ?/?>")
_TAG = re.compile(r"<[^>]+>")
_BLANKS = re.compile(r"[ \t]+")
_LINES = re.compile(r"\n\s*\n+")


@SOURCES.register("aws_docs")
@dataclass(frozen=True)
class AwsDocsSource(NamedSource):
    """One document an operation, grouped by service."""

    takes_path: ClassVar[bool] = False

    domains: tuple[str, ...] = ("all",)

    @classmethod
    def of(cls, config: SourceConfig, ids: bool) -> "AwsDocsSource":
        return cls((config.domain,))

    def describe(self) -> str:
        return f"AWS API reference of {PACKAGE} {VERSION}"

    def units(self) -> list[Unit]:
        root = _models()
        newest: dict[str, Path] = {}
        for path in sorted(root.glob("*/*/service-2.json.gz")):
            newest[path.parts[-3]] = path  # versions of a service are dates
        files = ((path.relative_to(root).as_posix(), path) for path in newest.values())
        return make_units(files, f"aws_docs {VERSION} {_DEPTH}")

    def documents(self, unit: Unit, skipped: Skipped) -> Iterator[Document]:
        for part in unit.parts:
            model = json.loads(read_file(part))
            service = part.name.partition("/")[0]
            for name in model["operations"]:
                yield Document(f"{service}/{name}", _page(model, name), 0, service)


def _models() -> Path:
    """The folder of the service models. Raises UserError without the pinned package."""
    install = "pip install -r requirements-corpora.txt"
    try:
        package = metadata.distribution(PACKAGE)
    except metadata.PackageNotFoundError as error:
        raise UserError(f"data.source='aws_docs' reads {PACKAGE} {VERSION}: {install}") from error
    if package.version != VERSION:
        raise UserError(
            f"data.source='aws_docs' reads {PACKAGE} {VERSION}, but {package.version} is "
            f"installed: {install}"
        )
    return Path(str(package.locate_file(PACKAGE))) / "data"


def _page(model: dict[str, Any], operation: str) -> str:
    """The reference page of an operation."""
    shapes, seen = model["shapes"], set()
    lines = [operation, _text(model["operations"][operation].get("documentation", ""))]

    def describe(name: str, depth: int) -> None:
        if name in seen or depth > _DEPTH:
            return
        seen.add(name)
        shape = shapes[name]
        for inner in ("member", "key", "value"):  # of lists and maps
            if inner in shape:
                describe(shape[inner]["shape"], depth)
        for member, reference in shape.get("members", {}).items():
            about = reference.get("documentation") or shapes[reference["shape"]].get(
                "documentation", ""
            )
            lines.append(f"{member}: {_text(about)}")
            describe(reference["shape"], depth + 1)

    for role in ("input", "output"):
        if role in model["operations"][operation]:
            describe(model["operations"][operation][role]["shape"], 0)
    return "\n".join(line for line in lines if line)


def _text(page: str) -> str:
    plain = html.unescape(_TAG.sub("", _BREAK.sub("\n", page))).strip()
    return _BLANKS.sub(" ", _LINES.sub("\n", plain))
