"""Are the bytes of a file what its declared encoding says? Streaming; names the first offset that is not."""

from __future__ import annotations

import codecs
import re

_UTF16_BOMS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_NOT_1252 = re.compile(rb"[\x81\x8d\x8f\x90\x9d]")
_SAMPLE = 512


class Decoding:
    """Checks the bytes as they pass; UTF-16 is turned into UTF-8 on the way (`transcodes`).

    `bad` is the offset in the file as sent of the first byte that is not of the encoding; decoding then goes on with
    replacement characters, so that the rest of the scan still says what it can.
    """

    def __init__(self, encoding: str) -> None:
        try:
            name = codecs.lookup(encoding).name
        except LookupError:
            raise ValueError(f"unknown encoding '{encoding}'; valid: {', '.join(VALID)}") from None
        if name == "utf-8-sig":
            name = "utf-8"  # a byte order mark is passed over in any case
        if name not in _NAMES:
            raise ValueError(f"encoding '{encoding}' is not supported; valid: {', '.join(VALID)}")
        self.name = name
        self.transcodes = name.startswith("utf-16")
        self.bad: int | None = None
        self.why = ""
        self.bad_at: int | None = None  # where that is in what the `feed` that met it returned
        self._first = b""
        self._offset = 0
        self._tail = b""
        self._order = {"utf-16-le": "utf-16-le", "utf-16-be": "utf-16-be"}.get(name)

    @property
    def working(self) -> str:
        """The encoding of what `feed` returns."""
        return "utf-8" if self.transcodes else self.name

    def feed(self, chunk: bytes, final: bool = False) -> bytes:
        if len(self._first) < _SAMPLE:
            self._first += chunk[: _SAMPLE - len(self._first)]
        if self.transcodes:
            return self._utf16(chunk, final)
        if self.bad is None:
            if self.name == "utf-8":
                self._utf8(chunk, final)
            elif self.name == "cp1252" and not chunk.isascii() and (match := _NOT_1252.search(chunk)):
                self._report(self._offset + match.start(), "a byte that windows-1252 does not define")
        self._offset += len(chunk)
        return chunk

    def suspicion(self) -> str | None:
        """What the first bytes give away about a wrong declaration."""
        if not self.transcodes and self._first.startswith(_UTF16_BOMS):
            return f"begins with a UTF-16 byte order mark but is declared {self.name}; declare encoding=\"utf-16\""
        if self.name in ("iso8859-1", "cp1252") and self._first.startswith(codecs.BOM_UTF8):
            return f"begins with a UTF-8 byte order mark but is declared {self.name}; declare encoding=\"utf-8\""
        if not self.transcodes and len(self._first) >= 4:
            even, odd = self._first[::2].count(0), self._first[1::2].count(0)
            if max(even, odd) * 5 > len(self._first) * 2 and min(even, odd) == 0:
                order = "be" if even else "le"
                return f"looks like UTF-16 without a byte order mark; declare encoding=\"utf-16-{order}\""
        if self.name == "utf-16" and self._first and not self._first.startswith(_UTF16_BOMS):
            return 'is declared utf-16 but has no byte order mark; declare encoding="utf-16-le", "utf-16-be" or "utf-8"'
        return None

    def _utf8(self, chunk: bytes, final: bool) -> None:
        if not self._tail and chunk.isascii():
            return
        data = self._tail + chunk
        try:
            _, used = codecs.utf_8_decode(data, "strict", final)
        except UnicodeDecodeError as error:
            self._report(self._offset - len(self._tail) + error.start, "a byte sequence that is not UTF-8")
        else:
            self._tail = data[used:]

    def _utf16(self, chunk: bytes, final: bool) -> bytes:
        data = self._tail + chunk
        start = self._offset - len(self._tail)
        self._offset += len(chunk)
        if start == 0 and not (final or len(data) >= 2):
            self._tail = data
            return b""
        if self._order is None:
            self._order = "utf-16-be" if data.startswith(codecs.BOM_UTF16_BE) else "utf-16-le"
        decode = codecs.utf_16_be_decode if self._order == "utf-16-be" else codecs.utf_16_le_decode
        try:
            text, used = decode(data, "strict", final)
        except UnicodeDecodeError as error:
            good, _ = decode(data[: error.start], "strict", False)
            self._report(start + error.start, "a byte sequence that is not UTF-16", len(good.encode("utf-8")))
            text, used = decode(data, "replace", final)
        self._tail = data[used:]
        return text.encode("utf-8")

    def _report(self, offset: int, why: str, at: int | None = None) -> None:
        if self.bad is None:
            self.bad, self.why = offset, why
            self.bad_at = max(0, offset - self._offset) if at is None else at


VALID = ("utf-8", "iso-8859-1", "windows-1252", "utf-16", "utf-16-le", "utf-16-be")
_NAMES = {codecs.lookup(name).name for name in VALID}
