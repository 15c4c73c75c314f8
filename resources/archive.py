"""Archives as senders pack them: what one is, and its members as streams, with bounded memory and every limit kept.

    for name, pieces in members(path, "zip", Limits()): …      each stream is read to its end before the next begins

gzip, bzip2 and zstd hold one file without a name of its own, zip any number. What is wrong with an archive is a
BadArchive with a code and words; errors of the disk go through as they are.
"""

from __future__ import annotations

import bz2
import gzip
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

PIECE = 1024 * 1024
MOST_MEMBERS = 1000
MOST_RATIO = 250  # bytes unpacked for one packed; csv seldom reaches 50
RATIO_FROM = 64 * 1024 * 1024  # bytes unpacked that are no danger, however well they were packed
DIRECTORY_BYTES = 4 * 1024 * 1024  # of a zip, which is read whole
KINDS = ("gzip", "bzip2", "zstd", "zip")
_HEADS: tuple[tuple[bytes, str], ...] = (
    (b"\x1f\x8b\x08", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),  # of no member
)
_BROKEN = (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile, NotImplementedError, struct.error, ValueError)
_LINK = 0o120000
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # of the others zipfile unpacks all it has read at once


@dataclass(frozen=True, slots=True)
class Limits:
    """`bytes` is the most that all members of one archive may hold."""

    bytes: int


class BadArchive(Exception):
    """An archive that is not unpacked (permanent): `code` as files' faults have them, and words without any value."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


def kind_of(head: bytes) -> str | None:
    """What the first ten bytes of a file say that it is; None for none of KINDS."""
    if head[:3] == b"BZh" and head[4:10] == b"1AY&SY":
        return "bzip2"
    return next((kind for sign, kind in _HEADS if head.startswith(sign)), None)


def members(path: Path, kind: str, limits: Limits) -> Iterator[tuple[str, Iterator[bytes]]]:
    """(name, pieces) of each member; the name is empty where the archive holds none. BadArchive also while reading."""
    budget = _Budget(limits.bytes, path.stat().st_size)
    if kind == "zip":
        yield from _zip_members(path, budget)
        return
    with path.open("rb") as packed:
        yield "", budget.pieces(_STREAMS[kind](packed))


@dataclass(slots=True)
class _Budget:
    """What may still come out of an archive of `size` bytes."""

    limit: int
    size: int
    out: int = 0

    def pieces(self, stream: Any) -> Iterator[bytes]:
        first = True
        while piece := self._read(stream):
            if first and kind_of(piece) is not None:
                raise BadArchive("archive_nested", "a member is an archive itself; send what is in it, packed once")
            first = False
            self.out += len(piece)
            if self.out > self.limit:
                text = f"it holds more than maxUnpackedBytes ({self.limit:,}); send it in parts, or allow more"
                raise BadArchive("archive_too_large", text)
            if self.out > RATIO_FROM and self.out > MOST_RATIO * self.size:
                text = f"more than {MOST_RATIO} bytes come out of one: a bomb looks like this; send it less packed"
                raise BadArchive("archive_ratio", text)
            yield piece

    def _read(self, stream: Any) -> bytes:
        try:
            return bytes(stream.read(PIECE))
        except (*_BROKEN, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # of the disk, not of the archive
            raise _broken() from error


def _broken() -> BadArchive:
    return BadArchive("archive_broken", "it cannot be unpacked: cut off or damaged; send it again")


def _zip_members(path: Path, budget: _Budget) -> Iterator[tuple[str, Iterator[bytes]]]:
    _check_directory(path)
    try:
        opened = zipfile.ZipFile(path)
    except _BROKEN as error:
        raise _broken() from error
    with opened:
        files = [each for each in opened.infolist() if not each.is_dir()]
        if len(files) > MOST_MEMBERS:
            raise _too_many()
        for each in opened.infolist():
            _check_member(each)
        if len({each.filename for each in files}) < len(files):
            raise BadArchive("archive_path", "two members have one name; each name once")
        for each in files:
            try:
                stream = opened.open(each)
            except (*_BROKEN, RuntimeError) as error:
                raise _broken() from error
            with stream:
                yield each.filename, budget.pieces(stream)


def _too_many() -> BadArchive:
    return BadArchive("archive_members", f"it holds more than {MOST_MEMBERS} members; send it in parts")


def _check_directory(path: Path) -> None:
    """The directory is read whole by zipfile: what it would take is looked at first, in its last record."""
    with path.open("rb") as packed:
        size = path.stat().st_size
        packed.seek(max(0, size - 65557 - 76))
        tail = packed.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < 22:
        raise _broken()
    count, length = struct.unpack_from("<HI", tail, at + 10)
    if at >= 76 and tail[at - 20 : at - 16] == b"PK\x06\x07" and tail[at - 76 : at - 72] == b"PK\x06\x06":
        count, length = struct.unpack_from("<QQ", tail, at - 76 + 32)
    if length > DIRECTORY_BYTES or count > 2 * MOST_MEMBERS:  # folders are members too
        raise _too_many()


def _check_member(each: zipfile.ZipInfo) -> None:
    name = each.orig_filename  # filename is cut at a NUL
    parts = name.replace("\\", "/").split("/")
    odd = name.startswith(("/", "\\")) or ".." in parts or "\\" in name or name[1:2] == ":"
    if odd or not name or len(name) > 255 or any(ord(sign) < 32 for sign in name):
        text = "the name of a member leads out of the archive, or is none; names are relative, with / between folders"
        raise BadArchive("archive_path", text)
    if (each.external_attr >> 16) & 0o170000 == _LINK:
        raise BadArchive("archive_path", "a member is a link; send the file itself")
    if each.compress_type not in _METHODS:
        text = "a member is packed by a method that is not read; members are stored or deflated, as they usually are"
        raise BadArchive("archive_kind", text)
    if each.flag_bits & 1:
        text = "its members have a password; send it without, or encrypted by PGP and with pgpSecretRef"
        raise BadArchive("archive_password", text)


class _Bzip2:
    """Streams one after the other, as parallel packers write them, to the last byte of the file.

    bz2.BZ2File takes a stream whose head is damaged for rubbish behind the last one, and ends as if all were read.
    """

    def __init__(self, packed: IO[bytes]) -> None:
        self._packed = packed
        self._stream = bz2.BZ2Decompressor()

    def read(self, size: int) -> bytes:
        """At most `size` bytes; none at the end. EOFError where the file ends in a stream, OSError where one is bad."""
        while True:
            fed = b""
            if self._stream.eof:
                fed = self._stream.unused_data.lstrip(b"\0")  # what comes from a tape ends in zeros
                while not fed and (more := self._packed.read(PIECE)):
                    fed = more.lstrip(b"\0")
                if not fed:
                    return b""
                self._stream = bz2.BZ2Decompressor()
            elif self._stream.needs_input and not (fed := self._packed.read(PIECE)):
                raise EOFError
            if piece := self._stream.decompress(fed, size):
                return piece


def _zstd(packed: IO[bytes]) -> Any:
    import pyarrow as pa

    return pa.CompressedInputStream(pa.PythonFile(packed, mode="r"), "zstd")


_STREAMS: dict[str, Callable[[IO[bytes]], Any]] = {
    "gzip": lambda packed: gzip.GzipFile(fileobj=packed),
    "bzip2": _Bzip2,
    "zstd": _zstd,
}
