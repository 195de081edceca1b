"""Texts of files: byte order marks, bytes that are no UTF-8, packed files."""

import bz2
import codecs
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from lengthwise.common.compressed import SUFFIXES, open_unpacked
from lengthwise.common.errors import UserError
from lengthwise.common.texts import NotUtf8, decode_text, read_text

PACK: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".zst": zstandard.ZstdCompressor().compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}


@given(st.text(), st.booleans())
def test_a_byte_order_mark_is_no_text(text: str, marked: bool) -> None:
    expected = text.removeprefix("\ufeff") if not marked else text
    assert decode_text(codecs.BOM_UTF8 * marked + text.encode()) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"abc\xff", "not UTF-8 at byte 3"),
        (codecs.BOM_UTF8 + b"abc\xff", "not UTF-8 at byte 6"),
        (b"ab\xc3", "not UTF-8 at byte 2"),
        ("ä".encode("utf-16"), "not UTF-8 at byte 0 (it begins as UTF-16 does)"),
    ],
)
def test_the_byte_that_is_no_utf8_is_named(content: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(NotUtf8) as error:
        decode_text(content)
    assert str(error.value) == message
    path = tmp_path / "x.txt"
    path.write_bytes(content)
    with pytest.raises(UserError) as named:
        read_text(path, "eval.haystack", "name another")
    assert str(named.value) == f"cannot read eval.haystack='{path}': {message}; name another"


def test_lines_end_alike(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_bytes(b"\xef\xbb\xbfa\r\nb\rc\n")
    assert read_text(tmp_path / "x.txt", "field", "") == "a\nb\nc\n"


def test_every_packing_has_a_test() -> None:
    assert set(PACK) == set(SUFFIXES)


def unpacked(path: Path) -> bytes:
    with open_unpacked(str(path)) as file:
        return file.read()


@pytest.mark.parametrize("suffix", PACK)
def test_packed_files_of_several_frames(suffix: str, tmp_path: Path) -> None:
    parts = [b"first " * 40_000, b"", b"second"]
    path = tmp_path / f"x.txt{suffix}"
    path.write_bytes(b"".join(map(PACK[suffix], parts)))
    assert unpacked(path) == b"".join(parts)
    if suffix in (".gz", ".xz"):  # whose frames may have zeros behind
        path.write_bytes(PACK[suffix](b"a") + bytes(8) + PACK[suffix](b"b") + bytes(70_000))
        assert unpacked(path) == b"ab"


@pytest.mark.parametrize("suffix", PACK)
def test_damage_is_named_and_nothing_is_lost_in_silence(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"x{suffix}"
    frame = PACK[suffix](bytes(range(256)) * 40)
    whole = frame + frame
    flipped = bytearray(whole)
    flipped[len(frame)] ^= 0xFF  # the first byte of the second frame
    for damaged in (whole[:-1], whole[: len(frame) + 3], bytes(flipped), whole + b"junk", b"text"):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=rf"x\{suffix}: damaged \{suffix} file: \S"):
            unpacked(path)


def test_what_is_packed_otherwise_is_refused_by_name(tmp_path: Path) -> None:
    for name in ("a.zip", "a.tar", "a.tgz", "a.tar.gz", "a.7z", "a.lz4"):
        with pytest.raises(UserError, match=rf"{name} is packed as .*unpack it"):
            open_unpacked(str(tmp_path / name))
    for suffix, pack in PACK.items():
        (tmp_path / "x.txt").write_bytes(pack(b"text"))
        with pytest.raises(
            UserError, match=rf"is packed as \{suffix} files are; name it x\.txt\{suffix}"
        ):
            open_unpacked(str(tmp_path / "x.txt"))
    (tmp_path / "x.txt").write_bytes(b"PK\x03\x04" + bytes(30))
    with pytest.raises(UserError, match=r"x\.txt is packed as \.zip files are"):
        open_unpacked(str(tmp_path / "x.txt"))
    for plain in (b"BZh9 is how it begins", b"PK", b""):
        (tmp_path / "x.txt").write_bytes(plain)
        assert unpacked(tmp_path / "x.txt") == plain
