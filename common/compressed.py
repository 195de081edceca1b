"""Files that are read as they are or unpacked, as their names say.

The first bytes of a file decide nothing; but where they are those of a packed file and the name is
not, or the packing is none that is read, the file is refused by name.
"""

import bz2
import io
import lzma
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, BinaryIO

from lengthwise.common.errors import UserError
from lengthwise.common.library_errors import reading

_READ_BYTES = 1 << 16  # of the packed file, at a time


def _zstd() -> Any:
    import zstandard  # a fifth of a second that most runs don't need

    # Dumps of the web are often made with --long=31.
    return zstandard.ZstdDecompressor(max_window_size=1 << 31).decompressobj()


@dataclass(frozen=True)
class _Packing:
    suffix: str
    first_bytes: re.Pattern[bytes]
    decompressor: Callable[[], Any] | None = None  # of one frame; None: it is not read
    padded: bool = False  # whether zeros may stand between frames


_PACKINGS = (
    _Packing(".gz", re.compile(rb"\x1f\x8b"), lambda: zlib.decompressobj(wbits=31), padded=True),
    _Packing(".zst", re.compile(rb"\x28\xb5\x2f\xfd"), _zstd),
    _Packing(".bz2", re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)"), bz2.BZ2Decompressor),
    _Packing(".xz", re.compile(rb"\xfd7zXZ\x00"), lzma.LZMADecompressor, padded=True),
    _Packing(".zip", re.compile(rb"PK(\x03\x04|\x05\x06)")),
    _Packing(".7z", re.compile(rb"7z\xbc\xaf\x27\x1c")),
    _Packing(".lz4", re.compile(rb"\x04\x22\x4d\x18")),
    _Packing(".tar", re.compile(rb".{257}ustar", re.DOTALL)),
    _Packing(".tgz", re.compile(rb"(?!)")),
)
SUFFIXES = tuple(packing.suffix for packing in _PACKINGS if packing.decompressor)
_ALL_SUFFIXES = tuple(packing.suffix for packing in _PACKINGS)
_FIRST_BYTES = re.compile(b"|".join(p.first_bytes.pattern for p in _PACKINGS), re.DOTALL)
_HEAD = 262  # bytes, of the longest pattern


def is_packed(path: PurePath) -> bool:
    """Whether the file has to be unpacked from its beginning."""
    return path.suffix in SUFFIXES


def check_packing(path: PurePath) -> None:
    """Raises UserError for a file whose name says that it is packed in a way that isn't read."""
    if not path.name.endswith(_ALL_SUFFIXES):  # nearly all files, of which there may be millions
        return
    names = path.suffixes[-2:] if is_packed(path) else [path.suffix]  # such as .tar.gz
    for packing in _PACKINGS:
        if packing.suffix in names and not packing.decompressor:
            raise _refused(path, packing)


def open_unpacked(path: str, after: Callable[[], str] = str) -> BinaryIO:
    """Opens a file to read its bytes, those of a packed one unpacked.

    after: how far it has been read, such as " after line 7", for errors.

    Raises:
      OSError: the file can't be read.
      UserError: it is packed in a way that isn't read, or not as its name says; in reading, for a
        damaged or cut one.
    """
    name = PurePath(path)
    check_packing(name)
    file = open(path, "rb")  # noqa: SIM115  closed by who asked for it
    for packing in _PACKINGS if path.endswith(_ALL_SUFFIXES) else ():
        if name.suffix == packing.suffix:
            return io.BufferedReader(_Frames(file, packing, path, after), 1 << 20)
    try:
        head = file.peek(_HEAD)
        for packing in _PACKINGS if _FIRST_BYTES.match(head) else ():
            if packing.first_bytes.match(head):
                raise _refused(name, packing)
    except BaseException:
        file.close()
        raise
    return file


def _refused(path: PurePath, packing: _Packing) -> UserError:
    if packing.decompressor:
        return UserError(
            f"{path} is packed as {packing.suffix} files are; name it {path.name}{packing.suffix}"
        )
    return UserError(
        f"{path} is packed as {packing.suffix} files are, which are not read; unpack it, or pack "
        f"it anew as one of {', '.join(SUFFIXES)}"
    )


class _Frames(io.RawIOBase):
    """The concatenated frames of a packed file.

    The standard library's readers and zstandard's own end in silence at some damages: a file that
    was cut, or a frame behind the first that begins with a wrong byte.
    """

    def __init__(
        self, file: BinaryIO, packing: _Packing, path: str, after: Callable[[], str]
    ) -> None:
        assert packing.decompressor
        self._file = file
        self._new_frame = packing.decompressor
        self._padding = b"\0" if packing.padded else b""
        self._what = f"{path}: damaged {packing.suffix} file"
        self._after = after
        self._frame: Any = None  # the open one; None: between two
        self._packed = b""
        self._unpacked = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with reading(self, "decompression"):
            while not self._unpacked:
                data = self._packed or self._file.read(_READ_BYTES)
                self._packed = b""
                if self._frame is None:
                    if not data:
                        return 0
                    data = data.lstrip(self._padding)
                    if not data:
                        continue
                    self._frame = self._new_frame()
                elif not data:
                    raise EOFError("it ends inside a frame")
                self._unpacked = memoryview(self._frame.decompress(data))
                if self._frame.eof:
                    self._packed, self._frame = self._frame.unused_data, None
        count = min(len(buffer), len(self._unpacked))
        buffer[:count] = self._unpacked[:count]
        self._unpacked = self._unpacked[count:]
        return count

    def __str__(self) -> str:
        """For errors: file, damage, how far it was read."""
        return self._what + self._after()

    def close(self) -> None:
        self._file.close()
        super().close()
