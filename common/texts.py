"""Text files: UTF-8, with or without a byte order mark, plain or compressed."""

from pathlib import Path

from lengthwise.common.compressed import open_unpacked
from lengthwise.common.errors import UserError, reason

BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # which some editors put before UTF-8
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


class NotUtf8(ValueError):
    """Bytes that are no UTF-8; the message says where."""

    def __init__(self, content: bytes, position: int) -> None:
        hint = " (it begins as UTF-16 does)" if content.startswith(_UTF16) else ""
        super().__init__(f"not UTF-8 at byte {position}{hint}")


def decode_text(content: bytes) -> str:
    """The text of a file's bytes, line ends as they are; a byte order mark is no part of it.

    Raises NotUtf8.
    """
    start = len(BYTE_ORDER_MARK) if content.startswith(BYTE_ORDER_MARK) else 0
    try:
        return content[start:].decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotUtf8(content, start + error.start) from error


def read_text(path: Path, field: str, instead: str) -> str:
    """The text of a file, its line ends as "\\n".

    Args:
      field: that names the file or its folder, for errors.
      instead: the way out, for errors.

    Raises UserError naming the file, and the byte where it is not UTF-8.
    """
    try:
        with open_unpacked(str(path)) as file:
            content = file.read()
    except (OSError, UserError) as error:
        raise UserError(f"cannot read {field}={str(path)!r}: {reason(error)}; {instead}") from error
    try:
        text = decode_text(content)
    except NotUtf8 as error:
        raise UserError(f"cannot read {field}={str(path)!r}: {error}; {instead}") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")
